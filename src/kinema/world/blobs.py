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

USUALLY_TWO = 0.5
"""The same for the second of two objects that are never seen apart, but for an outline that no one solid has."""

SHADE_HUE_DEG, RIM_HUE_DEG = 45.0, 75.0
"""A colour within these hues of a larger one that it touches may be its shaded side, or if it is rare, its rim."""

LEAST_PURE = 0.5
"""Share of its pixels that must be surely of a colour for it to be one of its own beside a like hue."""

LEAST_VIVID = 0.1
"""Share of its pixels that must be vivid for a colour to be an object's; tinted shadows and halos are pale."""

HOLLOW_PX, HOLLOW = 1.8, 0.09
"""Depth of a hollow in an outline, in pixels and as a share of its area's root, from which a patch is two objects."""

PIECE = 0.15
"""Smallest share of a patch of two objects that one of them shows."""

FRAGMENT = 0.3
"""A patch smaller than this share of its like that touches another object is a piece of it, or its reflection."""

GLIMPSE_FRAMES, GLIMPSE_AREA = 2, 0.008
"""An object that is hidden for most of a clip counts if that many frames show it apart from others, and this large."""

MOST_OBJECTS = 8

_IN_FRAME = np.zeros((3, 3, 3), dtype=bool)
_IN_FRAME[1] = True


@dataclass(frozen=True)
class Blob:
    """One object followed through a clip.

    `mask` is "f h w"; `centroid` "f 2" (x, y) and `box` "f 4" (left, top, right, bottom) are in pixels, NaN where
    unseen. `is_cut` "f" says in which frames it reaches the border.
    """

    colour: Colour
    mask: Mask
    area: NDArray[np.float64]
    centroid: NDArray[np.float64]
    box: NDArray[np.float64]
    is_cut: Mask


@dataclass(frozen=True)
class _Patch:
    """A connected piece of one colour in one frame; `is_apart` if it touches no other object."""

    frame: int
    index: int
    area: int
    centroid: NDArray[np.float64]
    is_apart: bool


def find_blobs(
    label: Labels, is_pure: Mask, is_vivid: Mask, overlapping: frozenset[Colour] = frozenset()
) -> list[Blob]:
    """Follow the objects through colour labels "f h w": an index into COLOURS, or -1.

    `is_pure` says which are sure, `is_vivid` which are as strongly coloured as objects are.

    Patches of one colour that overlap are cut apart if several objects have that colour, or if it is in `overlapping`.
    """
    label = clean_labels(label, is_pure, is_vivid)
    blobs: list[Blob] = []
    for index, colour in enumerate(COLOURS):
        mine = label == index
        if mine.any():
            found = _follow(mine, label, colour, cut=False)
            if len(found) > 1:
                found = _follow(mine, label, colour, cut=True)
            elif colour in overlapping:
                found = _follow(mine, label, colour, cut=True, presence=USUALLY_TWO)
            blobs += found
    blobs.sort(key=lambda blob: -float(np.nansum(blob.area)))
    return blobs[:MOST_OBJECTS]


def clean_labels(label: Labels, is_pure: Mask, is_vivid: Mask) -> Labels:
    """Leave only the colours of objects in labels "f h w", each with its shaded sides and its rims."""
    return _drop_pale(merge_shades(label, is_pure), is_vivid)


def follow_mask(mask: Mask, colour: Colour) -> Blob:
    """Describe an object that is known to be a mask "f h w"; where hardly anything of it is seen, it is unseen."""
    mask = mask & (mask.mean(axis=(1, 2)) >= LEAST_AREA)[:, None, None]
    num_frames, height, width = mask.shape
    centroid, box = np.full((num_frames, 2), np.nan), np.full((num_frames, 4), np.nan)
    for frame in np.flatnonzero(mask.any(axis=(1, 2))):
        row, column = np.nonzero(mask[frame])
        centroid[frame] = column.mean() + 0.5, row.mean() + 0.5
        box[frame] = column.min(), row.min(), column.max() + 1, row.max() + 1
    is_cut = (box[:, :2] == 0).any(axis=1) | (box[:, 2] == width) | (box[:, 3] == height)
    return Blob(colour, mask, mask.sum(axis=(1, 2)).astype(np.float64), centroid, box, is_cut)


