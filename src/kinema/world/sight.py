"""Objects between segmentation and recognition: placed in the world, known to move or not, apart where they overlap."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kinema.world.alike import part_alike
from kinema.world.blobs import Blob, clean_labels, follow_mask
from kinema.world.camera import CameraPath
from kinema.world.egomotion import Egomotion
from kinema.world.outline import Outlines, measure_outlines
from kinema.world.place import LEAST_KNOWN, Views, on_plane, rays_through, stillness, view_object
from kinema.world.recognise import lanes_of
from kinema.world.scene import COLOURS, VIEW_HEIGHT_M, Colour
from kinema.world.segment import Segmentation

Floats = NDArray[np.float64]

MOVES_PX, ROUGHLY_PX = 1.5, 3.0
"""An object that cannot be explained as standing still to this error moves; the second is for one seen only in part."""

BYSTANDER = 0.2
"""What a bystander that seems to move counts against a camera move, as a share of the background's mismatch."""

COVERED = 2
"""Frames in which something must cover an object that is behind it."""

SAME_LANE = 0.05
"""Difference in height, in view heights, below which two that move are in one lane, where none can pass the other."""


@dataclass(frozen=True)
class Sight:
    """One object between segmentation and recognition.

    `middle` is that of its outline at each frame, "f 2" in pixels, NaN where it is hidden; `track` is where rays
    through the middle meet the subject's lane, "f 2" across and up in the world. What another colour covers is behind.
    """

    blob: Blob
    outlines: Outlines
    middle: Floats
    track: Floats
    moves: bool
    is_behind: bool


def choose_camera(rivals: Sequence[Egomotion], blobs: Sequence[Blob], size_px: tuple[int, int]) -> Egomotion:
    """Prefer, of camera moves that fit the background about equally, the one under which the bystanders stand still."""
    lanes = lanes_of(VIEW_HEIGHT_M[min(max(len(blobs), 1), 4) - 1])

    def cost(camera: Egomotion) -> float:
        moved = sorted(_rough_stillness(blob, lanes, camera.path, size_px) for blob in blobs)[:-1]
        return camera.mismatch * (1.0 + BYSTANDER * sum(min(error / ROUGHLY_PX, 1.0) for error in moved))

    return min(rivals, key=cost) if len(rivals) > 1 and len(blobs) > 1 else rivals[0]


def place_sights(
    blobs: Sequence[Blob], frames: NDArray[np.uint8], path: CameraPath, *, is_parted: bool = False
) -> list[Sight]:
    """Place each object in the world and say whether it moves.

    Of parted ones only the first may, which is in front of the others, so that its patch is whole.
    """
    size_px = (frames.shape[1], frames.shape[2])
    lanes = lanes_of(VIEW_HEIGHT_M[min(max(len(blobs), 1), 4) - 1])
    # What moves does so in the subject's lane, nearest to the camera; of what stands, the lowest in the picture is.
    roughly = [_rough_stillness(blob, lanes, path, size_px) for blob in blobs]
    lowest = [float(np.nanmedian(blob.box[:, 3])) if blob.area.any() else 0.0 for blob in blobs]
    nearness = [size_px[0] + error if error > ROUGHLY_PX else low for error, low in zip(roughly, lowest, strict=True)]
    if is_parted:
        nearness[0] = max(nearness) + 1.0
    sights = []
    for index, (blob, outlines) in enumerate(zip(blobs, measure_outlines(blobs, nearness, frames), strict=True)):
        views = view_object(blob, outlines)
        is_sure = int(views.is_known.all(axis=1).sum()) >= LEAST_KNOWN
        if is_parted:
            moves = index == 0 and _rough_stillness(blob, lanes[:1], path, size_px) > MOVES_PX
        else:
            moves = stillness(path, views, lanes, size_px).residual_px > (MOVES_PX if is_sure else ROUGHLY_PX)
        track = on_plane(path, rays_through(path, views.middle, size_px), 1, 0.0)[:, [0, 2]]
        is_behind = int(outlines.is_covered.sum()) >= COVERED and [one.colour for one in blobs].count(blob.colour) == 1
        sights.append(Sight(blob, outlines, views.whole, track, moves, is_behind))
    return sights


def part_blobs(blobs: list[Blob], seen: Segmentation, path: CameraPath, overlapping: frozenset[Colour]) -> list[Blob]:
    """Cut objects apart by what is known of scenes in which all are alike; none if these are not, or do not overlap."""
    colours = {blob.colour for blob in blobs}
    if len(colours) != 1 or not (_overlap(blobs) or colours & overlapping):
        return []
    colour = blobs[0].colour
    mask = clean_labels(seen.label, seen.is_pure, seen.is_vivid) == COLOURS.index(colour)
    return [follow_mask(one, colour) for one in part_alike(mask, path) or []]


def _overlap(blobs: Sequence[Blob]) -> bool:
    """Whether any frame shows one of several objects close to another, or not at all."""
    near = [ndimage.binary_dilation(blob.mask, np.ones((1, 3, 3), dtype=bool)) for blob in blobs]
    return len(blobs) > 1 and (
        any(not blob.mask.any(axis=(1, 2)).all() for blob in blobs)
        or any((first & second).any() for first, second in itertools.combinations(near, 2))
    )


def find_passing(sights: Sequence[Sight]) -> tuple[int, int, int] | None:
    """Find two like objects that seem to pass through each other, and from which frame: solids in one lane cannot.

    What happened is that one hit the other, which went on in its stead.
    """
    for first, second in itertools.combinations(range(len(sights)), 2):
        mine, other = sights[first], sights[second]
        if not (mine.moves and other.moves) or mine.blob.colour != other.blob.colour:
            continue
        apart = mine.track - other.track
        known = np.flatnonzero(np.isfinite(apart).all(axis=1))
        if not len(known) or float(np.median(np.abs(apart[known, 1]))) > SAME_LANE:
            continue
        side = apart[known, 0] * np.sign(apart[known[0], 0])
        if side[-1] < 0:
            return first, second, int(known[int(np.flatnonzero(side > 0).max(initial=-1)) + 1])
    return None


def _rough_stillness(blob: Blob, lanes: tuple[float, ...], path: CameraPath, size_px: tuple[int, int]) -> float:
    """How far an object's patch, which others may cover, is from standing still."""
    seen = np.isfinite(blob.centroid)
    edges = np.full((len(seen), 4), np.nan)
    is_known = seen & ~blob.is_cut[:, None]
    views = Views(blob.centroid, is_known, edges, np.isfinite(blob.centroid[:, 0]))
    return stillness(path, views, lanes, size_px).residual_px
