"""The shape and size of an object, the solid whose outline, where it stands, is the one that is seen; and its material.

Materials are told by how an object's pixels differ from its paint under the same light: a gloss adds a little white
everywhere, metal is dark but for its highlights, and matte is the paint alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kinema.world.camera import CameraPath
from kinema.world.outline import DIRECTIONS, Outlines, directions
from kinema.world.palette import PALETTE, to_linear
from kinema.world.place import on_plane, rays_through
from kinema.world.scene import HEIGHT_M, LANE_Y_M, SHAPES, SIZES, Colour, Material, Shape, Size
from kinema.world.silhouette import Poses, project_poses

Floats = NDArray[np.float64]

MOST_VIEWS = 6
"""Views of an object that are compared; more add time and little certainty."""

LEAST_KNOWN = 7
"""Directions in which an outline must be known for a view to count."""

OUTLINE_PX, HEIGHT_PX = 0.5, 2.5
"""Usual error of an outline, and of the height in the picture at which something on the floor is expected."""

WORST = 6.0
"""Most that one direction can count, in multiples of the usual error."""

NO_FIT = 99.0

LEAST_SURFACE_PX = 24
"""Fewest pixels, over the whole clip, that tell a material."""

VEIL = 0.0055
"""White reflected by at least half of the surface, relative to a white surface's, from which it is glossy."""

GLINT, GLINT_WEIGHT, BRIGHTEST_GLINT = 0.03, 0.6, 0.13
"""White of the brightest hundredth of the surface that matte stays below and metal is above; what it counts for beside
the brightness, in logarithms; and the most that counts.
"""

PAINT = 0.85
"""Brightness of the upper quarter of the surface, relative to its paint's, that matte is above and metal below."""


@dataclass(frozen=True)
class Fit:
    """How badly each solid fits an object: `cost` is "shape size lane", in squared errors per direction."""

    cost: Floats
    lanes: tuple[float, ...]
    num_views: int

    @property
    def shape(self) -> Shape:
        """The shape that fits best."""
        return SHAPES[int(np.unravel_index(int(np.argmin(self.cost)), self.cost.shape)[0])]

    @property
    def size(self) -> Size:
        """The size that fits best."""
        return SIZES[int(np.unravel_index(int(np.argmin(self.cost)), self.cost.shape)[1])]

    @property
    def lane(self) -> float:
        """How far behind the subject's lane the object that fits best stands, in view heights."""
        return self.lanes[int(np.unravel_index(int(np.argmin(self.cost)), self.cost.shape)[2])]

    @property
    def least(self) -> float:
        """The cost of the best fit."""
        return float(self.cost.min())


def lanes_of(view_height_m: float) -> tuple[float, float]:
    """Where objects stand, as y in view heights: in the subject's lane, or in the row behind it."""
    return (0.0, LANE_Y_M / view_height_m)


def fit_solids(
    outlines: Outlines,
    middle: Floats,
    poses: Poses,
    path: CameraPath,
    size_px: tuple[int, int],
    *,
    view_height_m: float,
    lanes: tuple[float, ...],
    is_grounded: bool,
) -> Fit:
    """Compare the outlines of one object with those of every shape and size, in several poses, in each lane.

    `middle` is "f 2" in pixels. `is_grounded` says that the object stands on the floor, which also tells its lane.
    """
    cost = np.zeros((len(SHAPES), len(SIZES), len(lanes)))
    weight = 0.0
    used = _best_views(outlines, middle)
    rays = rays_through(path, middle, size_px)
    for frame in used:
        known = outlines.is_known[frame]
        share = float(known.sum())
        for column, size in enumerate(SIZES):
            height = HEIGHT_M[size] / view_height_m
            for layer, lane in enumerate(lanes):
                centre = on_plane(path, rays, 1, lane)[frame]
                if not np.isfinite(centre).all():
                    cost[:, column, layer] += share * WORST**2
                    continue
                if is_grounded:
                    centre = np.array([centre[0], lane, height / 2.0])
                reach = project_poses(poses, path, frame, centre, height, size_px)
                each = _mismatch(outlines.reach[frame], known, reach, is_grounded)
                for row in range(len(SHAPES)):
                    mine = each[poses.shape == row]
                    cost[row, column, layer] += share * (float(mine.min()) if len(mine) else NO_FIT)
        weight += share
    if not used:
        return Fit(np.full(cost.shape, NO_FIT), lanes, 0)
    return Fit(cost / weight, lanes, len(used))


def _best_views(outlines: Outlines, middle: Floats) -> list[int]:
    """Frames that show most of the outline, spread over the clip."""
    known = outlines.is_known.sum(axis=1) * np.isfinite(middle).all(axis=1)
    good = np.flatnonzero(known >= max(LEAST_KNOWN, 0.9 * known.max(initial=0)))
    if len(good) <= MOST_VIEWS:
        return [int(frame) for frame in good]
    return [int(good[index]) for index in np.linspace(0, len(good) - 1, MOST_VIEWS).round().astype(int)]


def _mismatch(seen: Floats, known: NDArray[np.bool_], reach: Floats, is_grounded: bool) -> Floats:
    """Mean squared error, in usual errors, between one measured outline "k" and many drawn ones "p k", best shifted."""
    unit = directions()
    inverse = np.linalg.pinv(unit[known])
    difference = seen - reach
    shift = difference[:, known] @ inverse.T
    left = difference - shift @ unit.T
    # Where something may be hidden, the outline may reach further than what is seen, but not less far.
    error = np.where(known, np.abs(left), np.maximum(np.nan_to_num(left), 0.0))
    error = np.minimum(error / OUTLINE_PX, WORST)
    cost: Floats = (error * error).sum(axis=1) / max(int(known.sum()), DIRECTIONS // 3)
    if is_grounded:
        cost = cost + np.minimum(np.abs(shift[:, 1]) / HEIGHT_PX, WORST) ** 2 / 4.0
    return cost


def material_of(surface: NDArray[np.float32], mask: NDArray[np.bool_], colour: Colour) -> Material | None:
    """Tell the material of an object from its pixels, or None if there are too few.

    `surface` is "f h w 3", the colour in white light on a perceptual scale (linear to the power 1 / 2.2), and `mask`
    "f h w" says which pixels are the object's; those at its outline, which show something else too, are not used.
    """
    inner = ndimage.binary_erosion(mask, ndimage.generate_binary_structure(2, 1)[None])
    used = inner if inner.sum() >= LEAST_SURFACE_PX else mask
    if used.sum() < LEAST_SURFACE_PX:
        return None
    light = np.power(surface[used].astype(np.float64), 2.2)
    paint = np.array(to_linear(PALETTE[colour]))
    strong, weak = int(paint.argmax()), int(paint.argmin())
    brightness = light[:, strong] / paint[strong]
    # What the channel of which the paint has least shows beyond the paint's share is white.
    white = light[:, weak] - paint[weak] * brightness
    veil, glint = np.quantile(white, (0.5, 0.99))
    if veil > VEIL:
        return "glossy"
    shine = GLINT_WEIGHT * np.log(np.clip(glint, 0.1 * GLINT, BRIGHTEST_GLINT) / GLINT)
    dullness = np.log(max(float(np.quantile(brightness, 0.75)), 1e-3) / PAINT)
    return "metal" if shine > dullness else "matte"
