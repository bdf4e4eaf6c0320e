import dataclasses

import numpy as np
import pytest
from scipy import ndimage
from tests.world.stage import absent, one_object

from kinema.world.egomotion import estimate_egomotion
from kinema.world.render import render_clip
from kinema.world.scene import Camera

MOVES = [("fixed", None), ("pan", "left"), ("dolly", "out")]


@pytest.mark.parametrize(("move", "direction"), MOVES, ids=[move for move, _ in MOVES])
def test_the_camera_is_read_from_a_picture_as_noisy_as_an_autoencoder_leaves_it(move, direction) -> None:
    scene = dataclasses.replace(
        one_object(), camera=Camera(move=move, direction=direction, elevation_deg=18, azimuth_deg=0)
    )
    frames = render_clip(scene, absent(scene, 17), 17, 64, 64).numpy()
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=frames.shape[:3]), (1.0, 1.0, 1.0)) * 30.0
    luma = (ndimage.gaussian_filter(frames.mean(axis=-1), (0.0, 0.7, 0.7)) + noise).astype(np.float32)
    found = estimate_egomotion(luma, np.ones(luma.shape, dtype=bool))[0]
    assert (found.move, found.direction) == (move, direction)
