"""How fast a clip moves by the motion vectors of its codec: the encoder looked for them, the decoder reads them.

A vector says where in another picture a block was taken from. Only those of pictures predicted from the past alone (P)
count: the encoder takes them from the last such picture as a rule, so the time that a vector spans is known, and
together these spans are all of the clip. A picture between (B) may be taken from several others, and the decoder tells
no more of each than whether it lies before or after. Blocks without a vector (intra) are left out: the encoder found
nothing that they came from, which says that they changed, not how far they moved.
"""

from collections import deque
from dataclasses import dataclass

import av
import numpy as np
from av.sidedata.motionvectors import MotionVectors
from av.video.frame import PictureType

from kinema.data.frames import Picture

_BETWEEN = (PictureType.B, PictureType.BI)


@dataclass(frozen=True)
class _Step:
    """From picture `first` to `last`: way (longer sides) and time (seconds) of all blocks, each by its area."""

    first: int
    last: int
    way: float
    time_s: float


class Vectors:
    """Takes the pictures of a file one by one, decoded with their vectors; gives the motion of runs of them.

    At most `per_second` pictures for each second of the file are looked into: what costs is to reach their vectors.
    """

    def __init__(self, per_second: float = 4.0) -> None:
        self._step_s = 1 / per_second - 1e-4
        self._due_s = -float("inf")
        self._steps: deque[_Step] = deque()
        self._last: tuple[int, float] | None = None

    def add(self, picture: Picture) -> None:
        """Look at the next picture."""
        if picture.frame.pict_type in _BETWEEN:
            return
        before, self._last = self._last, (picture.index, picture.time_s)
        if before is None or picture.time_s < self._due_s or (found := _vectors(picture.frame)) is None:
            return
        self._due_s = picture.time_s + self._step_s
        area, way = _way(found, picture)
        self._steps.append(_Step(before[0], picture.index, way, area * (picture.time_s - before[1])))

    def forget(self, first: int) -> None:
        """Pictures before `first` are not asked for again."""
        while self._steps and self._steps[0].first < first:
            self._steps.popleft()

    def take(self, first: int, last: int) -> float | None:
        """Mean motion of pictures `first` to `last` (exclusive), in longer sides per second.

        None where no picture has vectors that reach to another one of them. Older pictures are forgotten.
        """
        self.forget(first)
        steps = [each for each in self._steps if each.last < last]
        spent = sum(each.time_s for each in steps)
        return sum(each.way for each in steps) / spent if spent else None


def _vectors(frame: av.VideoFrame) -> MotionVectors | None:
    """The vectors of a frame; none where PyAV does not know a kind of data beside them, and so gives no data at all."""
    try:
        found = frame.side_data.get("MOTION_VECTORS")
    except ValueError:
        return None
    return found if isinstance(found, MotionVectors) else None


def _way(found: MotionVectors, picture: Picture) -> tuple[float, float]:
    """Area of the blocks that were taken from before, and that times their mean way, in longer sides as shown."""
    vectors = found.to_ndarray()
    areas = vectors["w"].astype(np.float32) * vectors["h"]
    right, down = vectors["motion_x"].astype(np.float32) * picture.aspect, vectors["motion_y"].astype(np.float32)
    ways = np.sqrt(right * right + down * down) / np.maximum(vectors["motion_scale"], 1)
    return float(areas.sum()), float(areas @ ways) / max(picture.frame.width * picture.aspect, picture.frame.height)
