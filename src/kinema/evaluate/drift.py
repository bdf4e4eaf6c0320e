"""Whether a long video stays what it was: its first seconds held against its last ones."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from kinema.errors import SpecError
from kinema.evaluate.adherence import Axis, adherence
from kinema.evaluate.metrics import Frames, Interval, bootstrap_interval, colour_statistics, sharpness
from kinema.evaluate.suite import Case
from kinema.generate.pipeline import Pipeline
from kinema.spec import VideoSpec
from kinema.world.parse import parse

WINDOW_S = 5.0
"""Length of what is compared; half of a video that is shorter than two of them."""

LASTING: tuple[Axis, ...] = ("colour", "shape", "size", "material", "count", "light", "floor")
"""What holds for as long as a video goes on, where motions end."""


@dataclass(frozen=True, kw_only=True)
class Ends:
    """One number of the beginning and of the end of long videos; means with 95 % intervals over prompts."""

    first: Interval
    last: Interval


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How the last seconds of long videos differ from their first ones."""

    seconds: float
    window_s: float
    adherence: Ends
    """Share of what the prompt states and what lasts (`LASTING`) that is seen."""
    sharpness: Ends
    """See `metrics.sharpness`; these and the next are as `metrics.colour_statistics` gives them."""
    brightness: Ends
    contrast: Ends
    saturation: Ends
    colourfulness: Ends


def require_stream(pipeline: Pipeline) -> None:
    """Raise SpecError for a model that is not causal, which has to hold a whole video at once."""
    if pipeline.model.causal is None:
        raise SpecError(f"{pipeline.name} makes all frames at once; give a causal model, or leave out --long")


def measure_drift(
    pipeline: Pipeline,
    cases: Sequence[Case],
    num_seeds: int,
    seconds: float,
    on_video: Callable[[], None] = lambda: None,
) -> Drift:
    """Make a video of `seconds` for every case and seed, of which only both ends are kept, and compare these."""
    window = min(WINDOW_S, seconds / 2)
    ends: list[list[tuple[dict[str, float], dict[str, float]]]] = []
    for case in cases:
        ends.append([])
        for seed in range(num_seeds):
            first, last, fps = _ends_of(pipeline, case, seed, seconds, window)
            ends[-1].append((_measure(case, first, fps), _measure(case, last, fps)))
            on_video()

    def numbers(name: str) -> Ends:
        first, last = (
            bootstrap_interval([[pair[end][name] for pair in group if name in pair[end]] for group in ends])
            for end in (0, 1)
        )
        return Ends(first=first, last=last)

    names = ("adherence", "sharpness", "brightness", "contrast", "saturation", "colourfulness")
    return Drift(seconds=seconds, window_s=window, **{name: numbers(name) for name in names})


def _ends_of(pipeline: Pipeline, case: Case, seed: int, seconds: float, window: float) -> tuple[Frames, Frames, float]:
    """The first and the last frames of a long video, and how many it has a second."""
    spec = pipeline.resolve(VideoSpec(prompt=case.caption.text, seed=seed, seconds=seconds))
    assert spec.fps is not None
    length = max(2, round(window * spec.fps))
    first: list[Frames] = []
    last: deque[Frames] = deque(maxlen=length)
    for frames in pipeline.stream(spec):
        first.extend(frames[: length - len(first)])
        last.extend(frames)
    return np.stack(first), np.stack(last), spec.fps


def _measure(case: Case, frames: Frames, fps: float) -> dict[str, float]:
    verdicts = adherence(parse(frames, fps), case.caption.facts)
    lasting = [is_seen for axis in LASTING for is_seen in verdicts.get(axis, ())]
    shares = {"adherence": float(np.mean(lasting))} if lasting else {}
    return {**shares, "sharpness": sharpness(frames), **asdict(colour_statistics(frames))}
