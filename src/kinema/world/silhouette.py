"""The outlines that the five solids show in every pose that an action can give them."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinema.world.camera import CameraPath
from kinema.world.outline import directions
from kinema.world.scene import HALF_WIDTH_TO_HEIGHT, SHAPES, Direction, Shape

Floats = NDArray[np.float64]

RING = 20
"""Points on each circle of an outline."""


@dataclass(frozen=True)
class Poses:
    """Points whose hulls are solids of height 1 in several poses; each pose starts at `starts` of "p 3" `points`.

    Points of a `radius` "p" above 0 are centres of balls, from which each picture sees another circle. `shape` is the
    index in SHAPES of each pose, and `turn` "p 3 3" takes directions of the solid's own axes, z that of its symmetry,
    to those of the world.

    `family` numbers the poses through which one solid can turn; `angle_deg` says how far each is turned, of
    `period_deg` after which the solid looks the same. `turns_deg` are the turns that it may make during a clip, evenly:
    (0,) if it keeps its pose, none if each picture may show another one of its shape.
    """

    points: Floats
    turn: Floats
    radius: Floats
    phase: Floats
    starts: NDArray[np.intp]
    shape: NDArray[np.intp]
    family: NDArray[np.intp]
    angle_deg: Floats
    period_deg: Floats
    turns_deg: tuple[float, ...]

    def courses(self, progress: Floats) -> NDArray[np.intp]:
        """Which pose each possible course of a clip shows at each share "f" of its time, "q f"."""
        found = []
        for key in np.unique(self.family):
            members = np.flatnonzero(self.family == key)
            angle, period = self.angle_deg[members], float(self.period_deg[members[0]])
            turned = angle[:, None, None] + np.array(self.turns_deg)[:, None] * progress
            away = np.abs((turned[..., None] - angle + period / 2.0) % period - period / 2.0)
            found.append(members[away.argmin(axis=-1)].reshape(-1, len(progress)))
        return np.concatenate(found)


def project_poses(
    poses: Poses, path: CameraPath, frame: int, centre: Floats, height: float, size_px: tuple[int, int]
) -> Floats:
    """Support functions "p k", in pixels, of all poses of solids of a height (in the path's units) at a centre "3"."""
    eye = path.eye[frame]
    right, up, forward = (axis[frame] for axis in path.basis())
    toward = eye - centre
    distance = float(np.linalg.norm(toward))
    toward = toward / max(distance, 1e-9)
    side = np.cross(path.up, toward)
    side = side / max(float(np.linalg.norm(side)), 1e-9)
    top = np.cross(toward, side)
    points = poses.points * height
    if (poses.radius > 0).any():
        radius = poses.radius * height
        # A ball is seen by the circle on which lines of sight touch it.
        front = np.minimum(radius / max(distance, 1e-9), 0.9)
        rim = radius * np.sqrt(1.0 - front * front)
        circle = np.cos(poses.phase)[:, None] * side + np.sin(poses.phase)[:, None] * top
        points = points + (radius * front)[:, None] * toward + rim[:, None] * circle
    offset = points + (centre - eye)
    depth = np.maximum(offset @ forward, 1e-3)
    image_height, image_width = size_px
    half_width, half_height = path.half_extent(image_width / image_height)
    x = (offset @ right) / (depth * half_width) * (0.5 * image_width) + 0.5 * image_width
    y = -(offset @ up) / (depth * half_height) * (0.5 * image_height) + 0.5 * image_height
    along = np.stack([x, y], axis=-1) @ directions().T
    reach: Floats = np.maximum.reduceat(along, poses.starts, axis=0)
    return reach


ANY_TURN: tuple[float, ...] = ()
STEADY: tuple[float, ...] = (0.0,)
TUMBLES_DEG: tuple[float, ...] = tuple(float(turn) for turn in range(230, 371, 10))
"""How far something that tumbles may turn during a clip."""

TUMBLE_STEP_DEG = 10
"""Angle between the poses of a tumbling solid that are compared."""


@dataclass(frozen=True)
class _Pose:
    shape: Shape
    turn: Floats
    family: tuple[str, float, float]
    angle_deg: float = 0.0
    period_deg: float = 360.0


@functools.cache
def upright_poses(
    shapes: tuple[Shape, ...] = SHAPES, tilt_deg: tuple[float, ...] = (0.0,), *, is_steady: bool = True
) -> Poses:
    """Solids standing, a box at several yaws, leaning sideways by each of some angles.

    `is_steady` says that each keeps its pose during the clip.
    """
    parts: list[_Pose] = []
    for tilt in tilt_deg:
        for shape in shapes:
            yaws = range(0, 90, 10) if shape == "box" else (0,)
            parts += [_Pose(shape, _turn_y(tilt) @ _turn_z(float(yaw)), (shape, tilt, yaw)) for yaw in yaws]
    return _poses(parts, STEADY if is_steady else ANY_TURN)


@functools.cache
def rolling_poses() -> Poses:
    """The solids that roll, lying across the picture's depth, seen from several azimuths."""
    lie = _turn_x(-90.0)
    parts = [_Pose("ball", np.eye(3), ("ball", 0.0, 0.0))]
    rolls: tuple[Shape, ...] = ("cylinder", "capsule")
    for azimuth in (-10.0, 0.0, 10.0):
        parts += [_Pose(shape, _turn_z(azimuth) @ lie, (shape, azimuth, 0.0)) for shape in rolls]
    return _poses(parts, STEADY)


@functools.cache
def tumbling_poses(direction: Direction | None) -> Poses:
    """The solids that tumble, turned in the picture's plane, seen from several azimuths; they turn as they travel."""
    parts: list[_Pose] = []
    around = (-8.0, 0.0, 8.0)
    # What is round about its axis looks much the same from a little to the side.
    kinds: tuple[tuple[Shape, int, tuple[float, ...]], ...] = (
        ("box", 90, around),
        ("cylinder", 180, around),
        ("capsule", 180, (0.0,)),
        ("cone", 360, (0.0,)),
    )
    for shape, period, azimuths in kinds:
        for azimuth in azimuths:
            for angle in range(0, period, TUMBLE_STEP_DEG):
                turn = _turn_z(azimuth) @ _turn_y(float(angle))
                parts.append(_Pose(shape, turn, (shape, azimuth, 0.0), float(angle), float(period)))
    sign = -1.0 if direction == "left" else 1.0
    return _poses(parts, tuple(sign * turn for turn in TUMBLES_DEG))


@functools.cache
def standing_pose(shape: Shape) -> Poses:
    """One solid standing upright; a box is turned as it is on average."""
    return _poses([_Pose(shape, _turn_z(22.5), (shape, 0.0, 0.0))], STEADY)


@functools.cache
def any_poses(shape: Shape) -> Poses:
    """One solid in about all poses that an action can give it."""
    turns: list[Floats]
    if shape == "ball":
        turns = [np.eye(3)]
    elif shape == "box":
        yaws = [_turn_z(yaw) for yaw in (22.5, 0.0, 45.0, 67.5)]
        turns = yaws + [_turn_y(tilt) @ yaw for tilt in (-22.5, 22.5, 45.0) for yaw in yaws[:2]]
    else:
        tilts = range(20, 360 if shape == "cone" else 180, 20)
        turns = [np.eye(3), *(_turn_y(float(tilt)) for tilt in tilts)]
        if shape != "cone":
            turns.append(_turn_x(-90.0))
    return _poses([_Pose(shape, turn, (shape, 0.0, 0.0)) for turn in turns], ANY_TURN)


def _poses(parts: list[_Pose], turns_deg: tuple[float, ...]) -> Poses:
    points, radii, phases, starts = [], [], [], []
    families = {key: number for number, key in enumerate(dict.fromkeys(part.family for part in parts))}
    total = 0
    for part in parts:
        solid, radius, phase = _solid(part.shape)
        points.append(solid @ part.turn.T)
        radii.append(np.full(len(solid), radius))
        phases.append(phase)
        starts.append(total)
        total += len(solid)
    return Poses(
        np.concatenate(points),
        np.stack([part.turn for part in parts]),
        np.concatenate(radii),
        np.concatenate(phases),
        np.array(starts),
        np.array([SHAPES.index(part.shape) for part in parts]),
        np.array([families[part.family] for part in parts]),
        np.array([part.angle_deg for part in parts]),
        np.array([part.period_deg for part in parts]),
        turns_deg,
    )


def _solid(shape: Shape) -> tuple[Floats, float, Floats]:
    """Points of a solid of height 1, z its axis; the radius of balls about them; where on their circles they stand."""
    radius = HALF_WIDTH_TO_HEIGHT[shape]
    phase = 2.0 * np.pi * np.arange(RING) / RING
    circle = np.stack([np.cos(phase), np.sin(phase), np.zeros(RING)], axis=-1) * radius
    half = np.array([0.0, 0.0, 0.5])
    # The polygon's sides pass inside the circle: the mean of both radii is the circle's.
    circle = circle * (2.0 / (1.0 + np.cos(np.pi / RING)))
    none = np.zeros(2 * RING)
    if shape == "ball":
        return np.zeros((RING, 3)), radius, phase
    if shape == "capsule":
        ends = np.array([[0.0, 0.0, 0.5 - radius], [0.0, 0.0, radius - 0.5]])
        return np.repeat(ends, RING, axis=0), radius, np.tile(phase, 2)
    if shape == "cylinder":
        return np.concatenate([circle + half, circle - half]), 0.0, none
    if shape == "cone":
        return np.concatenate([circle - half, half[None]]), 0.0, none[: RING + 1]
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
    return corners * np.array([radius, radius, 0.5]), 0.0, none[:8]


def _turn_x(angle_deg: float) -> Floats:
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def _turn_y(angle_deg: float) -> Floats:
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def _turn_z(angle_deg: float) -> Floats:
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
