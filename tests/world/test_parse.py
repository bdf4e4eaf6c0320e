import dataclasses

import numpy as np
import pytest
from tests.world.stage import one_object, standing

from kinema.world.facts import facts
from kinema.world.parse import parse
from kinema.world.physics import simulate
from kinema.world.render import render_clip
from kinema.world.scene import Scene, sample_scene

FRAMES, FPS = 17, 8.0


def _film(scene: Scene, num_frames: int = FRAMES, px: int = 64) -> np.ndarray:
    return np.asarray(render_clip(scene, simulate(scene, num_frames, FPS), num_frames, px, px).numpy())


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((0, 64, 64, 3), dtype=np.uint8),
        np.zeros((5, 8, 8, 3), dtype=np.uint8),
        np.zeros((5, 64, 64, 3), dtype=np.uint8),
        np.full((5, 64, 64, 3), 255, dtype=np.uint8),
        np.full((1, 64, 96, 3), 127, dtype=np.uint8),
    ],
    ids=["no frames", "tiny", "black", "white", "one grey picture"],
)
def test_clips_that_show_nothing_are_read_as_nothing(frames: np.ndarray) -> None:
    seen = parse(frames, FPS)
    assert seen.objects == ()
    assert seen.action is None


@pytest.mark.parametrize("shape", [(1, 64, 64, 3), (4, 64, 64, 3), (2, 48, 80, 3), (2, 130, 90, 3)])
def test_noise_is_read_without_failing(shape: tuple[int, ...]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    parse(noise, FPS)
    stripes = np.zeros(shape, dtype=np.uint8)
    stripes[:, :, ::9] = (255, 0, 0)
    stripes[:, ::7] = (0, 0, 255)
    parse(stripes, FPS)


def test_an_object_that_another_hides_in_every_frame_is_no_reason_to_warn() -> None:
    """Two balls of a row of three, and one before the middle that meets another at the end."""
    rows, columns = np.indices((64, 64)) + 0.5
    frames = np.full((3, 64, 64, 3), 128, dtype=np.uint8)
    for frame, x in zip(frames, (32, 32, 30), strict=True):
        for centre, bottom, radius in ((10.3, 50.0, 8.3), (53.7, 50.0, 8.3), (x, 50.5, 10.5)):
            frame[np.hypot(columns - centre, rows - bottom + radius) < radius] = (200, 30, 30)
    seen = parse(frames, FPS)
    assert [thing.colour for thing in seen.objects] == ["red"] * seen.count
    assert np.isnan(seen.objects[-1].track).all()


def test_a_still_picture_shows_what_stands_in_it() -> None:
    scene = one_object("box", "blue")
    picture = render_clip(scene, standing(scene, 1), 1, 64, 64).numpy()
    seen = parse(picture, FPS)
    assert [(thing.shape, thing.colour, thing.size) for thing in seen.objects] == [("box", "blue", "large")]
    assert (seen.action, seen.camera) == ("rest", "fixed")
    assert (seen.light, seen.floor) == ("noon", "checker")


def test_rendered_clips_are_read_back() -> None:
    for seed in (3_000_003, 3_000_135):
        scene = sample_scene(seed, split="all")
        seen = parse(_film(scene), FPS)
        # Of several objects only the one that acts has a known place in the order.
        true = dataclasses.replace(facts(scene), objects=facts(scene).objects[:1], relations=())
        assert seen.facts.contradicts(true) == ()


def test_one_of_two_like_balls_hits_the_other_and_does_not_pass_through_it() -> None:
    scene = sample_scene(3_000_012, split="all")
    assert (scene.action, scene.is_alike) == ("collide", True)
    seen = parse(_film(scene), FPS)
    assert (seen.action, seen.direction, seen.count) == ("collide", scene.direction, 2)
