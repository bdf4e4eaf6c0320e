"""Pictures of the demo world: colours, shadows, smooth edges, composition, and bytes that do not change."""

import colorsys
import dataclasses

import numpy as np
import pytest
import torch
from tests.world.stage import absent, one_object, standing

from kinema.errors import SpecError
from kinema.world import render as renderer
from kinema.world.camera import camera_path, project
from kinema.world.palette import PALETTE
from kinema.world.physics import simulate
from kinema.world.render import render, render_clip
from kinema.world.scene import COLOURS, FLOORS, MATERIALS, SHAPES, Camera, Colour, Floor, Light, Shape, sample_scene
from kinema.world.trajectory import Trajectory

LIGHTS: tuple[Light, ...] = ("noon", "overcast", "sunset", "night")
QUARTERS = {"x": (1.0, 0.4142, 0.0, 0.0), "y": (1.0, 0.0, 0.4142, 0.0), "z": (1.0, 0.0, 0.0, 0.4142)}


def object_mask(scene, size: tuple[int, int] = (64, 64)) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[no-untyped-def]
    """The picture of a standing object and the pixels in which it differs from the empty scene by its hue."""
    picture = render_clip(scene, standing(scene, 1), 1, *size)[0].float()
    empty = render_clip(scene, absent(scene, 1), 1, *size)[0].float()
    spread = (picture.amax(-1) - picture.amin(-1)) - (empty.amax(-1) - empty.amin(-1))
    return picture, spread > 40.0


def test_a_clip_has_the_frames_and_size_asked_for() -> None:
    scene = one_object()
    clip = render_clip(scene, standing(scene, 5), 5, 36, 64)
    assert clip.shape == (5, 36, 64, 3)
    assert clip.dtype == torch.uint8


def test_bytes_do_not_depend_on_the_batch_or_on_the_run() -> None:
    scenes = [sample_scene(seed) for seed in (1, 2, 3)]
    poses = [simulate(scene, 5, 8.0) for scene in scenes]
    batch = render(scenes, poses, 5, 48, 64)
    for index in (2, 0, 1):
        assert torch.equal(render_clip(scenes[index], poses[index], 5, 48, 64), batch[index])


@pytest.mark.parametrize("move", [("fixed", None), ("orbit", "left")])
def test_rendering_in_stretches_changes_nothing_but_rounding(
    monkeypatch: pytest.MonkeyPatch, move: tuple[str, str | None]
) -> None:
    camera = Camera(move=move[0], direction=move[1], elevation_deg=15.0, azimuth_deg=0.0)  # type: ignore[arg-type]
    scene = dataclasses.replace(sample_scene(6), camera=camera)
    poses = simulate(scene, 7, 8.0)
    whole = render_clip(scene, poses, 7, 32, 32)
    monkeypatch.setattr(renderer, "CHUNK_PIXELS", 2 * 32 * 32)
    assert (render_clip(scene, poses, 7, 32, 32).int() - whole.int()).abs().max() <= 1


def test_a_still_camera_shows_what_a_moving_one_shows_from_the_same_place() -> None:
    fixed = one_object(cloudiness=0.0)
    nearly = dataclasses.replace(
        fixed, camera=Camera(move="pan", direction="left", elevation_deg=18.0, azimuth_deg=0.0), seconds=2.0
    )
    path = camera_path(nearly, 3, 8.0)
    assert not path.is_still
    still = render_clip(fixed, standing(fixed, 3), 3, 32, 32)
    assert torch.equal(still[0], still[2])
    moving = render_clip(nearly, standing(nearly, 3), 3, 32, 32)
    assert not torch.equal(moving[0], moving[2])


@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize("colour", COLOURS)
def test_every_colour_is_read_back_by_its_hue_in_every_light(colour: Colour, light: Light) -> None:
    hues = {name: colorsys.rgb_to_hsv(*rgb)[0] for name, rgb in PALETTE.items()}
    for material in MATERIALS:
        picture, mask = object_mask(one_object(colour=colour, light=light, material=material, floor="tiles"))
        assert mask.sum() > 150
        rgb = picture[mask].median(0).values.numpy() / 255.0
        hue = colorsys.rgb_to_hsv(*rgb)[0]
        gap = {name: abs((hue - other + 0.5) % 1.0 - 0.5) for name, other in hues.items()}
        assert min(gap, key=lambda name: gap[name]) == colour, (material, hue)


