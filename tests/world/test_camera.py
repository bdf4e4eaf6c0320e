"""The camera: what it shows, how it moves, and where points of the world fall in the picture."""

import dataclasses
import math

import numpy as np
import pytest
from tests.world.stage import one_object

from kinema.world.camera import FOV_DEG, SUBJECT_Z, CameraPath, camera_path, project
from kinema.world.physics import simulate
from kinema.world.scene import CAMERA_DIRECTIONS, Camera, sample_scene

FRAMES, FPS = 17, 8.0


def moving(move: str, direction: str | None) -> CameraPath:
    camera = Camera(move=move, direction=direction, elevation_deg=18.0, azimuth_deg=0.0)  # type: ignore[arg-type]
    return camera_path(one_object(camera=camera), FRAMES, FPS)


@pytest.mark.parametrize(("aspect", "axis"), [(1.0, 1), (16 / 9, 1), (9 / 16, 0)])
def test_the_shorter_side_of_the_picture_spans_the_view_height(aspect: float, axis: int) -> None:
    scene = one_object()
    path = camera_path(scene, 1, FPS)
    right, up, forward = path.basis()
    distance = scene.view_height / 2.0 / math.tan(math.radians(FOV_DEG) / 2.0)
    middle = path.eye + distance * forward
    half = scene.view_height / 2.0 * (up if axis == 1 else right)
    ends = project(path, np.stack([middle - half, middle + half], 1), aspect)[0]
    assert sorted(ends[:, axis]) == pytest.approx([0.0, 1.0], abs=1e-9)
    assert ends[:, 1 - axis] == pytest.approx([0.5, 0.5], abs=1e-9)


def test_what_is_to_the_right_falls_right_and_what_is_higher_falls_higher() -> None:
    points = np.array([[0.0, 0.0, 0.3], [0.3, 0.0, 0.3], [0.0, 0.0, 0.6], [0.0, 0.8, 0.3]])
    centre, right, high, far = project(camera_path(one_object(), 1, FPS), points, 1.0)[0]
    assert right[0] > centre[0]
    assert high[1] < centre[1]
    assert far[2] > centre[2]


def test_a_point_behind_the_camera_has_a_negative_distance() -> None:
    path = camera_path(one_object(), 1, FPS)
    assert project(path, path.eye - (path.target - path.eye), 1.0)[0, 0, 2] < 0.0


def test_only_a_fixed_camera_is_still() -> None:
    assert moving("fixed", None).is_still
    for move, directions in CAMERA_DIRECTIONS.items():
        for direction in directions:
            assert not moving(move, direction).is_still


def test_panning_left_moves_the_subject_right_and_back() -> None:
    subject = np.array([[0.0, 0.0, 0.3]])
    left = project(moving("pan", "left"), subject, 1.0)[:, 0, 0]
    right = project(moving("pan", "right"), subject, 1.0)[:, 0, 0]
    assert (np.diff(left) >= 0.0).all()
    assert left[-1] - left[0] > 0.2
    assert right == pytest.approx(left[::-1])


def test_tilting_up_moves_the_subject_down() -> None:
    subject = np.array([[0.0, 0.0, 0.3]])
    height = project(moving("tilt", "up"), subject, 1.0)[:, 0, 1]
    assert height[-1] - height[0] > 0.15


def test_a_dolly_goes_to_three_quarters_or_to_one_point_three() -> None:
    for direction, ratio in (("in", 0.75), ("out", 1.3)):
        distance = np.linalg.norm(moving("dolly", direction).eye - [0.0, 0.0, SUBJECT_Z * 1.5], axis=-1)
        assert distance[-1] / distance[0] == pytest.approx(ratio, abs=0.01)


def test_an_orbit_keeps_its_distance_and_turns_about_the_subject() -> None:
    path = moving("orbit", "right")
    offset = path.eye - [0.0, 0.0, SUBJECT_Z * 1.5]
    assert np.ptp(np.linalg.norm(offset, axis=-1)) < 1e-9
    turned = np.degrees(np.arctan2(offset[:, 0], -offset[:, 1]))
    assert turned[-1] - turned[0] == pytest.approx(36.0)
    fixed = project(path, np.array([[0.0, 0.0, 0.3]]), 1.0)[:, 0]
    assert np.ptp(fixed, axis=0).max() < 1e-3


def test_moves_start_and_end_softly() -> None:
    steps = np.linalg.norm(np.diff(moving("orbit", "left").eye, axis=0), axis=-1)
    assert steps[0] < 0.5 * steps[len(steps) // 2]
    assert steps[-1] < 0.5 * steps[len(steps) // 2]


def test_a_clip_at_twice_the_rate_shows_the_same_move() -> None:
    scene = one_object(camera=Camera(move="pan", direction="left", elevation_deg=15.0, azimuth_deg=3.0))
    assert camera_path(scene, 33, 16.0).target[::2] == pytest.approx(camera_path(scene, 17, 8.0).target)


def test_the_horizon_is_seen_in_most_clips() -> None:
    seen = 0
    for seed in range(60):
        path = camera_path(sample_scene(seed), 1, FPS)
        ahead = np.array([[0.0, 1e6, 0.0]])
        seen += 0.02 < project(path, ahead, 1.0)[0, 0, 1] < 0.5
    assert seen >= 50


@pytest.mark.parametrize("seed", range(30))
def test_the_main_object_stays_in_the_picture(seed: int) -> None:
    scene = sample_scene(seed)
    trajectory = simulate(scene, FRAMES, FPS)
    centre = project(camera_path(scene, FRAMES, FPS), trajectory.position[:, :1], 1.0)[:, 0]
    # Nothing rises or falls for the whole of a clip: the start of a fall may lie above the picture.
    inside = (np.abs(centre[:, :2] - 0.5) < 0.5).all(-1)
    assert inside.mean() > 0.75
    assert (np.abs(centre[:, 0] - 0.5) < 0.5).all()


def test_the_path_does_not_depend_on_what_stands_in_front_of_it() -> None:
    scene = one_object()
    other = dataclasses.replace(scene, objects=(dataclasses.replace(scene.main, shape="cone", size="small"),))
    assert (camera_path(scene, 3, FPS).eye == camera_path(other, 3, FPS).eye).all()
