"""Numbers that say whether a clip is worth learning from, computed from its pictures; nothing is decided here."""

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kinema.media import Frame

COLUMNS = pa.schema(
    [
        pa.field("motion", pa.float32()),
        pa.field("codec_motion", pa.float32()),
        pa.field("camera", pa.string()),
        pa.field("sharpness", pa.float32()),
        pa.field("brightness", pa.float32()),
        pa.field("contrast", pa.float32()),
        pa.field("clipped_share", pa.float32()),
        pa.field("flicker", pa.float32()),
        pa.field("black_share", pa.float32()),
        pa.field("frozen_share", pa.float32()),
        pa.field("text_share", pa.float32()),
        pa.field("watermark_share", pa.float32()),
        pa.field("crop_left", pa.float32()),
        pa.field("crop_top", pa.float32()),
        pa.field("crop_right", pa.float32()),
        pa.field("crop_bottom", pa.float32()),
    ]
)
"""The columns of the scores; `docs/data.md` says what each is and in which unit."""

_LEVELS = np.arange(256.0)
_BLACK = 20.0
_STILL = 0.6
"""Mean difference of two pictures, of 255, below which they are the same one."""
_FLAT_BAR = 7.0
"""Spread of the levels within a line of a bar, of 255."""
_LARGEST_BAR = 0.3
_SMALLEST_BAR = 0.02
_STROKE = 140
"""Contrast of a stroke of text against its ground, of 255."""
_LETTERS = (6, 8, 11, 15, 20)
"""Heights of lines of text that are tried, in pixels."""
_TURNS = 1.6
"""Crossings from stroke to ground or back, in a stretch as long as the line is high."""
_CALM = 0.4
"""Crossings just above and below a line of text, as a share of those inside."""
_EDGE = 40
"""Gradient (Sobel) above which a pixel is an edge."""
_MOST_STILL = 0.35
"""Share of the edges that may stay in place for the others to count as moving."""
_SMALLEST_FLOW = 16
"""Shorter side, in pixels, of pictures in which motion is looked for."""
_AROUND = 20
"""Pixels around a mark that count as its surroundings."""

Gray = NDArray[np.uint8]


@dataclass(frozen=True)
class Crop:
    """Share of the picture that bars take at each side."""

    left: float = 0.0
    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0

    def apply(self, picture: Frame) -> Frame:
        """Cut the bars off "h w 3" or "f h w 3"."""
        height, width = picture.shape[-3:-1]
        rows = slice(round(self.top * height), height - round(self.bottom * height))
        columns = slice(round(self.left * width), width - round(self.right * width))
        return picture[..., rows, columns, :]


def measure(pictures: Sequence[Frame], times: Sequence[float], codec_motion: float | None = None) -> dict[str, Any]:
    """Give the values of `COLUMNS` for pictures "h w 3" of one size, at `times` in seconds.

    `codec_motion` is what the file's own motion vectors say, which pictures do not show.
    """
    crop = find_bars(pictures)
    inside = [crop.apply(picture) for picture in pictures]
    grays = [np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8) for picture in inside]
    counts = np.array([cv2.calcHist([gray], [0], None, [256], [0, 256]).ravel() for gray in grays], np.float64)
    shares = counts / grays[0].size
    levels = shares @ _LEVELS
    spreads = np.sqrt(np.maximum(shares @ _LEVELS**2 - levels**2, 0))
    steps = np.array([cv2.norm(a, b, cv2.NORM_L1) / a.size for a, b in itertools.pairwise(grays)] or [0.0])
    side = max(grays[0].shape)
    speeds, fits = [], []
    for flow, span in zip(_flows(grays), np.diff(times), strict=True):
        speeds.append(float(cv2.magnitude(flow[..., 0], flow[..., 1]).mean()) / side / span)
        fits.append(_similarity(flow) / max(span, 1e-3))
    return {
        "motion": float(np.median(speeds)) if speeds else 0.0,
        "codec_motion": codec_motion,
        "camera": camera_motion(fits, side),
        "sharpness": float(
            np.median([cv2.meanStdDev(cv2.Laplacian(gray, cv2.CV_16S))[1].item() ** 2 for gray in grays])
        ),
        "brightness": float(levels.mean()) / 255,
        "contrast": float(spreads.mean()) / 255,
        "clipped_share": float((shares[:, :3].sum() + shares[:, 253:].sum()) / len(grays)),
        "flicker": _flicker(levels),
        "black_share": float((levels < _BLACK).mean()),
        "frozen_share": float((steps < _STILL).mean()),
        "text_share": float(np.median([text_share(gray) for gray in grays])),
        "watermark_share": watermark_share(grays),
        "crop_left": crop.left,
        "crop_top": crop.top,
        "crop_right": crop.right,
        "crop_bottom": crop.bottom,
    }


