"""Numbers that need no judge: fidelity to a reference, steadiness, motion, sharpness, colour, and their intervals.

Frames are uint8 `f h w 3` (RGB) unless a docstring says otherwise.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinema.errors import DataError

Frames = NDArray[np.uint8]
LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with the ends of its confidence interval; `count` is the number of groups that it rests on."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, kw_only=True)
class ColourStatistics:
    """How bright, saturated and colourful a clip is; brightness, contrast and saturation are in [0, 1]."""

    brightness: float
    contrast: float
    saturation: float
    colourfulness: float


@dataclass(frozen=True, kw_only=True)
class MotionStatistics:
    """How much moves in a set of clips; speed is in picture heights per second."""

    mean_speed: float
    dynamic_degree: float


def psnr(reference: Frames, frames: Frames) -> float:
    """Say how close frames are to a reference, in decibels (infinite when equal).

    Peak signal-to-noise ratio over all values at once: 10 log10(255^2 / mean squared error); ISO/IEC 29170-1, and
    Huynh-Thu and Ghanbari, "Scope of validity of PSNR in image/video quality assessment", 2008. Raises DataError when
    shapes differ.
    """
    _require_same_shape(reference, frames)
    error = np.mean((reference.astype(np.float64) - frames.astype(np.float64)) ** 2)
    return math.inf if error == 0.0 else float(10.0 * np.log10(255.0**2 / error))


def ssim(reference: Frames, frames: Frames) -> float:
    """Say how alike the structure of frames and a reference is: 1 when equal, about 0 when unrelated.

    Structural similarity of the luma, mean over pixels and frames, with a Gaussian window of 11x11 pixels (sigma 1.5),
    K1 = 0.01 and K2 = 0.03: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment", 2004, equation 13. Only
    windows that lie wholly inside the frame count. Raises DataError when shapes differ or a side is under 11 pixels.
    """
    _require_same_shape(reference, frames)
    if min(frames.shape[-3:-1]) < 11:
        raise DataError(
            f"ssim got frames of {frames.shape[-3]}x{frames.shape[-2]} pixels; its window needs at least 11x11"
        )
    x, y = reference.astype(np.float64) @ LUMA, frames.astype(np.float64) @ LUMA
    mean_x, mean_y = _gaussian(x), _gaussian(y)
    variance_x = _gaussian(x * x) - mean_x**2
    variance_y = _gaussian(y * y) - mean_y**2
    covariance = _gaussian(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2
    likeness = (2.0 * mean_x * mean_y + c1) * (2.0 * covariance + c2)
    return float(np.mean(likeness / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))))


def flicker(frames: Frames) -> float:
    """Say how steady a clip is: 1 when no pixel changes, 0 when all jump between black and white.

    (255 - mean |f_i - f_(i+1)|) / 255, the "temporal flickering" score of VBench (Huang et al., 2024, section 3.2);
    VBench takes it on static scenes only, because honest motion lowers it too. Raises DataError with fewer than two
    frames.
    """
    if len(frames) < 2:
        raise DataError(f"flicker got {len(frames)} frame(s); it compares neighbours, so give at least 2")
    change = np.abs(np.diff(frames.astype(np.float64), axis=0)).mean()
    return float((255.0 - change) / 255.0)


def sharpness(frames: Frames) -> float:
    """Say how sharp a clip is: the variance of the Laplacian of its luma, in squared 8-bit levels.

    The four-neighbour Laplacian; Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000 (LAPV). It
    compares only frames of one size and content. Raises DataError when a side is under 3 pixels.
    """
    if min(frames.shape[-3:-1]) < 3:
        raise DataError(f"sharpness got frames of {frames.shape[-3]}x{frames.shape[-2]} pixels; it needs at least 3x3")
    luma = frames.astype(np.float64) @ LUMA
    inner = luma[..., 1:-1, 1:-1]
    around = luma[..., :-2, 1:-1] + luma[..., 2:, 1:-1] + luma[..., 1:-1, :-2] + luma[..., 1:-1, 2:]
    laplacian = around - 4.0 * inner
    return float(np.mean(laplacian.var(axis=(-2, -1))))


def colour_statistics(frames: Frames) -> ColourStatistics:
    """Measure brightness, contrast, saturation and colourfulness of a clip.

    Contrast is the standard deviation of luma; saturation is that of HSV; colourfulness is Hasler and Suesstrunk,
    "Measuring colourfulness in natural images", 2003, section 7 (0 grey, 15 slightly, 59 quite, 109 extremely
    colourful).
    """
    rgb = frames.astype(np.float64)
    luma = rgb @ LUMA / 255.0
    largest, smallest = rgb.max(axis=-1), rgb.min(axis=-1)
    red_green = rgb[..., 0] - rgb[..., 1]
    yellow_blue = 0.5 * (rgb[..., 0] + rgb[..., 1]) - rgb[..., 2]
    spread = math.hypot(float(red_green.std()), float(yellow_blue.std()))
    offset = math.hypot(float(red_green.mean()), float(yellow_blue.mean()))
    return ColourStatistics(
        brightness=float(luma.mean()),
        contrast=float(luma.std()),
        saturation=float(np.mean((largest - smallest) / np.maximum(largest, 1.0))),
        colourfulness=spread + 0.3 * offset,
    )


def motion_statistics(
    tracks: Sequence[Sequence[NDArray[np.floating]]], *, fps: float, dynamic_speed: float = 0.05
) -> MotionStatistics:
    """Measure how much moves, from the tracks of parsed objects rather than from optical flow.

    `tracks` holds for each clip the centroids of each object, `f 2` in picture heights, NaN where it was not seen.
    The speed of a clip is that of its fastest object, mean over frames; a clip is dynamic above `dynamic_speed`, and
    the dynamic degree is the share of such clips, as in VBench (Huang et al., 2024), which reads it from RAFT's flow
    instead. No clip: zeros.
    """
    speeds = [max((_mean_speed(track, fps) for track in clip), default=0.0) for clip in tracks]
    if not speeds:
        return MotionStatistics(mean_speed=0.0, dynamic_degree=0.0)
    moving = [speed > dynamic_speed for speed in speeds]
    return MotionStatistics(mean_speed=float(np.mean(speeds)), dynamic_degree=float(np.mean(moving)))


def is_permanent(tracks: Sequence[NDArray[np.floating]], *, aspect: float = 1.0, edge: float = 0.1) -> bool:
    """Say whether no object of a clip appears or vanishes: each lasts from beginning to end, but for hidden stretches.

    `tracks` are the centroids of its objects, `f 2` in picture heights, NaN where unseen; `aspect` is the picture's
    width over its height. An object may come and go within `edge` picture heights of the border, and miss one frame at
    either end. One that changes its colour is seen as two, neither of which lasts.
    """
    return all(_lasts(np.asarray(track, dtype=np.float64), aspect, edge) for track in tracks)


def bootstrap_interval(
    groups: Sequence[Sequence[float]], *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Give the mean of grouped values with its confidence interval, resampling whole groups.

    A group is what was drawn independently (a prompt, with one value for each seed): resampling groups keeps the
    likeness of values inside one. The mean is over all values. Percentile bootstrap: Efron, "Bootstrap methods",
    1979; by clusters: Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8. Empty groups
    are left out; without any value all numbers are NaN.
    """
    sums = np.array([math.fsum(group) for group in groups if len(group)], dtype=np.float64)
    counts = np.array([len(group) for group in groups if len(group)], dtype=np.float64)
    if not len(sums):
        return Interval(mean=math.nan, low=math.nan, high=math.nan, count=0)
    drawn = np.random.default_rng(seed).integers(0, len(sums), size=(resamples, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(mean=float(sums.sum() / counts.sum()), low=float(low), high=float(high), count=len(sums))


def mean_over_frames(metric: Callable[[Frames, Frames], float], reference: Frames, frames: Frames) -> float:
    """Apply a two-clip metric to each pair of frames and give the mean, as codecs report PSNR and SSIM."""
    _require_same_shape(reference, frames)
    return float(np.mean([metric(a[None], b[None]) for a, b in zip(reference, frames, strict=True)]))


def _mean_speed(track: NDArray[np.floating], fps: float) -> float:
    steps = np.hypot(*np.diff(np.asarray(track, dtype=np.float64), axis=0).T)
    seen = steps[np.isfinite(steps)]
    return float(seen.mean() * fps) if len(seen) else 0.0


def _lasts(track: NDArray[np.float64], aspect: float, edge: float) -> bool:
    seen = np.flatnonzero(np.isfinite(track).all(axis=1))
    if not len(seen):
        return False
    ends = ((seen[0], seen[0]), (seen[-1], len(track) - 1 - seen[-1]))
    return all(missing <= 1 or _is_at_edge(track[frame], aspect, edge) for frame, missing in ends)


def _is_at_edge(place: NDArray[np.float64], aspect: float, edge: float) -> bool:
    x, y = place
    return bool(min(x, aspect - x, y, 1.0 - y) < edge)


def _gaussian(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blur the last two axes with the 11-tap window of SSIM, keeping only where it fits."""
    window = np.exp(-(np.arange(-5.0, 6.0) ** 2) / (2.0 * 1.5**2))
    window /= window.sum()
    rows = np.lib.stride_tricks.sliding_window_view(picture, 11, axis=-2) @ window
    return np.lib.stride_tricks.sliding_window_view(rows, 11, axis=-1) @ window


def _require_same_shape(reference: Frames, frames: Frames) -> None:
    if reference.shape != frames.shape:
        raise DataError(
            f"got a reference of shape {reference.shape} and frames of shape {frames.shape}; give equal shapes"
        )
