"""Whether an object turns: how much the pattern inside its outline changes from one frame to the next."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kinema.world.blobs import Blob

Floats = NDArray[np.float64]


def turning(blob: Blob, middle: Floats, luma: NDArray[np.float32]) -> float:
    """Measure how much an object's surface changes between neighbouring frames, as a share of its brightness.

    Frame by frame the object is laid over itself by its middle, "f 2"; the median over pairs of frames is given, and
    NaN if no two neighbours show it. An object that stands, slides or falls changes little, one that spins or rolls
    much.
    """
    changes = []
    for frame in range(len(luma) - 1):
        if np.isfinite(middle[frame : frame + 2]).all() and blob.mask[frame].any() and blob.mask[frame + 1].any():
            change = _change(blob, middle, luma, frame)
            if change is not None:
                changes.append(change)
    return float(np.median(changes)) if changes else float("nan")


def _change(blob: Blob, middle: Floats, luma: NDArray[np.float32], frame: int) -> float | None:
    _, height, width = luma.shape
    left, top = np.floor(blob.box[frame, :2]).astype(int)
    right, bottom = np.ceil(blob.box[frame, 2:]).astype(int)
    columns = np.arange(max(left - 1, 0), min(right + 1, width))
    rows = np.arange(max(top - 1, 0), min(bottom + 1, height))
    move = middle[frame + 1] - middle[frame]
    place = np.meshgrid(rows + move[1], columns + move[0], indexing="ij")
    window = np.ix_(rows, columns)
    mine = blob.mask[frame][window]
    there = ndimage.map_coordinates(blob.mask[frame + 1].astype(np.float32), place, order=1)
    both = ndimage.binary_erosion(mine & (there > 0.99))
    if both.sum() < 6:
        both = mine & (there > 0.99)
        if both.sum() < 6:
            return None
    now = luma[frame][window][both]
    then = ndimage.map_coordinates(luma[frame + 1], place, order=1)[both]
    # The median of the brightness lost or won is the light's, which changes as the object moves.
    then = then * (now.mean() / max(float(then.mean()), 1.0))
    return float(np.abs(now - then).mean() / max(float(now.mean()), 1.0))
