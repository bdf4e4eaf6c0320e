"""What a model is asked in an evaluation, and what is measured of each answer."""

import itertools
import json
import multiprocessing
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from kinema.config import from_dict
from kinema.errors import DataError
from kinema.evaluate.adherence import Verdicts, adherence
from kinema.evaluate.metrics import flicker, sharpness
from kinema.generate.device import dtype_name
from kinema.generate.pipeline import Pipeline
from kinema.spec import VideoSpec
from kinema.world.dataset import Clip, iter_clips
from kinema.world.describe import LENGTHS, Caption, describe_with_facts
from kinema.world.facts import Facts
from kinema.world.observation import Observation
from kinema.world.parse import parse
from kinema.world.scene import STAYING, Scene, sample_scene

FIRST_SEED = 9_000_000
"""Seed of the first scene of an evaluation: no recipe trains on these."""

FREE_PROMPTS = Path(__file__).parent / "prompts" / "free.jsonl"
"""Prompts that we wrote by hand, with what they state."""

Frames = NDArray[np.uint8]


Source = Literal["train", "held_out", "free"]
"""Where a prompt comes from: a scene of a split, or people's own words."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One prompt and the facts that its words state."""

    number: int
    """Seed of the scene, or line of the file: each prompt of a source has its own."""
    caption: Caption
    source: Source


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


def make_cases(count: int, split: Literal["train", "held_out"], seconds: float) -> list[Case]:
    """Put `count` scenes that were never trained on into words, short, medium and long in turn."""
    scenes = (sample_scene(FIRST_SEED + index, seconds=seconds, split=split) for index in range(count))
    return _worded(scenes, split)


def make_staying(count: int, seconds: float) -> list[Case]:
    """The same for scenes in which everything stays in the picture, however long one looks: prompts of long videos.

    A ball that rolls to the right is gone a minute later, in the world as in a video. Of the first eight scenes of
    `make_cases` the world itself then shows 27 % less of what is stated, and is a fifth less sharp.
    """
    scenes = (sample_scene(FIRST_SEED + index, seconds=seconds) for index in itertools.count())
    return _worded(itertools.islice((scene for scene in scenes if scene.action in STAYING), count), "train")


def _worded(scenes: Iterable[Scene], split: Literal["train", "held_out"]) -> list[Case]:
    return [
        Case(
            number=scene.seed,
            caption=describe_with_facts(scene, scene.seed, LENGTHS[index % len(LENGTHS)]),
            source=split,
        )
        for index, scene in enumerate(scenes)
    ]


def free_cases() -> list[Case]:
    """Give a hundred prompts as people write them: typos, synonyms, missing attributes, another order of words."""
    lines = (json.loads(line) for line in FREE_PROMPTS.read_text(encoding="utf-8").splitlines())
    return [
        Case(number=number, caption=Caption(line["text"], from_dict(Facts, line["facts"])), source="free")
        for number, line in enumerate(lines)
    ]


def true_clips(pipeline: Pipeline, seeds: Sequence[int]) -> Iterator[Clip]:
    """Render the scenes of some seeds at the size, length and rate that a model makes by default."""
    defaults = pipeline.model.defaults
    return iter_clips(seeds, num_frames=defaults.frames, fps=defaults.fps, height=defaults.height, width=defaults.width)


def answer_cases(pipeline: Pipeline, cases: Sequence[Case], num_seeds: int, workers: int = 1) -> Iterator[Answer]:
    """Generate every case with seeds 0 to `num_seeds - 1`, and measure each video as it comes, in their order.

    More than one of `workers` share the videos on a CPU, one thread each: small models do not fill the cores. Raises
    DataError when one of them is killed.
    """
    tasks = [(case, seed) for case in cases for seed in range(num_seeds)]
    if workers == 1:
        yield from (_answer(pipeline, *task) for task in tasks)
        return
    context = multiprocessing.get_context("forkserver")
    settings = (pipeline.name, dtype_name(pipeline.dtype))
    try:
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=settings) as pool:
            yield from pool.map(_answer_in_worker, tasks)
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process ended early, killed or out of memory; use fewer workers, or --workers 1"
        ) from error


def time_one_video(pipeline: Pipeline, cases: Sequence[Case], count: int = 3) -> float:
    """Measure how many seconds a video takes when nothing else runs: the median of `count`, after one to warm up."""
    times = [_answer(pipeline, case, 0).seconds for case in itertools.islice(itertools.cycle(cases), count + 1)]
    return median(times[1:])


def _answer(pipeline: Pipeline, case: Case, seed: int) -> Answer:
    started = time.perf_counter()
    video = pipeline(VideoSpec(prompt=case.caption.text, seed=seed))
    seconds = time.perf_counter() - started
    return Answer(
        case=case,
        seed=seed,
        frames=video.frames,
        fps=video.fps,
        seconds=seconds,
        flicker=flicker(video.frames),
        sharpness=sharpness(video.frames),
        observation=parse(video.frames, video.fps),
    )


_PIPELINES: list[Pipeline] = []
"""In a worker process: the model, loaded once."""


def _start_worker(name: str, dtype: str) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _PIPELINES.append(Pipeline.load(name, "cpu", dtype))


def _answer_in_worker(task: tuple[Case, int]) -> Answer:
    return _answer(_PIPELINES[0], *task)
