"""A quick look at a model while it trains: one clip for each of a few prompts, drawn on a sheet and measured."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from kinema.evaluate.metrics import flicker, sharpness
from kinema.generate.pipeline import Pipeline
from kinema.media import contact_sheet, write_video
from kinema.spec import VideoSpec
from kinema.world.scene import Scene

COLUMNS = 6
"""Frames of a clip that the sheet shows."""


def score_samples(pipeline: Pipeline, prompts: Sequence[tuple[str, Scene]], path: Path) -> dict[str, float]:
    """Generate a clip for each prompt, draw them as the rows of a PNG, and give their mean steadiness and sharpness."""
    clips = [pipeline(VideoSpec(prompt=text, seed=index)).frames for index, (text, _) in enumerate(prompts)]
    shown = [clip[round(column * (len(clip) - 1) / (COLUMNS - 1))] for clip in clips for column in range(COLUMNS)]
    write_video(path, [contact_sheet(shown, COLUMNS)], fps=1)
    path.with_suffix(".txt").write_text("".join(f"{text}\n" for text, _ in prompts))
    return {
        "samples.flicker": fmean(flicker(clip) for clip in clips),
        "samples.sharpness": fmean(sharpness(clip) for clip in clips),
    }
