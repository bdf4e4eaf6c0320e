"""Smooth random fields over the plane, filtered so that what a pixel cannot show fades away instead of flickering."""

import functools

import numpy as np
import torch
from torch import Tensor

_SIZE = 256


@functools.cache
def _table(device: torch.device) -> Tensor:
    """Random numbers in [-1, 1] on a grid of 256 x 256 that repeats, flattened; the same on every machine."""
    values = np.random.default_rng(20260101).random((_SIZE, _SIZE), dtype=np.float32) * 2.0 - 1.0
    return torch.from_numpy(values).flatten().to(device)


def value_noise(x: Tensor, y: Tensor, footprint: Tensor | float = 0.0) -> Tensor:
    """Smooth noise in about [-1, 1] with one bump per unit; it repeats after 256 units.

    `footprint` is the width of a pixel in the same units: as it grows from 0.35 to 1.0 the noise fades to its mean, 0.
    """
    column, row = x.floor(), y.floor()
    u, v = x - column, y - row
    u, v = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v)
    column_index, row_index = column.to(torch.int32), row.to(torch.int32)
    left, top = column_index & (_SIZE - 1), (row_index & (_SIZE - 1)) << 8
    right, bottom = (column_index + 1) & (_SIZE - 1), ((row_index + 1) & (_SIZE - 1)) << 8
    table = _table(x.device)
    upper = torch.lerp(_pick(table, top + left), _pick(table, top + right), u)
    lower = torch.lerp(_pick(table, bottom + left), _pick(table, bottom + right), u)
    return torch.lerp(upper, lower, v) * fade(footprint)


def fade(footprint: Tensor | float) -> Tensor | float:
    """Amplitude that a detail of size 1 keeps in a pixel of width `footprint`."""
    if isinstance(footprint, Tensor):
        return ((1.0 - footprint) / 0.65).clamp(0.0, 1.0)
    return min(max((1.0 - footprint) / 0.65, 0.0), 1.0)


def cell_value(cell: Tensor, salt: int = 0) -> Tensor:
    """A random number in [-1, 1] for each whole number."""
    index = (cell.to(torch.int32) * 73 + salt * 977) & (_SIZE * _SIZE - 1)
    return _pick(_table(cell.device), index)


def _pick(table: Tensor, index: Tensor) -> Tensor:
    return table.index_select(0, index.flatten()).view(index.shape)
