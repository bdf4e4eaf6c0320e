"""The outlines of objects, measured to a fraction of a pixel as support functions.

The support function of a patch says how far it reaches in each direction: the largest x cos(a) + y sin(a) of its
points, in pixels, y downwards. It determines a convex outline, and all solids of the demo world are convex.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinema.world.blobs import Blob
from kinema.world.scene import COLOURS

Floats = NDArray[np.float64]

DIRECTIONS = 32
"""Number of directions in which outlines are measured."""

HIDDEN_PX = 2.0
"""Where an outline is cut by the border or another object nearer than this to its furthest point, more may be there."""


@dataclass(frozen=True)
class Outlines:
    """Support functions of one object, "f k", NaN where unseen, and where they are known rather than lower bounds."""

    reach: Floats
    is_known: NDArray[np.bool_]
    is_covered: NDArray[np.bool_]
    """In which frames another object hides part of it, "f"."""

    @property
    def is_whole(self) -> NDArray[np.bool_]:
        """In which frames nothing of the outline is hidden, "f"."""
        return np.asarray(self.is_known.all(axis=1))


@dataclass(frozen=True)
class _Edges:
    """Points of outlines: frame, object, place in pixels, and whether the outline ends there, or at the border."""

    frame: NDArray[np.intp]
    owner: NDArray[np.intp]
    place: Floats
    is_free: NDArray[np.bool_]
    is_border: NDArray[np.bool_]


@dataclass(frozen=True)
class _Depths:
    """How near each object is, then the background and the border; and an index of its colour."""

    nearness: Floats
    colour: NDArray[np.intp]


@functools.cache
def directions() -> Floats:
    """Unit vectors (x, y) of the directions, "k 2"."""
    angle = 2.0 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def measure_outlines(blobs: Sequence[Blob], nearness: Sequence[float], frames: NDArray[np.uint8]) -> list[Outlines]:
    """Measure the outlines of all objects in all frames "f h w 3".

    Where two objects meet, the outline between them is that of the nearer one; `nearness` grows towards the camera.
    """
    owner = np.full(frames.shape[:3], -1, dtype=np.int8)
    for index, blob in enumerate(blobs):
        owner[blob.mask] = index
    colours = [list(COLOURS).index(blob.colour) for blob in blobs]
    depths = _Depths(np.array([*nearness, -np.inf, np.inf]), np.array([*colours, -1, -2]))
    edges = _find_edges(owner, depths, frames)
    found = []
    for index, _ in enumerate(blobs):
        reach = np.full((len(frames), DIRECTIONS), np.nan)
        cut = np.full((len(frames), DIRECTIONS), -np.inf)
        is_covered = np.zeros(len(frames), dtype=bool)
        for frame in range(len(frames)):
            mine = (edges.owner == index) & (edges.frame == frame)
            if mine.any():
                along = edges.place[mine] @ directions().T
                free = edges.is_free[mine]
                reach[frame] = along.max(axis=0)
                if not free.all():
                    cut[frame] = along[~free].max(axis=0)
                    is_covered[frame] = not (free | edges.is_border[mine]).all()
        found.append(Outlines(reach, np.isfinite(reach) & (cut < reach - HIDDEN_PX), is_covered))
    return found


def _find_edges(owner: NDArray[np.int8], depths: _Depths, frames: NDArray[np.uint8]) -> _Edges:
    """Find the points between objects' pixels and their neighbours, placed by how much of each pixel is covered."""
    nearness = depths.nearness
    padded = np.pad(owner, ((0, 0), (2, 2), (2, 2)), mode="edge")
    inside = np.pad(np.ones(owner.shape[1:], dtype=bool), 1)
    parts = []
    for step_row, step_column in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        frame, row, column = np.nonzero(owner >= 0)
        mine = owner[frame, row, column].astype(np.intp)
        next_row, next_column = row + step_row, column + step_column
        is_inside = inside[next_row + 1, next_column + 1]
        # The last two of `nearness` are those of the background and, -1 from the end, of the border.
        other = np.where(is_inside, padded[frame, next_row + 2, next_column + 2], len(nearness) - 1).astype(int)
        other = np.where(is_inside & (other == -1), len(nearness) - 2, other)
        edge = np.flatnonzero(other != mine)
        frame, row, column, mine, other = frame[edge], row[edge], column[edge], mine[edge], other[edge]
        # Two of one colour show no edge between them.
        is_free = (nearness[mine] > nearness[other]) & (depths.colour[mine] != depths.colour[other])
        shift = np.zeros(len(edge))
        at = (frame[is_free], row[is_free], column[is_free])
        shift[is_free] = _shift(frames, owner, at, (step_row, step_column))
        place = np.stack([column + 0.5 + step_column * (0.5 + shift), row + 0.5 + step_row * (0.5 + shift)], axis=-1)
        parts.append((frame, mine, place, is_free, other == len(nearness) - 1))
    frame, mine, place, is_free, is_border = (np.concatenate(values) for values in zip(*parts, strict=True))
    return _Edges(frame, mine, place, is_free, is_border)


def _shift(
    frames: NDArray[np.uint8],
    owner: NDArray[np.int8],
    at: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]],
    step: tuple[int, int],
) -> Floats:
    """How far beyond its last pixel an object reaches, in pixels, from the colours of two pixels on each side."""
    _, height, width = owner.shape
    frame, row, column = at

    def pixel(steps: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        return np.clip(row + steps * step[0], 0, height - 1), np.clip(column + steps * step[1], 0, width - 1)

    def colour(steps: int) -> Floats:
        return _display_light()[frames[frame, *pixel(steps)]]

    deeper = (owner[frame, *pixel(-1)] == owner[at])[:, None]
    further = (owner[frame, *pixel(2)] == owner[frame, *pixel(1)])[:, None]
    last, first = colour(0), colour(1)
    inner, outer = np.where(deeper, colour(-1), last), np.where(further, colour(2), first)
    contrast = inner - outer
    scale = np.maximum((contrast * contrast).sum(axis=-1), 1e-6)
    covered = np.clip(((last - outer) * contrast).sum(axis=-1) / scale, 0.0, 1.0)
    beyond = np.clip(((first - outer) * contrast).sum(axis=-1) / scale, 0.0, 1.0)
    return covered + beyond - 1.0


@functools.cache
def _display_light() -> Floats:
    """Light that a display gives off for each of the 256 levels (IEC 61966-2-1): what edges mix linearly."""
    value = np.arange(256) / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
