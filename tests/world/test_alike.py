import numpy as np
import pytest

from kinema.world.alike import part_alike
from kinema.world.egomotion import Move, view_path
from kinema.world.parse import parse
from kinema.world.physics import simulate
from kinema.world.render import render_clip
from kinema.world.scene import sample_scene
from kinema.world.segment import segment

FRAMES, FPS = 17, 8.0


@pytest.mark.parametrize("seed", [20_000_000, 20_000_042])
def test_like_objects_that_overlap_are_told_apart(seed: int) -> None:
    scene = sample_scene(seed, seconds=2.0)
    assert scene.is_alike
    seen = parse(render_clip(scene, simulate(scene, FRAMES, FPS), FRAMES, 64, 64).numpy(), FPS)
    assert (seen.count, seen.action) == (len(scene.objects), scene.action)
    assert {(thing.shape, thing.size) for thing in seen.objects} == {(scene.main.shape, scene.main.size)}


def test_masks_take_every_pixel_once_and_the_actor_is_in_front() -> None:
    scene = sample_scene(20_000_418, seconds=2.0)
    frames = render_clip(scene, simulate(scene, FRAMES, FPS), FRAMES, 64, 64).numpy()
    mask = segment(frames).label >= 0
    parted = part_alike(mask, view_path(Move("fixed", None, 18.0), FRAMES))
    assert parted is not None
    assert len(parted) == 4
    assert (np.sum(parted, axis=0) == mask).all()
    assert parted[0][-1].sum() > max(one[-1].sum() for one in parted[1:])


def test_what_no_row_of_like_objects_shows_is_not_parted() -> None:
    mask = np.zeros((5, 64, 64), dtype=bool)
    path = view_path(Move("fixed", None, 18.0), 5)
    assert part_alike(mask, path) is None
    mask[:, 30:34, 4:60] = True
    assert part_alike(mask, path) is None
