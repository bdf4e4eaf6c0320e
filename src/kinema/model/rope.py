"""Rotary positions in time, row and column for video tokens (RoFormer, 2104.09864, in three axes)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

THETA = 10000.0


class Rotation(NamedTuple):
    """The cosine and sine by which each pair of channels of a head turns, per token."""

    cos: Float[Tensor, "n 1 e"]
    sin: Float[Tensor, "n 1 e"]


def axis_widths(head_dim: int) -> tuple[int, int, int]:
    """How many channels of a head carry time, row and column: 44, 42 and 42 of 128."""
    side = 2 * (head_dim // 6)
    return head_dim - 2 * side, side, side


def video_rotation(
    size: tuple[int, int, int],
    head_dim: int,
    *,
    frames: Sequence[int] | None = None,
    device: torch.device | None = None,
) -> Rotation:
    """The rotation of `size` = (frames, rows, columns) tokens, in float32; `frames` are positions, or 0, 1, 2, ...

    Channel pair i of an axis of width w turns by position * 10000^(-2 i / w).
    """
    angles = []
    places = (range(size[0]) if frames is None else frames, range(size[1]), range(size[2]))
    for axis, (place, length, width) in enumerate(zip(places, size, axis_widths(head_dim), strict=True)):
        frequencies = THETA ** -(torch.arange(0, width, 2, device=device, dtype=torch.float64) / width)
        positions = torch.tensor(place, device=device, dtype=torch.float64)
        angle = torch.outer(positions, frequencies)
        shape = [1, 1, 1, angle.shape[1]]
        shape[axis] = length
        angles.append(angle.view(shape).expand(*size, -1))
    angle = torch.cat(angles, dim=-1).flatten(0, 2).repeat_interleave(2, dim=-1)[:, None]
    return Rotation(angle.cos().float(), angle.sin().float())


def pair_swap(head_dim: int, *, device: torch.device, dtype: torch.dtype) -> Float[Tensor, "e e"]:
    """The matrix that turns each channel pair by 90 degrees: (u, v) -> (-v, u)."""
    swap = torch.zeros(head_dim, head_dim, device=device, dtype=dtype)
    swap.diagonal(1)[::2] = 1.0
    swap.diagonal(-1)[::2] = -1.0
    return swap


def rotate(x: Float[Tensor, "b n a e"], rotation: Rotation) -> Float[Tensor, "b n a e"]:
    """Turn neighbouring channel pairs: x cos + swap(x) sin.

    The swap is a product with a matrix of 0 and 1, so exact; strided access to pairs is four times slower on a CPU.
    """
    swap = pair_swap(x.shape[-1], device=x.device, dtype=x.dtype)
    return torch.addcmul(x * rotation.cos.to(x.dtype), x @ swap, rotation.sin.to(x.dtype))
