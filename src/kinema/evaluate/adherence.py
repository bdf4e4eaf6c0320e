"""Whether a clip shows what its prompt says, judged by the parser of the demo world, which has no learned weights.

A score means little without that of its judge: `parser_truth` is what the parser finds in clips that show exactly
what is said, `parser_shuffled` what it finds when every clip is held against the words of another.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kinema.evaluate.metrics import Interval, bootstrap_interval
from kinema.world.describe import Caption
from kinema.world.facts import Facts, ObjectFacts, facts
from kinema.world.observation import Observation
from kinema.world.parse import parse
from kinema.world.physics import simulate
from kinema.world.render import render_clip
from kinema.world.scene import Scene, Split, sample_scene

Axis = Literal["colour", "shape", "size", "material", "count", "relation", "action", "camera", "light", "floor", "all"]
AXES: tuple[Axis, ...] = (
    "colour",
    "shape",
    "size",
    "material",
    "count",
    "relation",
    "action",
    "camera",
    "light",
    "floor",
    "all",
)
"""What is judged; "all" is one verdict for a clip: whether everything that is stated is seen."""

LOOKS: tuple[Literal["colour", "shape", "size", "material"], ...] = ("colour", "shape", "size", "material")

MOST_MATCHED = 5
"""With more objects than this on a side, they are matched in their order rather than in every order."""

Verdicts = Mapping[Axis, Sequence[bool]]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The verdicts on one clip; clips of one prompt share `prompt`."""

    prompt: str
    is_held_out: bool
    verdicts: Verdicts


@dataclass(frozen=True, kw_only=True)
class Adherence:
    """Share of the stated facts that are seen, by axis, for seen and held-out combinations apart.

    `all_seen` and `all_held_out` are the shares of clips that show everything that is stated. Axes that no prompt
    states are missing.
    """

    seen: dict[Axis, Interval]
    held_out: dict[Axis, Interval]
    all_seen: Interval
    all_held_out: Interval


@dataclass(frozen=True, kw_only=True)
class Observed:
    """A clip of the demo world with what is true of it and what the parser saw."""

    scene: Scene
    observation: Observation


def adherence(observation: Observation, stated: Facts) -> dict[Axis, list[bool]]:
    """Say of each stated fact whether the clip shows it, by axis; axes of which nothing is stated are left out.

    Stated objects are matched with those seen so that most facts agree; how two that look the same stand to each other
    is not judged. An action counts with its direction and a
    camera move with its own, where they are stated. A fact about an object that is not there counts as not shown.
    """
    verdicts = max(
        (_judge(observation.facts, stated, order) for order in _orders(len(stated.objects), observation.count)),
        key=lambda candidate: sum(sum(values) for values in candidate.values()),
    )
    found: dict[Axis, list[bool]] = {axis: verdicts[axis] for axis in AXES if verdicts.get(axis)}
    if found:
        found["all"] = [all(itertools.chain.from_iterable(found.values()))]
    return found


def reward(frames: NDArray[np.uint8], caption: Caption, fps: float) -> float:
    """Say how much of its words a video "f h w 3" shows, from 0 to 1: half for the facts, half for all at once.

    Of a single frame neither action nor camera is asked. What states nothing has nothing to miss.
    """
    stated = caption.facts
    if len(frames) == 1:
        stated = replace(stated, action=None, direction=None, camera=None, camera_direction=None)
    verdicts = dict(adherence(parse(frames, fps), stated))
    (everything,) = verdicts.pop("all", [True])
    return (fmean(itertools.chain.from_iterable(verdicts.values())) + everything) / 2 if verdicts else 1.0


def summarise(judged: Sequence[Judged], *, seed: int = 0) -> Adherence:
    """Give the mean of each axis with its 95 % interval, by bootstrap over prompts."""
    seen, held_out = (
        {axis: interval for axis in AXES if (interval := _interval(judged, axis, part, seed)).count}
        for part in (False, True)
    )
    none = bootstrap_interval([])
    return Adherence(
        seen=seen, held_out=held_out, all_seen=seen.get("all", none), all_held_out=held_out.get("all", none)
    )


