"""Whether a video that is told something else on its way follows, and does so without a cut."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, islice

import numpy as np

from kinema.evaluate.adherence import adherence
from kinema.evaluate.drift import LASTING
from kinema.evaluate.metrics import Frames, Interval, bootstrap_interval
from kinema.evaluate.suite import FIRST_SEED, Case
from kinema.generate.pipeline import Pipeline
from kinema.spec import VideoSpec
from kinema.world.describe import describe_with_facts
from kinema.world.parse import parse
from kinema.world.scene import COLOURS, Scene, is_held_out, sample_scene

SWITCH_S = 4.0
"""When the other prompt comes."""
FOLLOWED_S = 2.0
"""After how long it must be followed; as long is looked at from then on."""


@dataclass(frozen=True, kw_only=True)
class Switch:
    """What a change of prompt does; means with 95 % intervals over prompts."""

    seconds: float
    """After how long is looked."""
    followed: Interval
    """Share of videos in which the object then has the colour that the second prompt names."""
    kept: Interval
    """Share of what both prompts state and what lasts that is then seen."""
    jump: Interval
    """Largest change between two frames until then, over the largest one in as long before: 1 where there is no cut."""


def make_switches(number: int, seconds: float) -> list[tuple[Case, Case]]:
    """Give prompts of scenes of one object, each with the same words but for another colour."""
    scenes = (sample_scene(FIRST_SEED + index, seconds=seconds) for index in count())
    return list(islice((_pair(scene) for scene in scenes if len(scene.objects) == 1), number))


def _pair(scene: Scene) -> tuple[Case, Case]:
    place = COLOURS.index(scene.main.colour) + len(COLOURS) // 2  # another colour as far away as there is
    others = (
        dataclasses.replace(scene, objects=(dataclasses.replace(scene.main, colour=colour),))
        for colour in (*COLOURS, *COLOURS)[place : place + len(COLOURS) // 2]
    )
    changed = next(other for other in others if not is_held_out(other))
    first, second = (
        Case(number=scene.seed, caption=describe_with_facts(each, scene.seed, "medium"), source="train")
        for each in (scene, changed)
    )
    return first, second


def measure_switch(
    pipeline: Pipeline,
    pairs: Sequence[tuple[Case, Case]],
    num_seeds: int,
    on_video: Callable[[], None] = lambda: None,
) -> Switch:
    """Make a video of every pair and seed that begins with the first prompt and goes on with the second."""
    results: list[list[dict[str, float]]] = []
    for first, second in pairs:
        results.append([])
        for seed in range(num_seeds):
            results[-1].append(_measure(pipeline, first, second, seed))
            on_video()

    def numbers(name: str) -> Interval:
        return bootstrap_interval([[one[name] for one in group if name in one] for group in results])

    return Switch(seconds=FOLLOWED_S, followed=numbers("followed"), kept=numbers("kept"), jump=numbers("jump"))


def _measure(pipeline: Pipeline, first: Case, second: Case, seed: int) -> dict[str, float]:
    spec = pipeline.resolve(
        VideoSpec(
            prompt=first.caption.text,
            changes=((SWITCH_S, second.caption.text),),
            seed=seed,
            seconds=SWITCH_S + 2 * FOLLOWED_S,
        )
    )
    assert spec.fps is not None
    frames = np.concatenate(list(pipeline.stream(spec)))
    switch, length = round(SWITCH_S * spec.fps), round(FOLLOWED_S * spec.fps)
    verdicts = adherence(parse(frames[switch + length :], spec.fps), second.caption.facts)
    kept = [is_seen for axis in LASTING if axis != "colour" for is_seen in verdicts.get(axis, ())]
    found = {"jump": _jump(frames, switch, length)}
    if kept:
        found["kept"] = float(np.mean(kept))
    if "colour" in verdicts:
        found["followed"] = float(np.mean(verdicts["colour"]))
    return found


def _jump(frames: Frames, switch: int, length: int) -> float:
    changes = np.abs(np.diff(frames.astype(np.float64), axis=0)).mean(axis=(1, 2, 3))
    after, before = changes[switch : switch + length], changes[switch - length : switch]
    return float((after.max() + 1e-3) / (before.max() + 1e-3))
