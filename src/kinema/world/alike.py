"""Objects that all look alike and overlap: cut apart by the places that a scene gives them.

Patches of one colour that touch show no edge between them. But those that take no part stand, each at one of a few
places in the row behind, or beside the one that acts; so each number of objects, shape and size says what must be seen
in every frame, but for one object, which is where it explains the rest.
"""

import dataclasses
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from kinema.world.camera import CameraPath
from kinema.world.outline import DIRECTIONS, directions
from kinema.world.scene import HEIGHT_M, LANE_Y_M, SHAPES, SIZES, VIEW_HEIGHT_M, Shape, Size
from kinema.world.silhouette import any_poses, project_poses, standing_pose

Floats = NDArray[np.float64]
Shares = NDArray[np.float32]
Mask = NDArray[np.bool_]

ROWS: tuple[tuple[tuple[float, bool], ...], ...] = (
    ((-0.3, True),),
    ((0.3, True),),
    ((-0.25, False),),
    ((0.25, False),),
    ((-0.33, True), (0.33, True)),
    ((-0.43, True), (0.0, True), (0.43, True)),
)
"""Where those stand that take no part: to which side, in view heights, and whether in the row behind."""

MOST_FRAMES = 5
"""Frames by which the number, shape and size are chosen."""

COARSE_PX = 2
"""Width, in pixels, of what is compared when the number, shape and size are chosen."""

FURTHEST = 0.1
"""How far from where they should be, in picture heights, those that stand are looked for."""

MISSED = 4.0
"""What a missing pixel of one that stands counts beside one that is seen at its rim."""

MISSING = 0.15
"""Most, as a share, that may be missing of those that stand."""

ROOM = 1.1
"""How large those that stand may be, relative to all that is seen."""

UNEXPLAINED = 0.25
"""Most, as a share of what is seen, that may be missing or too much."""


@dataclass(frozen=True)
class _Guess:
    """What stands and where; `move` (x, y), in picture heights, is how far beside its expected place it is seen."""

    places: tuple[tuple[float, bool], ...]
    shape: Shape
    size: Size
    move: tuple[float, float] = (0.0, 0.0)

    @property
    def view(self) -> float:
        return VIEW_HEIGHT_M[len(self.places)]

    @property
    def height(self) -> float:
        return HEIGHT_M[self.size] / self.view


@dataclass(frozen=True)
class _Seen:
    """Share of each pixel "f h w" that any object covers, the camera's path, and spectra of what is taken and free."""

    share: Shares
    path: CameraPath
    taken: NDArray[np.complex64]
    free: NDArray[np.complex64]


def part_alike(mask: Mask, path: CameraPath) -> list[Mask] | None:
    """Cut the mask "f h w" of all objects apart, where all are alike: one mask for each, that of the actor first.

    None says that no number of objects explains it: there is only one, or two act, or `path` is not the camera's.
    """
    frames = np.unique(np.linspace(0, len(mask) - 1, MOST_FRAMES).round().astype(int))
    seen = _see(_shrink(mask[frames]), CameraPath(path.eye[frames], path.target[frames], path.up, path.fov_deg))
    best, guess = UNEXPLAINED * float(seen.share.sum()), None
    for shape, size, places in itertools.product(SHAPES, SIZES, ROWS):
        candidate = _find(_Guess(places, shape, size), seen)
        if candidate is not None:
            wrong = _unexplained(candidate, seen)
            if wrong < best:
                best, guess = wrong, candidate
    return _cut(guess, mask, path) if guess else None


def _see(share: Shares, path: CameraPath) -> _Seen:
    size = (2 * share.shape[1], 2 * share.shape[2])
    return _Seen(share, path, fft.rfft2(share, size), fft.rfft2(1.0 - share, size))


def _find(guess: _Guess, seen: _Seen) -> _Guess | None:
    """Find where those that stand are seen, near to where they should be, or None if they are not there.

    How far the camera is turned about the subject and, if it stands still, how high it is, is not known.
    """
    standing = _all_standing(guess, seen)
    if float(standing.sum()) * len(seen.share) > ROOM * len(standing) * float(seen.share.sum()):
        return None
    rim = ndimage.grey_dilation(standing, size=(1, 3, 3)) - standing
    size = (2 * standing.shape[1], 2 * standing.shape[2])
    spectrum = MISSED * seen.free * np.conj(fft.rfft2(standing, size))
    spectrum += seen.taken * np.conj(fft.rfft2(rim, size))
    reach = round(FURTHEST * standing.shape[1])
    cost = np.roll(fft.irfft2(spectrum.sum(axis=0), size), (reach, reach), axis=(0, 1))
    cost = cost[: 2 * reach + 1, : 2 * reach + 1]
    rows, columns = (int(k) - reach for k in np.unravel_index(int(np.argmin(cost)), cost.shape))
    there = np.roll(standing, (rows, columns), axis=(1, 2))
    if float((there * (1.0 - seen.share)).sum()) * len(there) > MISSING * float(there.sum()) * len(seen.share):
        return None
    return dataclasses.replace(guess, move=(columns / standing.shape[1], rows / standing.shape[1]))


