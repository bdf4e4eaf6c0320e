"""The camera as the renderer uses it: the ray through any point of the picture, at each frame of a stretch of video."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kinema.world.camera import CameraPath
from kinema.world.solids import Vector


@dataclass(frozen=True)
class View:
    """Cameras of `f` frames and the pixels of one picture.

    `eye`, `right`, `up`, `forward` are vectors of "f 1 1" tensors. The ray through column x and row y of the picture
    (pixel centres at k + 0.5) is forward + u right + v up, where u and v are linear in x and y.
    """

    eye: Vector
    right: Vector
    up: Vector
    forward: Vector
    height: int
    width: int
    half_width: float
    half_height: float

    @classmethod
    def of(cls, path: CameraPath, height: int, width: int, device: torch.device, aspect: float | None = None) -> "View":
        """Take a camera path for pictures of a size in pixels; `aspect` is theirs where pixels are not square."""
        half_width, half_height = path.half_extent(width / height if aspect is None else aspect)

        def vector(values: object) -> Vector:
            x, y, z = torch.as_tensor(values, dtype=torch.float32, device=device).T[..., None, None]
            return x, y, z

        right, up, forward = path.basis()
        return cls(vector(path.eye), vector(right), vector(up), vector(forward), height, width, half_width, half_height)

    @property
    def pixel(self) -> float:
        """Width of a pixel at distance 1."""
        return 2.0 * self.half_height / self.height

    def frames(self, start: int, stop: int) -> "View":
        """The same view of a stretch of the frames."""

        def part(vector: Vector) -> Vector:
            return vector[0][start:stop], vector[1][start:stop], vector[2][start:stop]

        return View(
            part(self.eye),
            part(self.right),
            part(self.up),
            part(self.forward),
            self.height,
            self.width,
            self.half_width,
            self.half_height,
        )

    def across(self, x: Tensor) -> Tensor:
        """How far rays through column x lean to the right."""
        return (x * (2.0 / self.width) - 1.0) * self.half_width

    def upward(self, y: Tensor) -> Tensor:
        """How far rays through row y lean upwards."""
        return (1.0 - y * (2.0 / self.height)) * self.half_height

    def ray(self, u: Tensor, v: Tensor) -> Vector:
        """Directions of the rays at (u, v), of length 1 along the view axis; u and v broadcast with "f h w"."""
        x, y, z = (
            (forward + v * up) + u * right for forward, up, right in zip(self.forward, self.up, self.right, strict=True)
        )
        return x, y, z
