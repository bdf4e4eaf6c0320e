import dataclasses
import math

import numpy as np
import pytest

from kinema.errors import DataError
from kinema.world.camera import camera_path, project
from kinema.world.launch import collision_yaw_deg
from kinema.world.motion import broken_claim, rebounds, tilt_deg, turn_deg
from kinema.world.physics import simulate
from kinema.world.scene import ACTION_SHAPES, ACTIONS, SIZES, Object, Scene, sample_scene

FRAMES, FPS = 33, 16.0


def scene_of(action, shape=None, size=None):
    """The first scene of that action, shape and size."""
    return next(
        scene
        for scene in (sample_scene(seed, split="all") for seed in range(5000))
        if scene.action == action and scene.main.shape == (shape or scene.main.shape)
        if scene.main.size == (size or scene.main.size)
    )


@pytest.mark.parametrize("action", ACTIONS)
def test_every_shape_and_size_shows_its_action_at_the_rate_of_the_clip(action):
    for shape in ACTION_SHAPES[action]:
        for size in SIZES:
            scene = scene_of(action, shape, size)
            trajectory = simulate(scene, FRAMES, FPS)
            assert broken_claim(scene, trajectory.position, trajectory.rotation) is None, (shape, size)


@pytest.mark.parametrize("seconds", [0.5, 2.0, 5.0])
def test_motions_hold_over_many_seeds_and_lengths(seconds):
    frames = round(8 * seconds) + 1
    for seed in range(60):
        scene = sample_scene(seed, seconds=seconds, split="all")
        trajectory = simulate(scene, frames, 8.0)
        assert trajectory.position.shape == (frames, len(scene.objects), 3)
        assert np.allclose(np.linalg.norm(trajectory.rotation, axis=-1), 1.0, atol=1e-5)
        assert (trajectory.rope is not None) == (scene.action == "swing")


def test_the_same_scene_moves_the_same_way_at_any_number_of_frames():
    scene = scene_of("bounce")
    long, short = simulate(scene, 33, FPS), simulate(scene, 5, FPS)
    assert np.array_equal(long.position[:5], short.position)
    assert np.array_equal(long.rotation[:5], short.rotation)


def test_objects_that_take_no_part_stay_exactly_where_they_are():
    seen = 0
    for seed in range(150):
        scene = sample_scene(seed, split="all")
        movers = 2 if scene.action == "collide" else 1
        still = simulate(scene, 9, 4.0).position[:, movers:]
        seen += still.shape[1]
        assert (still == still[:1]).all()
    assert seen > 50


def footprint(thing: Object, yaw_deg: float) -> np.ndarray:
    """Corners of a box, or points around anything else, on the floor."""
    count = 4 if thing.shape == "box" else 32
    angles = math.radians(yaw_deg) + 2 * np.pi * (np.arange(count) + 0.5) / count
    reach = thing.radius * (math.sqrt(2) if thing.shape == "box" else 1.0)
    return np.array([thing.x, thing.y]) + reach * np.stack([np.cos(angles), np.sin(angles)], -1)


def are_apart(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether a line separates two convex polygons (separating axis theorem)."""
    for polygon in (first, second):
        edges = np.roll(polygon, -1, axis=0) - polygon
        for normal in np.stack([edges[:, 1], -edges[:, 0]], -1):
            one, other = first @ normal, second @ normal
            if one.max() < other.min() or other.max() < one.min():
                return True
    return False


def test_no_object_stands_inside_another_when_the_clip_starts():
    pairs = 0
    for seed in range(1500):
        scene = sample_scene(seed, split="all")
        yaws = [collision_yaw_deg(o) if scene.action == "collide" else o.yaw_deg for o in scene.objects]
        prints = [footprint(thing, yaw) for thing, yaw in zip(scene.objects, yaws, strict=True)]
        for index, first in enumerate(prints):
            for second in prints[index + 1 :]:
                pairs += 1
                assert are_apart(first, second), seed
    assert pairs > 500


def test_the_acting_object_stays_in_the_picture():
    for seed in range(120):
        scene = sample_scene(seed, split="all")
        seen = project(camera_path(scene, FRAMES, FPS), simulate(scene, FRAMES, FPS).position[:, 0][:, None], 1.0)
        assert seen[..., :2].min() > 0.02, (seed, scene.action)
        assert seen[..., :2].max() < 0.98, (seed, scene.action)


def test_a_ball_rolls_without_slipping():
    scene = scene_of("roll", "ball")
    trajectory = simulate(scene, FRAMES, FPS)
    way = abs(trajectory.position[-1, 0, 0] - trajectory.position[0, 0, 0])
    assert turn_deg(trajectory.rotation[:, 0]).sum() == pytest.approx(np.degrees(way / scene.main.radius), rel=0.05)


def test_a_bounce_loses_height_each_time():
    scene = scene_of("bounce", "ball")
    height = simulate(scene, 65, 32.0).position[:, 0, 2].astype(float) - scene.main.height / 2
    peaks = rebounds(height)
    assert height[0] > peaks[0] > peaks[1]


def test_a_collision_passes_the_speed_on():
    scene = scene_of("collide")
    position = simulate(scene, FRAMES, FPS).position[..., 0]
    speed = np.abs(np.diff(position, axis=0))
    assert speed[0, 0] > 0
    assert speed[0, 1] == 0
    assert speed[-1, 0] < speed[0, 0]
    assert abs(position[-1, 1] - position[0, 1]) > 0.08 * scene.view_height


def test_directions_are_mirror_images():
    scene = scene_of("slide")
    other = dataclasses.replace(
        scene,
        direction="left" if scene.direction == "right" else "right",
        objects=tuple(dataclasses.replace(thing, x=-thing.x) for thing in scene.objects),
    )
    there, back = simulate(scene, 9, FPS).position, simulate(other, 9, FPS).position
    assert np.allclose(there[..., 0], -back[..., 0], atol=1e-5)


def test_lying_objects_roll_and_standing_objects_stand():
    assert tilt_deg(simulate(scene_of("roll", "cylinder"), 9, FPS).rotation[:, 0]) == pytest.approx(90, abs=0.1)
    assert tilt_deg(simulate(scene_of("slide", "cylinder"), 9, FPS).rotation[:, 0]) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(("num_frames", "fps"), [(0, 16.0), (33, 0.0), (33, math.nan)])
def test_a_clip_without_frames_or_time_is_refused(num_frames, fps):
    with pytest.raises(DataError, match="must be positive"):
        simulate(sample_scene(0), num_frames, fps)


def test_a_motion_that_shows_another_action_is_found_out():
    moving = simulate(scene_of("slide"), FRAMES, FPS)
    for action in ("rest", "roll", "tumble", "bounce", "fall", "spin", "swing", "rise"):
        scene: Scene = dataclasses.replace(scene_of("slide"), action=action)
        assert broken_claim(scene, moving.position, moving.rotation) is not None, action
