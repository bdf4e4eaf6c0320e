"""Where the objects of a clip are in the world, once the camera's move is taken out of their tracks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinema.world.blobs import Blob
from kinema.world.camera import CameraPath, project
from kinema.world.outline import DIRECTIONS, Outlines

Floats = NDArray[np.float64]

LEAST_WHOLE = 4
"""With at least this many whole views of an object, the others are not used to place it."""


@dataclass(frozen=True)
class Stillness:
    """How far, in pixels, an object is from standing still, and the place "3" in view heights where it would stand."""

    residual_px: float
    place: Floats


def middles(blob: Blob, outlines: Outlines) -> Floats:
    """Middle of each view of an object, "f 2" in pixels: of its outline where all of it is seen, else of its patch."""
    quarter = DIRECTIONS // 4
    right, down, left, up = (outlines.reach[:, quarter * turn] for turn in range(4))
    box = np.stack([(right - left) / 2.0, (down - up) / 2.0], axis=-1)
    return np.where(outlines.is_whole[:, None], box, blob.centroid)


def whole_middles(middle: Floats, outlines: Outlines) -> Floats:
    """The same without the frames in which part of the object is hidden, if enough others remain."""
    whole = outlines.is_whole
    return np.where(whole[:, None], middle, np.nan) if whole.sum() >= LEAST_WHOLE else middle


def rays_through(path: CameraPath, pixels: Floats, size_px: tuple[int, int]) -> Floats:
    """Directions "f 3" from the camera through one pixel (x, y) of each frame, with 1 along the view axis."""
    height, width = size_px
    half_width, half_height = path.half_extent(width / height)
    right, up, forward = path.basis()
    across = (2.0 * pixels[:, :1] / width - 1.0) * half_width
    along = (1.0 - 2.0 * pixels[:, 1:] / height) * half_height
    rays: Floats = forward + across * right + along * up
    return rays


def on_plane(path: CameraPath, rays: Floats, axis: int, value: float) -> Floats:
    """Points "f 3" where rays meet the plane on which one coordinate has a value; NaN where they do not."""
    slope = np.where(np.abs(rays[:, axis]) > 1e-6, rays[:, axis], np.nan)
    reach = (value - path.eye[:, axis]) / slope
    reach = np.where(reach > 0, reach, np.nan)
    points: Floats = path.eye + rays * reach[:, None]
    return points


def stillness(path: CameraPath, middle: Floats, lanes: tuple[float, ...], size_px: tuple[int, int]) -> Stillness:
    """Try whether views of an object, "f 2" in pixels, can be of one place in one of the lanes (values of y)."""
    rays = rays_through(path, middle, size_px)
    best = Stillness(np.inf, np.zeros(3))
    scale = np.array([size_px[1], size_px[0]])
    for lane in lanes:
        points = on_plane(path, rays, 1, lane)
        seen = np.isfinite(points).all(axis=-1)
        if not seen.any():
            continue
        place = np.median(points[seen], axis=0)
        shown = project(path, place[None], size_px[1] / size_px[0])[:, 0, :2] * scale
        away = np.hypot(*(shown - middle)[seen].T)
        residual = float(np.sqrt(np.mean(np.minimum(away, 20.0) ** 2)))
        if residual < best.residual_px:
            best = Stillness(residual, place)
    return best