def exchange(first: Blob, second: Blob, frame: int) -> tuple[Blob, Blob]:
    """Give two objects each other's views from a frame on."""

    def joined(start: Blob, end: Blob) -> Blob:
        return Blob(
            start.colour,
            np.concatenate([start.mask[:frame], end.mask[frame:]]),
            np.concatenate([start.area[:frame], end.area[frame:]]),
            np.concatenate([start.centroid[:frame], end.centroid[frame:]]),
            np.concatenate([start.box[:frame], end.box[frame:]]),
            np.concatenate([start.is_cut[:frame], end.is_cut[frame:]]),
        )

    return joined(first, second), joined(second, first)


def merge_shades(label: Labels, is_pure: Mask) -> Labels:
    """Give rare hues to the neighbouring object whose shaded side or rim they are, or to the background."""
    share = np.array([(label == index).mean(axis=(1, 2)) for index in range(len(COLOURS))])
    mean = share.mean(axis=1)
    kept = [index for index in range(len(COLOURS)) if (share[index] > LEAST_AREA).mean() >= LEAST_PRESENCE]
    label = label.copy()
    for index in np.argsort(mean):
        mine = label == index
        if not mine.any():
            continue
        nearest = SHADE_HUE_DEG if index in kept else RIM_HUE_DEG
        hosts = [host for host in kept if host != index and palette_hue_distance(int(index), host) < nearest]
        hosts = [host for host in hosts if mean[host] > mean[index]]
        is_between = is_pure[mine].mean() < LEAST_PURE
        hosts = [host for host in hosts if _clings(mine, label == host, is_between)]
        if hosts:
            label[mine] = max(hosts, key=lambda host: mean[host])
            kept = [other for other in kept if other != index]
        elif index not in kept:
            label[mine] = -1
    return label


def _drop_pale(label: Labels, is_vivid: Mask) -> Labels:
    """Give the patches of each colour in each frame that have hardly any vivid pixels to the background."""
    label = label.copy()
    for colour in np.unique(label[label >= 0]):
        parts, number = ndimage.label(label == colour, _IN_FRAME)
        share = ndimage.mean(is_vivid, parts, np.arange(1, number + 1))
        pale = np.concatenate([[False], np.asarray(share) < LEAST_VIVID])
        label[pale[parts]] = -1
    return label


def _clings(mine: Mask, host: Mask, is_between: bool) -> bool:
    """Whether nearly every frame shows most of the first mask, or any if its hue is between, close to the second.

    Frames that show hardly any of the host count as close: what is never seen apart from it is the same object, whose
    hue a poor picture has moved.
    """
    area = mine.sum(axis=(1, 2))
    # The host must be an object: rims of the first one may bear its colour too.
    body = ndimage.binary_opening(host, _IN_FRAME)
    near = (mine & ndimage.binary_dilation(body, _IN_FRAME, iterations=2)).sum(axis=(1, 2))
    counts = area > 0.2 * area.max()
    is_near = near > (0.1 if is_between else 0.5) * area
    size = host.sum(axis=(1, 2))
    is_alone = size < 0.2 * size.max()
    is_beside = counts & ~is_alone
    # Some frames must show both, and nearly all of those must show them together.
    return bool(is_beside.any() and (is_near | is_alone)[counts].mean() > 0.9 and is_near[is_beside].mean() > 0.75)


def _follow(mine: Mask, label: Labels, colour: Colour, *, cut: bool, presence: float = LEAST_PRESENCE) -> list[Blob]:
    """Split one colour into its objects and follow each."""
    parts, patches = _patches(mine, label, cut=cut)
    if not patches:
        return []
    per_frame = [[patch for patch in patches if patch.frame == frame] for frame in range(len(mine))]
    number = _count(per_frame, mine[0].size, presence)
    if number == 0:
        return []
    tracks = _link(per_frame, number)
    return [_blob(track, parts, colour) for track in tracks if any(patch is not None for patch in track)]


def _split_overlaps(parts: NDArray[np.int32], near: Mask) -> NDArray[np.int32]:
    """Cut each patch that no solid can show alone, because it is not convex, at its neck.

    Hollows beside other objects, `near`, do not count: there the patch is covered, not bounded.
    """
    parts = parts.copy()
    least = LEAST_AREA * parts[0].size
    following = int(parts.max()) + 1
    for index, window in enumerate(ndimage.find_objects(parts), start=1):
        if window is None:
            continue
        patch = (parts[window] == index)[0]
        side = _neck(patch, near[window][0], least) if patch.sum() > 3.0 * least else None
        if side is not None:
            view = parts[window][0]
            view[patch & side] = following
            following += 1
    return parts


