"""The objects of a clip as patches of colour that are followed from frame to frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from kinema.world.scene import COLOURS, Colour
from kinema.world.segment import palette_hue_distance

Labels = NDArray[np.int8]
Mask = NDArray[np.bool_]

LEAST_AREA = 0.0035
"""Smallest patch that counts as an object, as a share of the picture."""

LEAST_PRESENCE = 0.2
"""Share of the frames in which an object must be seen."""

SHADE_HUE_DEG = 75.0
"""A patch that always touches a larger one of a hue this near may be its shaded side."""

MOST_OBJECTS = 8

_IN_FRAME = np.zeros((3, 3, 3), dtype=bool)
_IN_FRAME[1] = True


@dataclass(frozen=True)
class Blob:
    """One object followed through a clip.

    `mask` is "f h w"; `centroid` "f 2" (x, y) and `box` "f 4" (left, top, right, bottom) are in pixels, NaN where unseen.
    `is_whole` "f" says in which frames the whole outline is free: not cut by the border and touching no other object.
    """

    colour: Colour
    mask: Mask
    area: NDArray[np.float64]
    centroid: NDArray[np.float64]
    box: NDArray[np.float64]
    is_whole: Mask


@dataclass(frozen=True)
class _Patch:
    frame: int
    index: int
    area: int
    centroid: NDArray[np.float64]


def find_blobs(label: Labels) -> list[Blob]:
    """Follow the objects through colour labels "f h w" (an index into COLOURS, or -1)."""
    label = merge_shades(label)
    blobs: list[Blob] = []
    for index, colour in enumerate(COLOURS):
        mine = label == index
        if mine.any():
            blobs += _follow(mine, label, colour)
    blobs.sort(key=lambda blob: -float(np.nansum(blob.area)))
    return blobs[:MOST_OBJECTS]


def merge_shades(label: Labels) -> Labels:
    """Give rare hues to the neighbouring object whose shaded side or rim they are, or to the background."""
    size = label[0].size
    share = np.array([(label == index).sum(axis=(1, 2)) for index in range(len(COLOURS))]) / size
    mean = share.mean(axis=1)
    kept = [index for index in range(len(COLOURS)) if _is_present(share[index])]
    label = label.copy()
    for index in sorted(range(len(COLOURS)), key=lambda index: float(mean[index])):
        mine = label == index
        if not mine.any():
            continue
        around = ndimage.binary_dilation(mine, _IN_FRAME) & ~mine
        total = max(int(mine.sum()), 1)
        hosts = [
            host
            for host in kept
            if host != index
            and palette_hue_distance(index, host) < SHADE_HUE_DEG
            and mean[host] > (2.0 * mean[index] if index in kept else 0.0)
        ]
        touches = {host: int((around & (label == host)).sum()) for host in hosts}
        best = max(touches, key=lambda host: touches[host], default=None)
        is_shade = best is not None and _always_touches(mine, label == best)
        if is_shade and best is not None and (index not in kept or touches[best] > 0.25 * total):
            label[mine] = best
            if index in kept:
                kept.remove(index)
        elif index not in kept:
            label[mine] = -1
    return label


def _is_present(share: NDArray[np.float64]) -> bool:
    return bool((share > LEAST_AREA).mean() >= LEAST_PRESENCE)


def _always_touches(mine: Mask, host: Mask) -> bool:
    """Whether nearly every frame that shows the first mask shows it at the edge of the second."""
    seen = mine.any(axis=(1, 2))
    near = ndimage.binary_dilation(host, _IN_FRAME)
    inside = (mine & ndimage.binary_dilation(near, _IN_FRAME)).sum(axis=(1, 2)) / np.maximum(mine.sum(axis=(1, 2)), 1)
    return bool((inside[seen] > 0.3).mean() > 0.8)


def _follow(mine: Mask, label: Labels, colour: Colour) -> list[Blob]:
    """Split one colour into its objects and follow each."""
    parts, patches = _patches(mine, label)
    if not patches:
        return []
    per_frame = [[patch for patch in patches if patch.frame == frame] for frame in range(len(mine))]
    counts = np.array([len(found) for found in per_frame])
    number = _number_of_objects(counts)
    if number == 0:
        return []
    tracks = _link(per_frame, number)
    others = (label >= 0) & ~mine
    return [_blob(track, parts, others, colour) for track in tracks if sum(patch is not None for patch in track) >= 2]


def _patches(mine: Mask, label: Labels) -> tuple[NDArray[np.int32], list[_Patch]]:
    """Connected patches in each frame; pieces that another object seems to cut apart are one."""
    others = (label >= 0) & ~mine
    joined, _ = ndimage.label(mine | others, _IN_FRAME) if others.any() else (None, 0)
    parts, number = ndimage.label(mine, _IN_FRAME)
    least = LEAST_AREA * mine[0].size
    if number == 0:
        return parts, []
    index = np.arange(1, number + 1)
    area = ndimage.sum_labels(np.ones(mine.shape), parts, index)
    frame = ndimage.maximum(np.broadcast_to(np.arange(len(mine))[:, None, None], mine.shape), parts, index).astype(int)
    if joined is not None:
        group = ndimage.maximum(joined, parts, index).astype(int)
        for key in np.unique(group):
            members = index[group == key]
            if len(members) > 1:
                parts[np.isin(parts, members)] = members[0]
                area[members[0] - 1] += area[members[1:] - 1].sum()
                area[members[1:] - 1] = 0
    kept = index[area >= least]
    centres = ndimage.center_of_mass(mine, parts, kept) if len(kept) else []
    return parts, [
        _Patch(int(frame[k - 1]), int(k), int(area[k - 1]), np.array([centre[2] + 0.5, centre[1] + 0.5]))
        for k, centre in zip(kept, centres, strict=True)
    ]


def _number_of_objects(counts: NDArray[np.int_]) -> int:
    """The largest number of patches that enough frames show at once."""
    number = 0
    for candidate in range(1, min(int(counts.max()), MOST_OBJECTS) + 1):
        if (counts >= candidate).mean() >= LEAST_PRESENCE:
            number = candidate
    return number


def _link(per_frame: list[list[_Patch]], number: int) -> list[list[_Patch | None]]:
    """Join the patches of successive frames into `number` tracks, starting from the frames that show all of them."""
    num_frames = len(per_frame)
    start = next(frame for frame, found in enumerate(per_frame) if len(found) >= number)
    first = sorted(per_frame[start], key=lambda patch: -patch.area)[:number]
    tracks: list[list[_Patch | None]] = [[None] * num_frames for _ in range(number)]
    for track, patch in zip(tracks, first, strict=True):
        track[start] = patch
    for order in (range(start + 1, num_frames), range(start - 1, -1, -1)):
        step = 1 if order.step > 0 else -1
        for frame in order:
            _extend(tracks, per_frame[frame], frame, step)
    return tracks


def _extend(tracks: list[list[_Patch | None]], found: list[_Patch], frame: int, step: int) -> None:
    """Give the patches of one frame to the tracks that come from the neighbouring frames."""
    if not found:
        return
    cost = np.zeros((len(tracks), len(found)))
    for row, track in enumerate(tracks):
        place, area = _predict(track, frame, step)
        for column, patch in enumerate(found):
            growth = abs(np.log(patch.area / area))
            cost[row, column] = float(np.hypot(*(patch.centroid - place))) + 6.0 * growth
    rows, columns = linear_sum_assignment(cost)
    for row, column in zip(rows, columns, strict=True):
        _, area = _predict(tracks[row], frame, step)
        # Two like objects that overlap make one patch, too large for either.
        if len(found) >= len(tracks) or found[column].area < 1.35 * area:
            tracks[row][frame] = found[column]


def _predict(track: list[_Patch | None], frame: int, step: int) -> tuple[NDArray[np.float64], float]:
    """Where a track should be in a frame, from its last two patches, and its usual area."""
    seen = [patch for patch in (track if step < 0 else track[::-1]) if patch is not None]
    last = seen[0]
    area = float(np.median([patch.area for patch in seen]))
    if len(seen) == 1:
        return last.centroid, area
    before = seen[1]
    velocity = (last.centroid - before.centroid) / (last.frame - before.frame)
    return last.centroid + velocity * (frame - last.frame), area


def _blob(track: list[_Patch | None], parts: NDArray[np.int32], others: Mask, colour: Colour) -> Blob:
    num_frames, height, width = parts.shape
    mask = np.zeros(parts.shape, dtype=bool)
    area, centroid = np.zeros(num_frames), np.full((num_frames, 2), np.nan)
    box = np.full((num_frames, 4), np.nan)
    is_whole = np.zeros(num_frames, dtype=bool)
    for frame, patch in enumerate(track):
        if patch is None:
            continue
        mine = parts[frame] == patch.index
        mask[frame] = mine
        area[frame], centroid[frame] = patch.area, patch.centroid
        rows, columns = np.flatnonzero(mine.any(axis=1)), np.flatnonzero(mine.any(axis=0))
        left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        box[frame] = left, top, right, bottom
        is_cut = left == 0 or top == 0 or right == width or bottom == height
        window = (slice(max(top - 2, 0), bottom + 2), slice(max(left - 2, 0), right + 2))
        near = ndimage.binary_dilation(mine[window], np.ones((3, 3), dtype=bool))
        foreign = others[frame][window] | ((parts[frame][window] > 0) & ~mine[window])
        is_whole[frame] = not is_cut and int((near & foreign).sum()) <= 1
    return Blob(colour, mask, area, centroid, box, is_whole)
