import numpy as np
import pytest

from kinema.media import Frame


@pytest.fixture
def clip() -> Frame:
    """17 frames of a soft light that moves over a gradient; two of them alike."""
    rows, columns = np.mgrid[0:48, 0:64]
    frames = []
    for index in range(17):
        light = np.exp(-((columns - 10 - 2.5 * index) ** 2 + (rows - 24) ** 2) / 120)
        frames.append(np.stack([200 * light, 40 + 2 * rows, 60 + columns], axis=-1))
    clip = np.stack(frames).round().astype(np.uint8)
    clip[9] = clip[8]
    return clip
