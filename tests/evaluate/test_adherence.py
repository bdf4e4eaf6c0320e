import dataclasses
import itertools

import numpy as np
import pytest

from kinema.evaluate.adherence import (
    Judged,
    Observed,
    adherence,
    observe_truth,
    parser_shuffled,
    parser_truth,
    reward,
    summarise,
)
from kinema.world.describe import Caption
from kinema.world.facts import Facts, ObjectFacts, Relation, facts
from kinema.world.observation import Observation, SeenObject
from kinema.world.parse import parse
from kinema.world.physics import simulate
from kinema.world.render import render_clip
from kinema.world.scene import sample_scene

TRACK = np.zeros((2, 2))


def _seen(colour: str, shape: str, size: str = "small") -> SeenObject:
    return SeenObject(
        shape=shape,  # type: ignore[arg-type]
        colour=colour,  # type: ignore[arg-type]
        size=size,  # type: ignore[arg-type]
        material=None,
        track=TRACK,
        extent=TRACK,
        lane=0.0,
        misfit=0.0,
    )


def _observation(*objects: SeenObject, relations: tuple[Relation, ...] = ()) -> Observation:
    return Observation(
        objects=objects,
        relations=relations,
        action="roll",
        direction="left",
        camera="pan",
        camera_direction="right",
        light="noon",
        floor="sand",
    )


def test_only_what_is_stated_is_judged() -> None:
    stated = Facts(objects=(ObjectFacts(colour="red"), ObjectFacts()), action="roll")
    verdicts = adherence(_observation(_seen("red", "ball")), stated)
    assert verdicts == {"colour": [True], "action": [True], "all": [True]}
    assert adherence(_observation(), Facts(objects=())) == {}


def test_objects_are_matched_in_the_order_that_agrees_most() -> None:
    stated = Facts(
        objects=(ObjectFacts(colour="blue", shape="box"), ObjectFacts(colour="red", shape="ball")),
        count=2,
        relations=(Relation(0, "left of", 1),),
    )
    right = _observation(_seen("red", "ball"), _seen("blue", "box"), relations=(Relation(1, "left of", 0),))
    assert adherence(right, stated)["all"] == [True]
    mirrored = _observation(_seen("red", "ball"), _seen("blue", "box"), relations=(Relation(0, "left of", 1),))
    assert adherence(mirrored, stated)["relation"] == [False]


def test_how_two_that_look_the_same_stand_to_each_other_is_not_judged():
    stated = Facts(
        objects=(ObjectFacts(shape="ball", colour="red"), ObjectFacts(shape="ball", colour="red")),
        relations=(Relation(0, "left of", 1),),
    )
    seen = _observation(_seen("red", "ball"), _seen("red", "ball"), relations=(Relation(1, "left of", 0),))
    verdicts = adherence(seen, stated)
    assert "relation" not in verdicts
    assert verdicts["all"] == [True]


def test_swapped_colours_do_not_both_count() -> None:
    stated = Facts(objects=(ObjectFacts(colour="blue", shape="box"), ObjectFacts(colour="red", shape="ball")))
    verdicts = adherence(_observation(_seen("red", "box"), _seen("blue", "ball")), stated)
    assert sum(verdicts["colour"]) + sum(verdicts["shape"]) == 2


def test_a_missing_object_shows_none_of_its_facts_and_an_extra_one_breaks_the_count() -> None:
    stated = Facts(objects=(ObjectFacts(colour="red"), ObjectFacts(colour="blue", shape="cone")), count=2)
    verdicts = adherence(_observation(_seen("red", "ball")), stated)
    assert sorted(verdicts["colour"]) == [False, True]
    assert verdicts["shape"] == [False]
    assert verdicts["count"] == verdicts["all"] == [False]
    more = adherence(_observation(_seen("red", "ball"), _seen("blue", "cone"), _seen("pink", "box")), stated)
    assert more["count"] == [False]
    assert all(more["colour"])


def test_actions_and_camera_moves_count_with_their_direction_if_it_is_stated() -> None:
    seen = _observation(_seen("red", "ball"))
    some = (ObjectFacts(),)
    assert adherence(seen, Facts(objects=some, action="roll", direction="right"))["action"] == [False]
    assert adherence(seen, Facts(objects=some, action="roll", direction="left"))["action"] == [True]
    assert adherence(seen, Facts(objects=some, camera="pan"))["camera"] == [True]
    assert adherence(seen, Facts(objects=some, camera="pan", camera_direction="left"))["camera"] == [False]
    assert adherence(seen, Facts(objects=some, camera="fixed"))["camera"] == [False]


def test_summaries_keep_seen_and_held_out_apart_and_resample_prompts() -> None:
    judged = [
        Judged(prompt=str(prompt), is_held_out=prompt >= 10, verdicts={"colour": [prompt % 2 == 0] * 3})
        for prompt in range(20)
        for _ in range(3)
    ]
    summary = summarise(judged)
    assert summary.seen["colour"].mean == summary.held_out["colour"].mean == 0.5
    assert summary.seen["colour"].count == 10
    assert summary.seen["colour"].high - summary.seen["colour"].low > 0.4
    assert "shape" not in summary.seen
    assert summary.all_seen.count == 0


@pytest.mark.slow
def test_the_parser_finds_rendered_truth_and_little_of_other_clips() -> None:
    observed: list[Observed] = observe_truth(range(700_000, 700_012))
    truth, shuffled = parser_truth(observed), parser_shuffled(observed)
    for axis in ("colour", "shape", "action", "camera", "light"):
        assert truth[axis].mean >= 0.9
        assert shuffled[axis].mean <= 0.6


def test_a_reward_is_half_for_the_facts_and_half_for_all_at_once():
    scene = sample_scene(9_000_003, seconds=2.0)
    frames = render_clip(scene, simulate(scene, 17, 8.0), 17, 64, 64).numpy()
    true = Caption("", facts(scene))
    assert reward(frames, true, 8.0) == 1
    stated = len(list(itertools.chain(*adherence(parse(frames, 8.0), true.facts).values()))) - 1
    wrong = Caption("", dataclasses.replace(true.facts, light="night" if scene.light != "night" else "noon"))
    assert reward(frames, wrong, 8.0) == pytest.approx((1 - 1 / stated) / 2)
    assert reward(frames, Caption("", Facts(objects=())), 8.0) == 1


def test_a_single_frame_is_not_asked_what_moves():
    scene = sample_scene(9_000_003, seconds=2.0)
    frames = render_clip(scene, simulate(scene, 17, 8.0), 17, 64, 64).numpy()
    moving = Facts(objects=facts(scene).objects[:1], action="roll", camera="zoom")
    assert reward(frames[:1], Caption("", moving), 8.0) == reward(
        frames[:1], Caption("", dataclasses.replace(moving, action="fall", camera="pan")), 8.0
    )