@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize("floor", FLOORS)
def test_no_floor_or_sky_is_as_saturated_as_an_object(floor: Floor, light: Light) -> None:
    scene = one_object(floor=floor, light=light, cloudiness=0.0)
    empty = render_clip(scene, absent(scene, 1), 1, 64, 64).float()
    spread = (empty.amax(-1) - empty.amin(-1)).flatten()
    assert spread.max() < 90.0
    _, mask = object_mask(scene)
    picture = render_clip(scene, standing(scene, 1), 1, 64, 64)[0].float()
    assert (picture.amax(-1) - picture.amin(-1))[mask].median() > spread.max()


@pytest.mark.parametrize("axis", QUARTERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_turning_about_any_axis_is_seen(shape: Shape, axis: str) -> None:
    scene = one_object(shape, "blue")
    before = render_clip(scene, standing(scene, 1), 1, 64, 64).int()
    after = render_clip(scene, standing(scene, 1, QUARTERS[axis]), 1, 64, 64).int()
    assert ((before - after).abs().amax(-1) > 40).sum() > 60


@pytest.mark.parametrize("size", [(64, 64), (90, 160), (128, 128)])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_main_object_fills_a_fifth_to_half_of_the_height(shape: Shape, size: tuple[int, int]) -> None:
    for named in ("small", "large"):
        _, mask = object_mask(one_object(shape, size=named), size)
        rows = mask.any(1).sum() / size[0]
        assert 0.2 <= rows <= 0.55, named


def test_an_object_is_drawn_where_it_projects_to() -> None:
    scene = one_object("ball", "green", size="small")
    poses = standing(scene, 1)
    _, mask = object_mask(scene, (128, 128))
    row, column = mask.nonzero().float().mean(0) + 0.5
    x, y, _ = project(camera_path(scene, 1, 8.0), poses.position, 1.0)[0, 0]
    assert column / 128 == pytest.approx(x, abs=0.015)
    assert row / 128 == pytest.approx(y, abs=0.02)


@pytest.mark.parametrize("floor", FLOORS)
def test_a_small_picture_is_the_average_of_a_large_one(floor: Floor) -> None:
    scene = one_object("box", "orange", floor=floor, light="noon")
    small = render_clip(scene, standing(scene, 1), 1, 64, 64)[0].float()
    large = render_clip(scene, standing(scene, 1), 1, 512, 512)[0].float()
    average = large.view(64, 8, 64, 8, 3).mean((1, 3))
    error = (small - average).square().mean()
    assert 10.0 * torch.log10(255.0**2 / error) > 27.0


def test_more_samples_change_edges_only() -> None:
    scene = one_object("cone", "purple")
    four = render_clip(scene, standing(scene, 1), 1, 64, 64).int()
    sixteen = render_clip(scene, standing(scene, 1), 1, 64, 64, samples=16).int()
    one = render_clip(scene, standing(scene, 1), 1, 64, 64, samples=1).int()
    assert (four - sixteen).abs().float().mean() < 0.3
    assert (one - sixteen).abs().float().mean() > (four - sixteen).abs().float().mean()


def test_the_sun_casts_a_shadow_away_from_itself() -> None:
    scene = one_object("box", "red", sun_azimuth_deg=70.0, floor="snow")
    picture = render_clip(scene, standing(scene, 1), 1, 96, 96)[0].float().mean(-1)
    empty = render_clip(scene, absent(scene, 1), 1, 96, 96)[0].float().mean(-1)
    _, mask = object_mask(scene, (96, 96))
    darker = ((empty - picture) > 25.0) & ~mask
    columns = darker.nonzero()[:, 1].float()
    assert len(columns) > 60
    # The sun stands to the right, so the shadow falls to the left of the object.
    assert columns.mean() < mask.nonzero()[:, 1].float().mean() - 5.0


def test_a_raised_object_has_a_softer_shadow_than_a_standing_one() -> None:
    scene = one_object("box", "red", floor="snow")
    low, high = standing(scene, 1), standing(scene, 1)
    high = Trajectory(high.position + np.array([0.0, 0.0, 0.7], dtype=np.float32), high.rotation, None, 8.0)
    empty = render_clip(scene, absent(scene, 1), 1, 128, 128)[0].float().mean(-1)

    def penumbra(poses: Trajectory) -> float:
        drop = empty - render_clip(scene, poses, 1, 128, 128)[0].float().mean(-1)
        drop = drop[70:]
        half = (drop > 8.0) & (drop < 0.7 * drop.max())
        return float(half.sum() / (drop > 8.0).sum())

    assert penumbra(high) > penumbra(low)


def test_one_object_shades_another() -> None:
    scene = one_object("box", "red", sun_azimuth_deg=70.0, light="sunset")
    first = dataclasses.replace(scene.main, x=-0.4)
    second = dataclasses.replace(scene.main, x=0.35, y=-0.57, shape="cylinder", colour="blue")
    both = dataclasses.replace(scene, objects=(first, second))
    near, far = standing(both, 1), standing(both, 1)
    far.position[:, 1, 0] += 400.0
    centre = project(camera_path(both, 1, 8.0), near.position, 1.0)[0, 0]
    row, column = int(centre[1] * 96), int(centre[0] * 96)
    patch = np.s_[0, row - 6 : row + 6, column - 6 : column + 6]
    shaded = render_clip(both, near, 1, 96, 96).float()[patch].mean()
    lit = render_clip(both, far, 1, 96, 96).float()[patch].mean()
    assert shaded < lit - 5.0


def test_night_is_darker_than_day_and_still_readable() -> None:
    level = {light: float(object_mask(one_object(light=light, floor="sand"))[0].mean()) for light in LIGHTS}
    assert level["night"] < 0.65 * min(level["noon"], level["overcast"], level["sunset"])
    assert level["night"] > 25.0


def test_clouds_move_and_a_clear_sky_does_not() -> None:
    def change(cloudiness: float) -> float:
        scene = one_object(cloudiness=cloudiness)
        clip = render_clip(scene, absent(scene, 17), 17, 64, 64).float()
        return float((clip[0, :12] - clip[-1, :12]).abs().mean())

    assert change(0.0) == 0.0
    assert change(0.8) > 0.5


def test_what_swings_hangs_from_a_rope() -> None:
    scene = one_object("ball", "cyan", action="swing", size="small")
    poses = standing(scene, 1)
    hung = Trajectory(poses.position, poses.rotation, np.array([0.0, 0.0, 2.5], dtype=np.float32), 8.0)
    plain, roped = (render_clip(scene, value, 1, 96, 96)[0].int() for value in (poses, hung))
    changed = ((plain - roped).abs().amax(-1) > 20).nonzero()
    assert len(changed) > 20
    assert changed[:, 0].min() == 0
    assert changed[:, 1].max() - changed[:, 1].min() <= 3


def test_an_object_that_leaves_the_picture_leaves_it_whole() -> None:
    scene = one_object("capsule", "yellow")
    poses = standing(scene, 3)
    poses.position[:, 0, 0] = [0.0, 0.72, 5.0]
    clip = render_clip(scene, poses, 3, 48, 48)
    alone = render_clip(scene, Trajectory(poses.position[1:2], poses.rotation[1:2], None, 8.0), 1, 48, 48)
    assert (clip[1].int() - alone[0].int()).abs().max() <= 1


def test_a_sample_count_that_makes_no_square_is_refused() -> None:
    scene = one_object()
    with pytest.raises(SpecError, match=r"samples=3 .* use 1, 4, 9 or 16"):
        render_clip(scene, standing(scene, 1), 1, 16, 16, samples=3)


def test_a_trajectory_that_is_too_short_is_refused() -> None:
    scene = one_object()
    with pytest.raises(SpecError, match="2 frames; 3 were asked for"):
        render_clip(scene, standing(scene, 2), 3, 16, 16)


@pytest.mark.gpu
def test_a_gpu_renders_what_the_cpu_renders() -> None:
    for seed in range(8):
        scene = sample_scene(seed)
        poses = simulate(scene, 9, 8.0)
        there = render_clip(scene, poses, 9, 64, 64, "cuda").cpu().int()
        here = render_clip(scene, poses, 9, 64, 64).int()
        assert ((here - there).abs() > 2).float().mean() < 1e-3