def _neck(patch: Mask, near: Mask, least: float) -> Mask | None:
    """Which pixels lie on one side of the shortest cut from a patch's deepest hollow; None if it has no deep one."""
    # Highlights make holes and notches, which are no hollows.
    smooth = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(patch, 2), np.ones((3, 3), dtype=bool)))[
        2:-2, 2:-2
    ]
    row, column = np.nonzero(smooth & ~ndimage.binary_erosion(smooth))
    place = np.stack([column, row], axis=-1).astype(np.float64)
    angle = 2.0 * np.pi * np.arange(32) / 32
    along = place @ np.stack([np.cos(angle), np.sin(angle)])
    depth = (along.max(axis=0) - along).min(axis=-1)
    depth[near[row, column]] = 0.0
    deepest = int(np.argmax(depth))
    if depth[deepest] < max(HOLLOW_PX, HOLLOW * float(np.sqrt(patch.sum()))):
        return None
    away = place - place[deepest]
    rows, columns = np.indices(patch.shape)
    offset = np.stack([columns, rows], axis=-1) - place[deepest]
    for other in np.argsort(np.hypot(*away.T) - depth):
        side: Mask = offset[..., 0] * away[other, 1] - offset[..., 1] * away[other, 0] > 0
        smaller = min(int((patch & side).sum()), int((patch & ~side).sum()))
        if smaller > max(least, PIECE * float(patch.sum())):
            return side
    return None


def _count(per_frame: list[list[_Patch]], size: int, presence: float) -> int:
    """The largest number of patches that enough frames show at once."""
    usual = np.array([len(found) for found in per_frame])
    sure = np.array(
        [sum(patch.is_apart and patch.area > GLIMPSE_AREA * size for patch in found) for found in per_frame]
    )
    number = 0
    for candidate in range(1, min(int(usual.max()), MOST_OBJECTS) + 1):
        if (usual >= candidate).mean() >= presence or (sure >= candidate).sum() >= GLIMPSE_FRAMES:
            number = candidate
    return number


def _patches(mine: Mask, label: Labels, *, cut: bool) -> tuple[NDArray[np.int32], list[_Patch]]:
    """Connected patches in each frame; pieces that another object seems to cut apart are one."""
    others = (label >= 0) & ~mine
    near = ndimage.binary_dilation(others, _IN_FRAME)
    joined, _ = ndimage.label(mine | near, _IN_FRAME) if others.any() else (None, 0)
    parts, number = ndimage.label(mine, _IN_FRAME)
    least = LEAST_AREA * mine[0].size
    if number == 0:
        return parts, []
    index = np.arange(1, number + 1)
    if joined is not None:
        group = ndimage.maximum(joined, parts, index).astype(int)
        for key in np.unique(group):
            members = index[group == key]
            if len(members) > 1:
                parts[np.isin(parts, members)] = members[0]
    if cut:
        parts = _split_overlaps(parts, near)
    number = int(parts.max())
    index = np.arange(1, number + 1)
    area = ndimage.sum_labels(np.ones(mine.shape), parts, index)
    frame = ndimage.maximum(np.broadcast_to(np.arange(len(mine))[:, None, None], mine.shape), parts, index).astype(int)
    largest = {int(k): float(area[frame == k].max()) for k in np.unique(frame)}
    touches = ndimage.maximum(near, parts, index).astype(bool)
    is_piece = touches & (area < FRAGMENT * np.array([largest[int(k)] for k in frame]))
    kept = index[(area >= least) & ~is_piece]
    centres = ndimage.center_of_mass(mine, parts, kept) if len(kept) else []
    return parts, [
        _Patch(
            int(frame[k - 1]),
            int(k),
            int(area[k - 1]),
            np.array([centre[2] + 0.5, centre[1] + 0.5]),
            not touches[k - 1],
        )
        for k, centre in zip(kept, centres, strict=True)
    ]


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


def _blob(track: list[_Patch | None], parts: NDArray[np.int32], colour: Colour) -> Blob:
    index = np.array([-1 if patch is None else patch.index for patch in track])
    return follow_mask(parts == index[:, None, None], colour)
