"""Solids as they move through a clip: their poses, and the part of the picture that each can touch."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kinema.world.palette import tones
from kinema.world.scene import Material, Object, Scene, Shape
from kinema.world.solids import Vector
from kinema.world.trajectory import Trajectory
from kinema.world.view import View

ROPE_RADIUS_M = 0.013
ROPE_COLOUR = (0.16, 0.15, 0.14)
NEAR_M = 0.05


@dataclass(frozen=True, eq=False)
class Body:
    """One solid with its poses: `centre` is a vector of "f 1 1", `axes[i]` its i-th axis in the world, likewise.

    `light` and `dark` are the two linear colours of its pattern.
    """

    shape: Shape
    radius: float
    half: float
    material: Material
    light: tuple[float, float, float]
    dark: tuple[float, float, float]
    centre: Vector
    axes: tuple[Vector, Vector, Vector]
    is_rope: bool = False

    def frames(self, start: int, stop: int) -> "Body":
        """The same body in a stretch of the frames."""

        def part(vector: Vector) -> Vector:
            return vector[0][start:stop], vector[1][start:stop], vector[2][start:stop]

        axes = (part(self.axes[0]), part(self.axes[1]), part(self.axes[2]))
        return Body(
            self.shape,
            self.radius,
            self.half,
            self.material,
            self.light,
            self.dark,
            part(self.centre),
            axes,
            self.is_rope,
        )

    def at(self, frame: Tensor) -> tuple[Vector, tuple[Vector, Vector, Vector]]:
        """Centre and axes at each of a list of frames, "n" tensors."""

        def pick(vector: Vector) -> Vector:
            return vector[0].flatten()[frame], vector[1].flatten()[frame], vector[2].flatten()[frame]

        return pick(self.centre), (pick(self.axes[0]), pick(self.axes[1]), pick(self.axes[2]))

    @property
    def reach(self) -> float:
        """Radius of the sphere about the centre that holds the body."""
        return float(np.hypot(self.radius * (2**0.5 if self.shape == "box" else 1.0), self.half))

    def corners(self) -> list[Vector]:
        """The eight corners of its bounding box in the world, at each frame."""
        found = []
        for sign in range(8):
            steps = [
                (1.0 if sign >> axis & 1 else -1.0) * (self.half if axis == 2 else self.radius) for axis in range(3)
            ]
            x, y, z = (
                self.centre[i] + sum(step * axis[i] for step, axis in zip(steps, self.axes, strict=True))
                for i in range(3)
            )
            found.append((x, y, z))
        return found


def to_local(axes: tuple[Vector, Vector, Vector], vector: Vector) -> Vector:
    """Coordinates of a world vector in a frame with the given axes."""
    x, y, z = (axis[0] * vector[0] + axis[1] * vector[1] + axis[2] * vector[2] for axis in axes)
    return x, y, z


def to_world(axes: tuple[Vector, Vector, Vector], vector: Vector) -> Vector:
    """World coordinates of a vector that is given in a frame with the given axes."""
    x, y, z = (axes[0][i] * vector[0] + axes[1][i] * vector[1] + axes[2][i] * vector[2] for i in range(3))
    return x, y, z


def bodies_of(scene: Scene, trajectory: Trajectory, num_frames: int, device: torch.device) -> list[Body]:
    """The solids of a clip: one per object, and the rope if something swings."""
    found = [
        _body(thing, trajectory.position[:num_frames, index], trajectory.rotation[:num_frames, index], device)
        for index, thing in enumerate(scene.objects)
    ]
    if trajectory.rope is not None:
        found.append(_rope(trajectory.rope, trajectory.position[:num_frames, 0], device))
    return found


def _body(thing: Object, position: np.ndarray, rotation: np.ndarray, device: torch.device) -> Body:
    light, dark = tones(thing.colour)
    w, x, y, z = rotation.astype(np.float64).T
    axes = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)],
            [2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)],
            [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return Body(
        thing.shape,
        thing.radius,
        thing.height / 2.0,
        thing.material,
        light,
        dark,
        _vector(position.T, device),
        (_vector(axes[0], device), _vector(axes[1], device), _vector(axes[2], device)),
    )


def _rope(pivot: np.ndarray, position: np.ndarray, device: torch.device) -> Body:
    """A thin capsule from the pivot to the centre of the object that hangs from it."""
    span = (pivot - position).astype(np.float64)
    length = np.linalg.norm(span, axis=-1, keepdims=True)
    axis = span / np.maximum(length, 1e-9)
    side = np.cross(axis, np.array([0.0, 1.0, 0.0]))
    side /= np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-9)
    third = np.cross(axis, side)
    return Body(
        "capsule",
        ROPE_RADIUS_M,
        float(length.mean()) / 2.0,
        "matte",
        ROPE_COLOUR,
        ROPE_COLOUR,
        _vector(((pivot + position) / 2.0).T, device),
        (_vector(side.T, device), _vector(third.T, device), _vector(axis.T, device)),
        is_rope=True,
    )


def _vector(values: np.ndarray, device: torch.device) -> Vector:
    x, y, z = torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32, device=device)[..., None, None]
    return x, y, z


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels of one size for all frames, placed anew in each: rows "f r 1", columns "f 1 q"."""

    rows: Tensor
    columns: Tensor

    def index(self, view: View) -> Tensor:
        """Numbers of its pixels in the flattened "f h w" pictures."""
        frames = torch.arange(self.rows.shape[0], device=self.rows.device)[:, None, None]
        return (frames * view.height + self.rows) * view.width + self.columns


def window_of(view: View, points: list[Vector], margin: float, num_frames: int) -> Window | None:
    """The window that holds the given points (and so their hull) at each frame, plus a margin in pixels."""
    columns, rows, depths = [], [], []
    for point in points:
        offset = (point[0] - view.eye[0], point[1] - view.eye[1], point[2] - view.eye[2])
        depth = to_local((view.forward, view.right, view.up), offset)
        depths.append(depth[0])
        safe = depth[0].clamp(min=NEAR_M)
        columns.append((depth[1] / safe / view.half_width + 1.0) * (view.width / 2.0))
        rows.append((1.0 - depth[2] / safe / view.half_height) * (view.height / 2.0))
    behind = torch.stack(torch.broadcast_tensors(*depths)).amin(0) < NEAR_M
    row = _span(rows, behind, margin, view.height, num_frames)
    column = _span(columns, behind, margin, view.width, num_frames)
    if row is None or column is None:
        return None
    return Window(row[:, :, None], column[:, None, :])


def _span(ends: list[Tensor], behind: Tensor, margin: float, size: int, num_frames: int) -> Tensor | None:
    """The pixels from the least to the greatest coordinate, as many in each frame: "f k"; None if all are outside."""
    stacked = torch.stack(torch.broadcast_tensors(*ends))
    low = stacked.amin(0).masked_fill(behind, 0.0).flatten().expand(num_frames)
    high = stacked.amax(0).masked_fill(behind, float(size)).flatten().expand(num_frames)
    first = (low - margin).floor().clamp(0, size)
    last = (high + margin).ceil().clamp(0, size)
    count = int((last - first).max())
    if count <= 0:
        return None
    start = first.clamp(max=size - count).to(torch.int64)
    return start[:, None] + torch.arange(count, device=start.device)
