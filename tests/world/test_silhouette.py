import numpy as np
import pytest

from kinema.world.scene import SHAPES
from kinema.world.silhouette import TUMBLE_STEP_DEG, rolling_poses, tumbling_poses, upright_poses

PROGRESS = np.linspace(0.0, 1.0, 9)


@pytest.mark.parametrize("poses", [upright_poses(), rolling_poses()], ids=["upright", "rolling"])
def test_what_stands_or_rolls_keeps_its_pose(poses) -> None:
    courses = poses.courses(PROGRESS)
    assert (courses == courses[:, :1]).all()
    assert sorted(courses[:, 0]) == list(range(len(poses.shape)))


@pytest.mark.parametrize("direction", ["left", "right"])
def test_what_tumbles_turns_evenly_and_as_it_travels(direction) -> None:
    poses = tumbling_poses(direction)
    sign = -1.0 if direction == "left" else 1.0
    cone = SHAPES.index("cone")
    courses = [course for course in poses.courses(PROGRESS) if poses.shape[course[0]] == cone]
    assert courses
    for course in courses:
        steps = (sign * np.diff(poses.angle_deg[course])) % 360.0
        assert steps.max() - steps.min() <= TUMBLE_STEP_DEG
        assert 200.0 < steps.sum() < 400.0