def find_bars(pictures: Sequence[Frame]) -> Crop:
    """Find dark, even bars that stand at the edges throughout the clip: letterbox and pillarbox.

    A bar is cut with one line to spare, and counts only where bars stand on both sides of the picture.
    """
    peak, low = functools.reduce(np.maximum, pictures), functools.reduce(np.minimum, pictures)
    peak, low = np.maximum.reduce([*np.moveaxis(peak, 2, 0)]), np.minimum.reduce([*np.moveaxis(low, 2, 0)])
    if peak.max() < 2 * _BLACK:
        return Crop()  # all black: nothing stands between the bars
    top, bottom = _bar_lengths(peak, peak - low)
    left, right = _bar_lengths(peak.T, (peak - low).T)
    return Crop(left=left, top=top, right=right, bottom=bottom)


def camera_motion(fits: Sequence[NDArray[np.float64]], side: int) -> str:
    """Name what the camera does: static, pan left, pan right, tilt up, tilt down, zoom in, zoom out, roll, or shaky.

    Each fit is that of the flow of the whole picture by shift, scale and turn (least squares), per second; where it
    explains little, the motion is the objects' and the camera counts as static.
    """
    if not fits:
        return "static"
    moves = np.median(fits, axis=0)  # shift right, shift down, growth, turn: pixels or shares per second
    wobble = np.median(np.abs(np.array(fits)[:, :2] - moves[:2])) / side
    reach = np.abs(moves) * np.array([1 / side, 1 / side, 0.35, 0.35])
    if wobble > 0.08 and wobble > 2 * reach.max():
        return "shaky"
    if reach.max() < 0.02:
        return "static"
    names = (("pan right", "pan left"), ("tilt down", "tilt up"), ("zoom in", "zoom out"), ("roll", "roll"))
    axis = int(reach.argmax())
    positive = moves[axis] < 0 if axis < 2 else moves[axis] > 0  # the picture moves against the camera
    return names[axis][0 if positive else 1]


