"""A quick look at a model while it trains: one clip for each of a few prompts, drawn on a sheet and judged."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from kinema.evaluate.adherence import Judged, adherence, summarise
from kinema.evaluate.metrics import flicker, sharpness
from kinema.generate.pipeline import Pipeline
from kinema.generate.video import Video
from kinema.media import contact_sheet, write_video
from kinema.spec import VideoSpec
from kinema.world.describe import Caption
from kinema.world.parse import parse

COLUMNS = 6
"""Frames of a clip that the sheet shows."""


def draw_samples(pipeline: Pipeline, captions: Sequence[Caption], path: Path) -> dict[str, float]:
    """Generate a clip for each caption and draw them as the rows of a PNG; gives mean steadiness and sharpness."""
    return _draw(pipeline, captions, path)[1]


def score_samples(pipeline: Pipeline, captions: Sequence[Caption], path: Path) -> dict[str, float]:
    """Generate a clip for each caption and draw them as the rows of a PNG.

    Gives their mean steadiness and sharpness, and for each axis the share of what the captions state that is seen.
    """
    videos, numbers = _draw(pipeline, captions, path)
    judged = [
        Judged(
            prompt=str(index),
            is_held_out=False,
            verdicts=adherence(parse(video.frames, video.fps), caption.facts),
        )
        for index, (video, caption) in enumerate(zip(videos, captions, strict=True))
    ]
    return {**numbers, **{f"adherence.{axis}": interval.mean for axis, interval in summarise(judged).seen.items()}}


def _draw(pipeline: Pipeline, captions: Sequence[Caption], path: Path) -> tuple[list[Video], dict[str, float]]:
    videos = [pipeline(VideoSpec(prompt=caption.text, seed=index)) for index, caption in enumerate(captions)]
    clips = [video.frames for video in videos]
    shown = [clip[round(column * (len(clip) - 1) / (COLUMNS - 1))] for clip in clips for column in range(COLUMNS)]
    write_video(path, [contact_sheet(shown, COLUMNS)], fps=1)
    path.with_suffix(".txt").write_text("".join(f"{caption.text}\n" for caption in captions))
    return videos, {
        "samples.flicker": fmean(flicker(clip) for clip in clips),
        "samples.sharpness": fmean(sharpness(clip) for clip in clips),
    }
