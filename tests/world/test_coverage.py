"""The share of each cell that an object fills: against the picture, against what hides it, and mirrored."""

import dataclasses

import pytest
import torch
from tests.world.stage import absent, one_object, standing

from kinema.world.coverage import coverage
from kinema.world.physics import simulate
from kinema.world.render import render_clip
from kinema.world.scene import SHAPES, Object, Shape, mirror, sample_scene


@pytest.mark.parametrize("shape", SHAPES)
def test_an_object_covers_what_it_covers_in_the_picture(shape: Shape) -> None:
    scene = one_object(shape=shape, colour="red", material="matte")
    poses = standing(scene, 1)
    covered = coverage(scene, poses, 1, 64, 64)[0, 0]
    picture, empty = (render_clip(scene, each, 1, 64, 64)[0].float() for each in (poses, absent(scene, 1)))
    is_red = (picture[..., 0] - picture[..., 1]) - (empty[..., 0] - empty[..., 1]) > 30.0
    assert (covered[is_red] > 0.3).float().mean() > 0.95
    assert ((covered > 0.7) & ~is_red).float().mean() < 0.01


def test_coarse_cells_are_the_mean_of_fine_ones() -> None:
    scene = sample_scene(5)
    poses = simulate(scene, 9, 8.0)
    fine = coverage(scene, poses, 9, 64, 64)
    pooled = torch.nn.functional.avg_pool2d(fine, 8)
    assert (coverage(scene, poses, 9, 8, 8) - pooled).abs().max() < 0.1


def test_the_object_in_front_hides_the_one_behind() -> None:
    scene = one_object(shape="box")
    behind = dataclasses.replace(scene.main, y=scene.main.y + 1.0)
    away = dataclasses.replace(scene.main, x=500.0)

    def shares(*objects: Object) -> torch.Tensor:
        placed = dataclasses.replace(scene, objects=objects)
        return coverage(placed, standing(placed, 1), 1, 32, 32)

    both = shares(behind, scene.main)
    assert torch.equal(both[1], shares(away, scene.main)[1])
    assert (both.sum(0) <= 1.0).all()
    assert both[0].sum() < 0.5 * shares(behind, away)[0].sum()


def test_a_mirrored_scene_covers_mirrored_cells() -> None:
    scene = sample_scene(12)
    shares = coverage(scene, simulate(scene, 1, 8.0), 1, 16, 16)
    mirrored = coverage(mirror(scene), simulate(mirror(scene), 1, 8.0), 1, 16, 16)
    assert (shares.flip(-1) - mirrored).abs().max() < 0.1


def test_cells_need_not_be_square() -> None:
    scene = sample_scene(3)
    poses = simulate(scene, 1, 8.0)
    wide = coverage(scene, poses, 1, 36, 64)
    pooled = wide.unflatten(-1, (32, 2)).mean(-1)
    assert (coverage(scene, poses, 1, 36, 32, aspect=64 / 36) - pooled).abs().max() < 0.2
