"""What a model is asked in an evaluation, and what is measured of each answer."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinema.evaluate.adherence import Verdicts, adherence
from kinema.evaluate.metrics import flicker, sharpness
from kinema.generate.pipeline import Pipeline
from kinema.spec import VideoSpec
from kinema.world.describe import LENGTHS, Caption, describe_with_facts
from kinema.world.parse import Observation, parse
from kinema.world.scene import Scene, Split, sample_scene

FIRST_SEED = 9_000_000
"""Seed of the first scene of an evaluation: no recipe trains on these."""

Frames = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One prompt: a scene that was never trained on, put into words, and the facts that the words state."""

    scene: Scene
    caption: Caption
    split: Split


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One video that the model made for a case, and what was measured of it."""

    case: Case
    seed: int
    frames: Frames
    fps: float
    seconds: float
    """Time that generating took."""
    flicker: float
    """See `metrics.flicker`."""
    sharpness: float
    """See `metrics.sharpness`."""
    observation: Observation
    """What the parser saw in the video."""

    @property
    def verdicts(self) -> Verdicts:
        """Whether what the prompt states is seen, by axis."""
        return adherence(self.observation, self.case.caption.facts)


def make_cases(count: int, split: Split, seconds: float) -> list[Case]:
    """Draw `count` scenes of a split; prompts are short, medium and long in turn."""
    scenes = (sample_scene(FIRST_SEED + index, seconds=seconds, split=split) for index in range(count))
    return [
        Case(scene=scene, caption=describe_with_facts(scene, scene.seed, LENGTHS[index % len(LENGTHS)]), split=split)
        for index, scene in enumerate(scenes)
    ]


def answer_cases(pipeline: Pipeline, cases: Sequence[Case], num_seeds: int) -> Iterator[Answer]:
    """Generate every case with seeds 0 to `num_seeds - 1`, and measure each video as it comes."""
    for case in cases:
        for seed in range(num_seeds):
            started = time.perf_counter()
            video = pipeline(VideoSpec(prompt=case.caption.text, seed=seed))
            yield Answer(
                case=case,
                seed=seed,
                frames=video.frames,
                fps=video.fps,
                seconds=time.perf_counter() - started,
                flicker=flicker(video.frames),
                sharpness=sharpness(video.frames),
                observation=parse(video.frames, video.fps),
            )
