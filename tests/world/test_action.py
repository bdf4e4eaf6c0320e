import numpy as np

from kinema.world.action import read_motion


def _track(z: np.ndarray) -> np.ndarray:
    return np.stack([np.zeros_like(z), z], axis=-1)


def test_one_smeared_view_of_something_that_fell_is_no_bounce() -> None:
    z = np.concatenate([np.linspace(0.8, 0.2, 6), np.full(11, 0.2)])
    z[9] = 0.5
    motion = read_motion([_track(z)], [0])
    assert motion is not None
    assert motion.action == "fall"


def test_what_rises_again_bounces() -> None:
    time = np.arange(17)
    z = 0.2 + 0.5 * np.abs(np.cos(time / 16 * 2.5 * np.pi)) * np.exp(-time / 16)
    motion = read_motion([_track(z)], [0])
    assert motion is not None
    assert motion.action == "bounce"
