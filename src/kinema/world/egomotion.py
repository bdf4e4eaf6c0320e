"""How the camera of a clip moved: the move of the demo world under which the clip's background fits itself best."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from kinema.world.camera import CameraPath, camera_path, project
from kinema.world.scene import CAMERA_DIRECTIONS, CAMERA_MOVES, Camera, CameraDirection, CameraMove, Object, Scene

ELEVATIONS_DEG: tuple[float, ...] = (12.0, 15.0, 18.0, 21.0, 24.0)
"""Heights of the camera that are tried."""


@dataclass(frozen=True)
class Scale:
    """One fineness of details.

    What is smaller than `blur_px` is averaged away, what is larger than `spread_px` is not looked at (standard
    deviations); contrasts below `faintest`, in 8-bit levels, count for less.
    """

    blur_px: float
    spread_px: float
    faintest: float


FINE, COARSE = Scale(0.0, 2.0, 1.5), Scale(1.5, 4.0, 2.0)
"""Clean clips are told by the finer details, clips that a codec or an autoencoder has gone over by the coarser too."""

CLEAN_WEIGHTS: dict[Scale, float] = {FINE: 1.0}
NOISY_WEIGHTS: dict[Scale, float] = {FINE: 0.3, COARSE: 0.7}
"""What the logarithm of the mismatch counts for at each scale."""

NOISY = 0.175
"""Change of the finest details between the first two frames that only noise makes: no move has got far by then."""

MOVING = 1.08
"""How much worse a camera that stands still may fit a noisy clip than a move and be taken for the truth all the same.

Bringing one frame to another averages neighbouring pixels, and so takes noise away, only where the camera moves.
"""

CAP = 1.5
"""Largest difference that one pixel can contribute, before its root is taken: what moves by itself is an outlier."""

RIVAL = 1.3
"""Moves that fit less badly than this, relative to the best, are rivals, which other evidence may prefer."""

LEAST_MISMATCH = 0.02
"""Mismatch that counts as none."""

SKYLINE = 0.05
"""Up to this sine of its angle above the horizon the sky is looked at: hills stand there; higher up, clouds drift."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Move:
    """One move that the camera may have made."""

    move: CameraMove
    direction: CameraDirection | None
    elevation_deg: float


@dataclass(frozen=True)
class Egomotion:
    """A move of the camera, its pose at each frame in view heights, and how badly the background fits it."""

    move: CameraMove
    direction: CameraDirection | None
    elevation_deg: float
    path: CameraPath
    mismatch: float


@dataclass(frozen=True)
class _Warps:
    """For one pair of frames: the matrix that brings the second to the first under each move, and where it holds."""

    first: int
    second: int
    matrix: sparse.csr_matrix
    valid: NDArray[np.bool_]


def view_path(move: Move, num_frames: int) -> CameraPath:
    """Give the path of a camera that shows a field of view of height 1 and moves for the whole clip, at azimuth 0."""
    thing = Object(shape="ball", colour="red", size="small", material="matte", x=0.0, y=0.0, yaw_deg=0.0)
    scene = Scene(
        seed=0,
        seconds=float(max(num_frames - 1, 1)),
        objects=(thing,),
        action="rest",
        direction=None,
        floor="wood",
        light="noon",
        sun_azimuth_deg=0.0,
        cloudiness=0.0,
        camera=Camera(move=move.move, direction=move.direction, elevation_deg=move.elevation_deg, azimuth_deg=0.0),
    )
    path = camera_path(scene, num_frames, fps=1.0)
    return CameraPath(path.eye / scene.view_height, path.target / scene.view_height, path.up, path.fov_deg)


def pixel_rays(path: CameraPath, frame: int, height: int, width: int) -> NDArray[np.float64]:
    """Unit vectors along which the pixels of one frame look, "h w 3"."""
    right, up, forward = (axis[frame] for axis in path.basis())
    half_width, half_height = path.half_extent(width / height)
    across = (2.0 * (np.arange(width) + 0.5) / width - 1.0) * half_width
    along = (1.0 - 2.0 * (np.arange(height) + 0.5) / height) * half_height
    rays: NDArray[np.float64] = forward + across[None, :, None] * right + along[:, None, None] * up
    return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


def estimate_egomotion(luma: Floats, background: NDArray[np.bool_]) -> list[Egomotion]:
    """Find the camera move of a clip from its background: the one that fits best, then its rivals.

    `luma` is "f h w" in 8-bit levels and `background` "f h w" says which pixels belong to no object. Every move of
    the demo world is tried at several heights of the camera: pixels of the floor are followed along the ground plane,
    those of the skyline along their direction, and the mean root of the capped differences of normalised details is
    compared: its geometric mean over the scales.
    """
    num_frames, height, width = luma.shape
    moves = _moves()
    is_noisy = _noise(luma, background) > NOISY
    weights = NOISY_WEIGHTS if is_noisy else CLEAN_WEIGHTS
    details = [_detail(luma, background, scale).reshape(num_frames, -1) for scale in weights]
    mask = background.reshape(num_frames, -1)
    total, count = np.zeros((len(details), len(moves))), np.zeros(len(moves))
    for pair in _pairs(num_frames, height, width):
        seen = pair.valid & mask[pair.first]
        seen &= (pair.matrix @ mask[pair.second].astype(np.float32) > 0.999).reshape(seen.shape)
        count += seen.sum(axis=1)
        for index, detail in enumerate(details):
            moved = (pair.matrix @ detail[pair.second]).reshape(seen.shape)
            change = np.sqrt(np.minimum(np.abs(moved - detail[pair.first]), CAP))
            total[index] += (change * seen).sum(axis=1)
    each = np.where(count > 0.02 * height * width, total / np.maximum(count, 1.0), CAP)
    mismatch = np.exp(np.array(list(weights.values())) @ np.log(each + LEAST_MISMATCH))
    if is_noisy:
        mismatch *= [1.0 if move.move == "fixed" else MOVING for move in moves]
    found: list[Egomotion] = []
    for index in np.argsort(mismatch):
        move = moves[index]
        is_new = all((move.move, move.direction) != (other.move, other.direction) for other in found)
        if is_new and mismatch[index] <= RIVAL * max(float(mismatch.min()), 1e-3):
            path = view_path(move, num_frames)
            found.append(Egomotion(move.move, move.direction, move.elevation_deg, path, float(mismatch[index])))
    return found