def _all_standing(guess: _Guess, seen: _Seen) -> Shares:
    """Share of each pixel, "f h w", that those that stand would cover; one frame if the camera does not move."""
    frames = 1 if seen.path.is_still else len(seen.share)
    return np.stack([np.max(_standing(guess, seen.path, k, seen.share.shape[1:]), axis=0) for k in range(frames)])


def _unexplained(guess: _Guess, seen: _Seen) -> float:
    """How many of the pixels that are seen, or should be, a guess leaves unexplained."""
    wrong, known = 0.0, _all_standing(guess, seen)
    acting = _acting(guess, seen.path, 0, seen.share.shape[1:])
    for frame, view in enumerate(seen.share):
        if not seen.path.is_still:
            acting = _acting(guess, seen.path, frame, view.shape)
        wrong += _place(view, known[min(frame, len(known) - 1)], acting)[0]
    return wrong


def _cut(guess: _Guess, mask: Mask, path: CameraPath) -> list[Mask]:
    """Give each pixel of a mask to the object that a guess has there, or nearest."""
    masks = [np.zeros_like(mask) for _ in range(len(guess.places) + 1)]
    for frame, seen in enumerate(mask):
        standing = _standing(guess, path, frame, seen.shape)
        acting = _acting(guess, path, frame, seen.shape)
        _, pose, move = _place(seen.astype(np.float32), np.max(standing, axis=0), acting)
        views = np.stack([ndimage.shift(acting[pose], move, order=0), *standing]) > 0.5
        # Of those that cover a pixel the one that acts, which is the first, is in front.
        owner = np.stack([ndimage.distance_transform_edt(~view) for view in views]).argmin(axis=0)
        for index, one in enumerate(masks):
            one[frame] = seen & (owner == index)
    return masks


def _place(seen: Shares, known: Shares, acting: Shares) -> tuple[float, int, tuple[int, int]]:
    """Put the one that acts, "p h w", where it explains the most of what those that stand, `known`, do not.

    Given are the pixels that stay unexplained, the pose, and by how many rows and columns it is moved.
    """
    height, width = seen.shape
    size = (2 * height, 2 * width)
    gain = (1.0 - known) * (2.0 * seen - 1.0)
    won = fft.irfft2(fft.rfft2(gain, size) * np.conj(fft.rfft2(acting, size)), size)
    pose, row, column = (int(k) for k in np.unravel_index(int(np.argmax(won)), won.shape))
    wrong = float(np.abs(seen - known).sum() - won[pose, row, column])
    return wrong, pose, (row - 2 * height * (row >= height), column - 2 * width * (column >= width))


def _standing(guess: _Guess, path: CameraPath, frame: int, size_px: tuple[int, ...]) -> Shares:
    """Share of each pixel, "o h w", that each object that stands would cover."""
    pose, size = standing_pose(guess.shape), (size_px[0], size_px[1])
    moved = directions() @ np.array(guess.move) * size[0]
    found = []
    for x, is_behind in guess.places:
        centre = np.array([x, LANE_Y_M / guess.view if is_behind else 0.0, guess.height / 2.0])
        found.append(project_poses(pose, path, frame, centre, guess.height, size)[0] + moved)
    return _fill(np.stack(found), size)


def _acting(guess: _Guess, path: CameraPath, frame: int, size_px: tuple[int, ...]) -> Shares:
    """Share of each pixel, "p h w", that the one that acts would cover in each pose in the middle of the picture."""
    size = (size_px[0], size_px[1])
    centre = path.target[frame] * np.array([1.0, 0.0, 1.0])
    reach = project_poses(any_poses(guess.shape), path, frame, centre, guess.height, size)
    half = DIRECTIONS // 2
    # In opposite directions an outline reaches equally far from its middle.
    middle = (reach[:, :half] - reach[:, half:]) @ directions()[:half] / half
    return _fill(reach + (np.array([size[1], size[0]]) / 2.0 - middle) @ directions().T, size)


def _fill(reach: Floats, size_px: tuple[int, int]) -> Shares:
    """Share of each pixel, "p h w", that lies inside outlines "p k"."""
    row, column = np.indices(size_px, dtype=np.float32) + 0.5
    along = directions().astype(np.float32) @ np.stack([column.ravel(), row.ravel()])
    depth = np.full((len(reach), along.shape[1]), np.inf, dtype=np.float32)
    for direction, line in enumerate(along):
        np.minimum(depth, reach[:, direction, None].astype(np.float32) - line, out=depth)
    share: Shares = np.clip(depth + 0.5, 0.0, 1.0, dtype=np.float32).reshape(len(reach), *size_px)
    return share


def _shrink(mask: Mask) -> Shares:
    frames, height, width = mask.shape
    rows, columns = height // COARSE_PX, width // COARSE_PX
    parts = mask[:, : rows * COARSE_PX, : columns * COARSE_PX].reshape(frames, rows, COARSE_PX, columns, COARSE_PX)
    return np.asarray(parts.mean(axis=(2, 4), dtype=np.float32))
