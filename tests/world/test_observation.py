import numpy as np

from kinema.world.facts import Relation
from kinema.world.observation import Observation, SeenObject, relations_of


def _ball(x: list[float], lane: float = 0.0) -> SeenObject:
    track = np.stack([np.array(x), np.full(len(x), 0.5)], axis=-1)
    track[np.isnan(track[:, 0])] = np.nan
    return SeenObject(
        shape="ball", colour="red", size="small", material=None, track=track, extent=track, lane=lane, misfit=1.0
    )


def test_sides_are_those_of_every_frame_that_shows_both() -> None:
    gone = float("nan")
    left, right, passing = _ball([0.1, 0.2, gone]), _ball([0.3, 0.3, 0.1], lane=0.5), _ball([0.2, 0.4, 0.5], lane=0.5)
    assert relations_of([left, right, passing]) == (
        Relation(0, "left of", 1),
        Relation(0, "in front of", 1),
        Relation(0, "left of", 2),
        Relation(0, "in front of", 2),
        Relation(1, "right of", 0),
        Relation(1, "behind", 0),
        Relation(2, "right of", 0),
        Relation(2, "behind", 0),
    )
    assert relations_of([_ball([gone]), _ball([0.5])]) == ()


def test_the_facts_of_an_observation_are_what_it_says() -> None:
    seen = Observation(
        objects=(_ball([0.1]),), relations=(), action="roll", direction="left", camera="pan", camera_direction="right",
        light="noon", floor="sand",
    )  # fmt: skip
    facts = seen.facts
    assert (facts.count, facts.action, facts.direction, facts.camera, facts.camera_direction) == (
        1, "roll", "left", "pan", "right"
    )  # fmt: skip
    assert (facts.light, facts.floor, facts.objects[0].shape, facts.objects[0].material) == (
        "noon", "sand", "ball", None
    )  # fmt: skip
