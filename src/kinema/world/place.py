"""Where the objects of a clip are in the world, once the camera's move is taken out of their tracks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinema.world.blobs import Blob
from kinema.world.camera import CameraPath, project
from kinema.world.outline import DIRECTIONS, Outlines

Floats = NDArray[np.float64]

LEAST_WHOLE = 4
"""With at least this many whole views of an object, those that are cut or covered are not used to recognise it."""

LEAST_KNOWN = 3
"""Places along an axis that must be known before single edges of an object need not be asked."""

LOWEST, HIGHEST = 0.02, 0.34
"""Heights, in view heights, at which the middle of something that stands can be."""

FAR_PX = 20.0
"""No view counts as further than this from where an object should stand."""


@dataclass(frozen=True)
class Views:
    """Where an object is in the picture, "f 2" (x, y) in pixels, and at which coordinates that is sure.

    A coordinate is the middle of the outline where both ends are known, else that of the patch. `edges` is "f 4"
    (right, bottom, left, top), NaN where hidden.
    """

    middle: Floats
    is_known: NDArray[np.bool_]
    edges: Floats
    is_whole: NDArray[np.bool_]

    @property
    def whole(self) -> Floats:
        """The middle, without the frames that hide part of the object if enough others remain."""
        return (
            np.where(self.is_whole[:, None], self.middle, np.nan) if self.is_whole.sum() >= LEAST_WHOLE else self.middle
        )


@dataclass(frozen=True)
class Stillness:
    """How far, in pixels, an object is from standing still, and the place "3" in view heights where it would stand."""

    residual_px: float
    place: Floats


def view_object(blob: Blob, outlines: Outlines) -> Views:
    """Find the middle of each view of an object."""
    ends = np.arange(4) * (DIRECTIONS // 4)
    reach = outlines.reach[:, ends] * np.array([1.0, 1.0, -1.0, -1.0])
    known = outlines.is_known[:, ends]
    both = known[:, :2] & known[:, 2:]
    # What the border cuts below or above is still seen from left to right, and the other way round.
    _, height, width = blob.mask.shape
    inside = np.stack(
        [(blob.box[:, 0] > 0) & (blob.box[:, 2] < width), (blob.box[:, 1] > 0) & (blob.box[:, 3] < height)], -1
    )
    both |= inside & ~outlines.is_covered[:, None]
    middle = np.where(both, (reach[:, :2] + reach[:, 2:]) / 2.0, blob.centroid)
    return Views(middle, both, np.where(known, reach, np.nan), outlines.is_whole)


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


def stillness(path: CameraPath, views: Views, lanes: tuple[float, ...], size_px: tuple[int, int]) -> Stillness:
    """Try whether views of an object can be of one place on the floor, in one of the lanes (values of y)."""
    both = views.is_known.all(axis=1)
    used = both if both.sum() >= LEAST_KNOWN else np.isfinite(views.middle).all(axis=1)
    rays = rays_through(path, views.middle, size_px)
    scale = np.array([size_px[1], size_px[0]])
    best = Stillness(FAR_PX, np.full(3, np.nan))
    for lane in lanes:
        points = on_plane(path, rays, 1, lane)
        points = points[used & np.isfinite(points).all(axis=-1)]
        place = np.median(points, axis=0) if len(points) else np.full(3, np.nan)
        if not LOWEST < place[2] < HIGHEST:
            continue
        shown = project(path, place[None], size_px[1] / size_px[0])[:, 0]
        residual = _residual(views, shown[:, :2] * scale, shown[:, 2])
        if residual < best.residual_px:
            best = Stillness(residual, place)
    return best


def _residual(views: Views, shown: Floats, depth: Floats) -> float:
    """Root mean square, in pixels, of what is not explained when an object is at `shown`, "f 2", and `depth` "f"."""
    parts = []
    for axis in (0, 1):
        known = views.is_known[:, axis]
        if known.sum() >= LEAST_KNOWN:
            parts.append((views.middle - shown)[known, axis])
            continue
        # Where both ends are never seen at once, each must keep its distance, which the depth scales.
        for end in (axis, axis + 2):
            offset = (views.edges[:, end] - shown[:, axis]) * depth
            offset = offset[np.isfinite(offset)]
            if len(offset):
                parts.append((offset - np.median(offset)) / float(np.median(depth)))
    away = np.minimum(np.abs(np.concatenate(parts)), FAR_PX) if parts else np.zeros(1)
    return float(np.sqrt(np.mean(away**2)))
