"""The shape and size of an object: the solid whose outline, where it stands and in a pose it can have, is seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinema.world.camera import CameraPath
from kinema.world.outline import DIRECTIONS, Outlines, directions
from kinema.world.place import on_plane, rays_through
from kinema.world.scene import HEIGHT_M, LANE_Y_M, SHAPES, SIZES, Colour, Shape, Size
from kinema.world.silhouette import Poses, project_poses

Floats = NDArray[np.float64]

MOST_VIEWS = 8
"""Views of an object that are compared; more add time and little certainty."""

LEAST_KNOWN = 7
"""Directions in which an outline must be known for a view to count."""

OUTLINE_PX, HEIGHT_PX = 0.5, 2.5
"""Usual error of an outline, and of the height in the picture at which something on the floor is expected."""

SWOLLEN_PX = 0.7
"""How much larger or smaller, on all sides alike, blur usually makes an outline."""

WORST = 6.0
"""Most that one direction can count, in multiples of the usual error."""

NO_FIT = 99.0

NOT_ONE = 5.0
"""When no solid fits an object better than this, it is two like ones that overlap."""

WORST_LOOK = 6.0
"""Most that one object can count when objects of one colour, which are alike, are recognised together."""


@dataclass(frozen=True)
class Fit:
    """How badly each solid fits an object: `cost` is "shape size lane", in squared errors per direction.

    `frames` "v" are those that were compared. In each the best course of each solid shows the pose `pose`, "v shape
    size lane", at `centre`, "v size lane 3" in view heights; what is seen stands `shift`, "v size lane p 2" in pixels,
    beside what each pose would show there.
    """

    cost: Floats
    lanes: tuple[float, ...]
    frames: tuple[int, ...]
    poses: Poses
    pose: NDArray[np.intp]
    centre: Floats
    shift: Floats

    @property
    def num_views(self) -> int:
        """Number of frames that were compared."""
        return len(self.frames)

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

    def stands(self, shape: Shape, size: Size) -> "list[Stand]":
        """Where a solid of a shape and size is in each frame that was compared, if the object is one."""
        row, column = SHAPES.index(shape), SIZES.index(size)
        layer = int(np.argmin(self.cost[row, column]))
        found = []
        for index, frame in enumerate(self.frames):
            pose = int(self.pose[index, row, column, layer])
            if pose >= 0:
                centre, shift = self.centre[index, column, layer], self.shift[index, column, layer, pose]
                found.append(Stand(frame, centre, self.poses.turn[pose], shift))
        return found


@dataclass(frozen=True)
class Stand:
    """A solid in one frame: its centre "3" in view heights, its axes "3 3" in the world, the columns of a turn.

    What is seen lies `shift_px` (x, y) beside the picture of such a solid.
    """

    frame: int
    centre: Floats
    turn: Floats
    shift_px: Floats


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
    used = _best_views(outlines, middle)
    if not used:
        none = np.zeros((0, len(SIZES), len(lanes), len(poses.shape), 2))
        cost = np.full((len(SHAPES), len(SIZES), len(lanes)), NO_FIT)
        return Fit(cost, lanes, (), poses, np.zeros((0, *cost.shape), dtype=np.intp), none[..., 0, :], none)
    rays = rays_through(path, middle, size_px)
    each = np.full((len(used), len(SIZES), len(lanes), len(poses.shape)), WORST**2)
    shifts = np.zeros((*each.shape, 2))
    centres = np.full((*each.shape[:3], 3), np.nan)
    for index, frame in enumerate(used):
        known = outlines.is_known[frame]
        for column, size in enumerate(SIZES):
            height = HEIGHT_M[size] / view_height_m
            for layer, lane in enumerate(lanes):
                centre = on_plane(path, rays, 1, lane)[frame]
                if not np.isfinite(centre).all():
                    continue
                if is_grounded:
                    centre = np.array([centre[0], lane, height / 2.0])
                reach = project_poses(poses, path, frame, centre, height, size_px)
                centres[index, column, layer] = centre
                each[index, column, layer], shifts[index, column, layer] = _mismatch(
                    outlines.reach[frame], known, reach, is_grounded
                )
    # A view that no pose fits is smeared, or not of one object.
    share = outlines.is_known[used].sum(axis=1) / (1.0 + each.min(axis=(1, 2, 3)))
    progress = np.array(used) / max(len(outlines.reach) - 1, 1)
    cost, pose = _course_costs(each, poses, share / share.sum(), progress)
    return Fit(cost, lanes, tuple(used), poses, pose, centres, shifts)


def choose_looks(fits: Sequence[Fit], colours: Sequence[Colour]) -> list[tuple[Shape, Size]]:
    """Choose shape and size of each object; those of one colour are alike in the demo world, and read together."""
    looks = []
    for fit, colour in zip(fits, colours, strict=True):
        own = fit.cost.min(axis=2)
        joint = np.zeros_like(own)
        for other, peer in zip(fits, colours, strict=True):
            if peer == colour and other.least < NOT_ONE:
                joint += other.num_views / (1.0 + other.least) * np.minimum(other.cost.min(axis=2), WORST_LOOK)
        best = np.unravel_index(int(np.argmin(joint if joint.any() else own)), own.shape)
        looks.append((SHAPES[best[0]], SIZES[best[1]]))
    return looks


def _course_costs(each: Floats, poses: Poses, share: Floats, progress: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Cost "shape size lane" of the best course of each shape, from those of all poses "v size lane p".

    The second is the pose "v shape size lane" that this course shows in each view, -1 for a shape without poses.
    """
    cost = np.full((len(SHAPES), *each.shape[1:3]), NO_FIT)
    pose = np.full((len(each), *cost.shape), -1)
    courses = poses.courses(progress) if poses.turns_deg else None
    for row in np.unique(poses.shape):
        if courses is None:
            members = np.flatnonzero(poses.shape == row)
            mine = each[..., members]
            cost[row] = np.tensordot(share, mine.min(axis=-1), axes=1)
            pose[:, row] = members[mine.argmin(axis=-1)]
        else:
            course = courses[poses.shape[courses[:, 0]] == row]
            total = sum(weight * each[index][..., course[:, index]] for index, weight in enumerate(share))
            cost[row] = np.asarray(total).min(axis=-1)
            pose[:, row] = np.moveaxis(course[np.asarray(total).argmin(axis=-1)], -1, 0)
    return cost, pose