def _noise(luma: Floats, background: NDArray[np.bool_]) -> float:
    """Measure how much the finest details of the background change between the first two frames."""
    first, second = _detail(luma[:2], background[:2], FINE)[[0, -1]]
    # High up in the picture clouds drift.
    top = len(first) // 4
    seen = (background[0] & background[:2][-1])[top:]
    change = np.sqrt(np.minimum(np.abs(second - first), CAP))[top:]
    return float(change[seen].mean()) if seen.any() else 0.0


def _detail(luma: Floats, background: NDArray[np.bool_], scale: Scale) -> Floats:
    """Brightness relative to the mean and the contrast of the background around each pixel."""
    seen = background.astype(np.float32)
    fine = _background_mean(luma, seen, scale.blur_px) if scale.blur_px else luma
    mean = _background_mean(fine, seen, scale.spread_px)
    square = _background_mean(fine * fine, seen, scale.spread_px)
    contrast = np.sqrt(np.maximum(square - mean * mean, 0.0) + scale.faintest**2)
    detail: Floats = ((fine - mean) / contrast).astype(np.float32)
    return detail


def _background_mean(value: Floats, seen: Floats, sigma_px: float) -> Floats:
    """Mean of the pixels of the background around each pixel, weighted by a Gaussian."""
    spread = (0.0, sigma_px, sigma_px)
    mean: Floats = ndimage.gaussian_filter(value * seen, spread) / (ndimage.gaussian_filter(seen, spread) + 1e-3)
    return mean


@functools.cache
def _moves() -> tuple[Move, ...]:
    return tuple(
        Move(move, direction, elevation)
        for move in CAMERA_MOVES
        for direction in CAMERA_DIRECTIONS[move] or (None,)
        for elevation in ELEVATIONS_DEG
    )


@functools.lru_cache(maxsize=4)
def _pairs(num_frames: int, height: int, width: int) -> tuple[_Warps, ...]:
    last = num_frames - 1
    frames = {(0, last), (last // 2, 0), (last // 2, last), (last // 4, last - last // 4)}
    return tuple(_warps(first, second, num_frames, height, width) for first, second in sorted(frames))


def _warps(first: int, second: int, num_frames: int, height: int, width: int) -> _Warps:
    parts = [_warp(view_path(move, num_frames), first, second, height, width) for move in _moves()]
    matrix = sparse.vstack([part[0] for part in parts], format="csr")
    return _Warps(first, second, matrix, np.stack([part[1] for part in parts]))


def _warp(
    path: CameraPath, first: int, second: int, height: int, width: int
) -> tuple[sparse.csr_matrix, NDArray[np.bool_]]:
    """Bilinear weights, "p p", that bring the second frame to the first, and which of its pixels have a partner."""
    rays = pixel_rays(path, first, height, width).reshape(-1, 3)
    is_floor = rays[:, 2] < -0.01
    # The sky is far away: what stands there moves with the camera's eye.
    reach = np.where(is_floor, -path.eye[first, 2] / np.where(is_floor, rays[:, 2], 1.0), 1e4)
    other = CameraPath(path.eye[second : second + 1], path.target[second : second + 1], path.up, path.fov_deg)
    placed = project(other, path.eye[first] + rays * reach[:, None], width / height)[0]
    column, row = placed[:, 0] * width - 0.5, placed[:, 1] * height - 0.5
    valid = (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1) & (placed[:, 2] > 0)
    valid &= is_floor | ((rays[:, 2] > 0.01) & (rays[:, 2] < SKYLINE))
    left = np.clip(np.floor(column), 0, max(width - 2, 0)).astype(np.int32)
    top = np.clip(np.floor(row), 0, max(height - 2, 0)).astype(np.int32)
    u, v = np.clip(column - left, 0.0, 1.0), np.clip(row - top, 0.0, 1.0)
    corner = top * width + left
    corners = np.stack([corner, corner + 1, corner + width, corner + width + 1], axis=1)
    weights = np.stack([(1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v], axis=1).astype(np.float32)
    starts = np.arange(0, 4 * len(rays) + 1, 4, dtype=np.int32)
    size = height * width
    return sparse.csr_matrix((weights.ravel(), corners.ravel(), starts), shape=(size, size)), valid