def text_share(gray: Gray) -> float:
    """Share of the picture that looks like overlaid text: lines of thin strokes of full contrast, calm above and below.

    A line of text of height h crosses from stroke to ground and back several times in any stretch of h; five heights
    are tried. Text of less contrast than `_STROKE` is taken for a part of the scene.
    """
    kernel = np.ones((5, 5), np.uint8)
    bright, dark = (cv2.morphologyEx(gray, way, kernel) for way in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT))
    strokes = (np.maximum(bright, dark) > _STROKE).astype(np.float32)
    turns = np.abs(np.diff(strokes, axis=1, prepend=0)).astype(np.float32)
    covered = np.zeros(gray.shape, np.bool_)
    if not strokes.any():
        return 0.0
    for tall in _LETTERS:
        wide, edge = 4 * tall, max(2, tall // 3)
        if wide > gray.shape[1] or 3 * tall > gray.shape[0]:
            continue
        inside = cv2.boxFilter(turns, -1, (wide, tall), borderType=cv2.BORDER_CONSTANT) * tall
        if inside.max() <= _TURNS:
            continue
        beside = cv2.boxFilter(turns, -1, (wide, edge), borderType=cv2.BORDER_CONSTANT) * tall
        off = (tall + edge) // 2 + 1
        above, below = np.zeros_like(beside), np.zeros_like(beside)
        above[off:], below[:-off] = beside[:-off], beside[off:]
        line = (inside > _TURNS) & (np.maximum(above, below) < _CALM * inside)
        covered |= cv2.dilate(line.astype(np.uint8), np.ones((tall, wide // 2), np.uint8)) > 0
    return float(covered.mean())


def watermark_share(grays: Sequence[Gray]) -> float:
    """Share of the picture with edges that stay in place while those around them move.

    0 where most edges stay: before a camera that stands still, a mark cannot be told from the scene. An edge along the
    motion stays too, so a mark must have edges both ways. The middle of the picture does not count: the still point of
    a zoom lies there.
    """
    if len(grays) < 4:
        return 0.0
    gradients = np.empty((len(grays), 2, *grays[0].shape), np.int16)
    num_edges, num_half = np.zeros((2, *grays[0].shape), np.uint16)
    for gray, (right, down) in zip(grays, gradients, strict=True):
        cv2.spatialGradient(gray, right, down)
        strength = np.square(right, dtype=np.float32)  # whole numbers below 2^24
        strength += np.square(down, dtype=np.float32)
        num_edges += strength > _EDGE**2
        num_half += strength > _EDGE**2 / 2
    edges = num_edges / len(grays)
    # a median is strong in one direction only where half of the gradients are: the others are not looked at
    often = num_half >= len(grays) // 2
    lasting = gradients[:, :, often]
    strong = _quantile(lasting, 0.5)
    steady = np.hypot(*strong)
    spread = np.sqrt(_quantile(np.square(lasting - strong).sum(axis=1), 0.75))
    still = np.zeros(often.shape, np.bool_)
    still[often] = (steady > _EDGE) & (spread < 0.5 * steady)
    if not still.any() or still.mean() > _MOST_STILL * edges.mean():
        return 0.0
    middle = np.zeros(gradients.shape[1:], np.float32)
    middle[:, often] = strong
    marks = cv2.morphologyEx(still.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    marks = cv2.morphologyEx(marks, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(marks)
    area = 0
    for number in range(1, count):
        left, top, wide, tall, size = boxes[number]
        across, down = (float(np.abs(each[(labels == number) & still]).sum()) for each in middle)
        rows = slice(max(0, top - _AROUND), top + tall + _AROUND)
        columns = slice(max(0, left - _AROUND), left + wide + _AROUND)
        others = labels[rows, columns] != number
        off_center = np.abs([(left + wide / 2) / labels.shape[1] - 0.5, (top + tall / 2) / labels.shape[0] - 0.5])
        lonely = (still[rows, columns] & others).sum() <= _MOST_STILL * (edges[rows, columns] * others).sum()
        if size >= 12 and off_center.max() > 0.2 and min(across, down) > 0.35 * max(across, down) and lonely:
            area += int(size)
    return area / marks.size


def _quantile(values: NDArray[Any], share: float) -> NDArray[np.float32]:
    """The same as numpy's along the first axis, by sorting: for few values in many places it is five times as fast."""
    ordered = np.array(np.moveaxis(values, 0, -1), order="C")
    ordered.sort(axis=-1)
    place = share * (len(values) - 1)
    below = ordered[..., int(place)].astype(np.float32)
    above = ordered[..., min(int(place) + 1, len(values) - 1)].astype(np.float32)
    return below + (above - below) * np.float32(place - int(place))


def _bar_lengths(peak: Gray, change: Gray) -> tuple[float, float]:
    """Share of lines from each end that are dark and do not change; both or neither."""
    count = len(peak)
    least = max(1, int(_SMALLEST_BAR * count))
    if not (_are_bars(peak[:least], change[:least]).all() and _are_bars(peak[-least:], change[-least:]).all()):
        return 0.0, 0.0  # as in most clips, which the outermost lines tell
    bar = _are_bars(peak, change)
    first = int(np.argmin(bar)) if not bar.all() else 0
    last = int(np.argmin(bar[::-1])) if not bar.all() else 0
    shares = first / count, last / count
    if min(shares) < _SMALLEST_BAR or max(shares) > _LARGEST_BAR or abs(first - last) > 0.02 * count + 2:
        return 0.0, 0.0
    return (first + 1) / count, (last + 1) / count


def _are_bars(peak: Gray, change: Gray) -> NDArray[np.bool_]:
    """Of each line whether nearly all of it is dark and does not change."""
    return (np.percentile(peak, 95, axis=1) < 1.6 * _BLACK) & (np.percentile(change, 95, axis=1) < 2 * _FLAT_BAR)


def _flows(grays: Sequence[Gray]) -> Iterator[NDArray[np.float32]]:
    """Motion of each pixel from each picture to the next, in pixels, by dense inverse search (Kroeger et al. 2016).

    Zero where the pictures are too small for it.
    """
    if min(grays[0].shape) < _SMALLEST_FLOW:
        yield from (np.zeros((*gray.shape, 2), np.float32) for gray in grays[1:])
        return
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the flow depends on their number
    try:
        for a, b in itertools.pairwise(grays):
            yield np.asarray(search.calc(a, b, None), dtype=np.float32)  # type: ignore[call-overload]
    finally:
        cv2.setNumThreads(threads)


def _similarity(flow: NDArray[np.float32]) -> NDArray[np.float64]:
    """Shift right, shift down, growth and turn that fit a flow best; zero where they explain less than half of it."""
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[0:height:4, 0:width:4].astype(np.float64)
    x, y = (columns - width / 2).ravel(), (rows - height / 2).ravel()
    u, v = flow[::4, ::4, 0].ravel().astype(np.float64), flow[::4, ::4, 1].ravel().astype(np.float64)
    reach = float((x * x + y * y).sum())
    fit = np.array([np.median(u), np.median(v), (x * u + y * v).sum() / reach, (x * v - y * u).sum() / reach])
    left = np.hypot(u - fit[0] - fit[2] * x + fit[3] * y, v - fit[1] - fit[2] * y - fit[3] * x)
    total = np.hypot(u, v)
    return fit if np.median(left) < 0.5 * max(float(np.median(total)), 0.05) else np.zeros(4)


def _flicker(levels: NDArray[np.float64]) -> float:
    """Mean size of the brightness' ups and downs between pictures, as a share of white; slow changes are none."""
    if len(levels) < 3:
        return 0.0
    return float(np.abs(levels[2:] - 2 * levels[1:-1] + levels[:-2]).mean()) / 2 / 255