def observe_truth(
    seeds: Iterable[int],
    *,
    split: Split = "train",
    num_frames: int = 17,
    fps: float = 8.0,
    height: int = 64,
    width: int = 64,
) -> list[Observed]:
    """Render the scenes of some seeds and parse them, for `parser_truth` and `parser_shuffled`."""
    observed = []
    for seed in seeds:
        scene = sample_scene(seed, seconds=(num_frames - 1) / fps, split=split)
        frames = render_clip(scene, simulate(scene, num_frames, fps), num_frames, height, width)
        observed.append(observe(scene, frames.numpy(), fps))
    return observed


def observe(scene: Scene, frames: NDArray[np.uint8], fps: float) -> Observed:
    """Parse one rendered clip, "f h w 3"."""
    return Observed(scene=scene, observation=parse(frames, fps))


def parser_truth(observed: Sequence[Observed], *, seed: int = 0) -> dict[Axis, Interval]:
    """Measure the parser on clips that show exactly what is stated: the share of the true facts that it finds."""
    return _parser_figures([(item.observation, facts(item.scene)) for item in observed], seed)


def parser_shuffled(observed: Sequence[Observed], *, seed: int = 0) -> dict[Axis, Interval]:
    """Measure the parser against chance: every clip is held against the facts of another one, drawn without order."""
    order = np.random.default_rng(seed).permutation(len(observed))
    partner = {int(a): int(b) for a, b in zip(order, np.roll(order, 1), strict=True)}
    pairs = [(item.observation, facts(observed[partner[index]].scene)) for index, item in enumerate(observed)]
    return _parser_figures(pairs, seed)


def _parser_figures(pairs: Sequence[tuple[Observation, Facts]], seed: int) -> dict[Axis, Interval]:
    judged = [
        Judged(prompt=str(index), is_held_out=False, verdicts=adherence(observation, stated))
        for index, (observation, stated) in enumerate(pairs)
    ]
    return summarise(judged, seed=seed).seen


def _interval(judged: Sequence[Judged], axis: Axis, is_held_out: bool, seed: int) -> Interval:
    groups: dict[str, list[float]] = {}
    for item in judged:
        if item.is_held_out == is_held_out and axis in item.verdicts:
            groups.setdefault(item.prompt, []).extend(float(verdict) for verdict in item.verdicts[axis])
    return bootstrap_interval(list(groups.values()), seed=seed)


def _orders(num_stated: int, num_seen: int) -> Iterable[tuple[int, ...]]:
    """Ways of giving each stated object one that is seen; numbers from `num_seen` up stand for one that is missing."""
    number = max(num_stated, num_seen)
    if number > MOST_MATCHED:
        return [tuple(range(num_stated))]
    return itertools.permutations(range(number), num_stated)


def _judge(seen: Facts, stated: Facts, order: Sequence[int]) -> dict[Axis, list[bool]]:
    """Verdicts when the stated objects are those seen in `order`."""
    verdicts: dict[Axis, list[bool]] = {axis: [] for axis in AXES}
    for wanted, index in zip(stated.objects, order, strict=True):
        shown = seen.objects[index] if index < len(seen.objects) else None
        for look in LOOKS:
            _judge_look(verdicts[look], wanted, shown, look)
    if stated.count is not None:
        verdicts["count"].append(stated.count == seen.count)
    relations = {(relation.subject, relation.side, relation.reference) for relation in seen.relations}
    for relation in stated.relations:
        if stated.objects[relation.subject] == stated.objects[relation.reference]:
            continue  # of two that look the same nobody can say which is meant
        verdicts["relation"].append((order[relation.subject], relation.side, order[relation.reference]) in relations)
    if stated.action is not None:
        is_way = stated.direction is None or stated.direction == seen.direction
        verdicts["action"].append(stated.action == seen.action and is_way)
    if stated.camera is not None:
        is_way = stated.camera_direction is None or stated.camera_direction == seen.camera_direction
        verdicts["camera"].append(stated.camera == seen.camera and is_way)
    if stated.light is not None:
        verdicts["light"].append(stated.light == seen.light)
    if stated.floor is not None:
        verdicts["floor"].append(stated.floor == seen.floor)
    return verdicts


def _judge_look(
    verdicts: list[bool],
    wanted: ObjectFacts,
    shown: ObjectFacts | None,
    look: Literal["colour", "shape", "size", "material"],
) -> None:
    want = getattr(wanted, look)
    if want is not None:
        verdicts.append(shown is not None and getattr(shown, look) == want)