def _best_views(outlines: Outlines, middle: Floats) -> list[int]:
    """Frames that show most of the outline, spread over the clip."""
    known = outlines.is_known.sum(axis=1) * np.isfinite(middle).all(axis=1)
    good = np.flatnonzero(known >= max(LEAST_KNOWN, 0.9 * known.max(initial=0)))
    if len(good) <= MOST_VIEWS:
        return [int(frame) for frame in good]
    return [int(good[index]) for index in np.linspace(0, len(good) - 1, MOST_VIEWS).round().astype(int)]


def _mismatch(seen: Floats, known: NDArray[np.bool_], reach: Floats, is_grounded: bool) -> tuple[Floats, Floats]:
    """Mean squared error, in usual errors, between one measured outline "k" and many drawn ones "p k".

    The drawn ones are shifted, by the second value "p 2", and swollen so that they fit best; what they swell counts as
    an error of its own.
    """
    unit = np.concatenate([directions(), np.ones((DIRECTIONS, 1))], axis=1)
    mine = unit[known]
    stiffness = np.diag([1e-6, 1e-6, DIRECTIONS * (OUTLINE_PX / SWOLLEN_PX) ** 2])
    inverse = np.linalg.solve(mine.T @ mine + stiffness, mine.T)
    difference = seen - reach
    shift = difference[:, known] @ inverse.T
    left = difference - shift @ unit.T
    # Where something may be hidden, the outline may reach further than what is seen, but not less far.
    error = np.where(known, np.abs(left), np.maximum(np.nan_to_num(left), 0.0))
    error = np.minimum(error / OUTLINE_PX, WORST)
    cost: Floats = (error * error).sum(axis=1) / max(int(known.sum()), DIRECTIONS // 3)
    cost = cost + (shift[:, 2] / SWOLLEN_PX) ** 2
    if is_grounded:
        cost = cost + np.minimum(np.abs(shift[:, 1]) / HEIGHT_PX, WORST) ** 2 / 4.0
    return cost, shift[:, :2]
