"""Where one shot ends and the next begins: hard cuts, and the fades and dissolves that a cut detector cannot see.

Cuts come from PySceneDetect's adaptive detector and, in fast motion, from a change that stands out from those around
it; flashes, which come back to what they left, are no cuts. A gradual transition is
recognised by what it is: during a dissolve every picture is a blend x = (1 - a) A + a B of the picture before and the
picture after, with `a` growing evenly; a fade is a dissolve from or to one flat colour.
"""

from collections import deque
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from kinema.media import Frame

LENGTHS = (6, 8, 11, 15, 20, 27, 36, 48, 64)
"""Lengths, in frames, of the gradual transitions that are tried; one in between is found by its nearest."""

_THUMBNAIL = (24, 14)
_CONTEXT = 4
"""Frames on each side of a transition that must belong to what it joins."""
_FAR = 14.0
"""Least difference of the pictures that a gradual transition joins: root mean square, of 255."""
_ALIKE = 0.85
"""Correlation above which two pictures show one scene: a gesture or a lamp, no dissolve."""
_OFF_BLEND = 0.30
"""Largest part of the difference that the pictures between may leave unexplained as a blend."""
_UNEVEN = 0.17
"""Largest departure of the blend's share from even growth."""
_SUDDEN = 2.5
"""How much more a cut changes than the frames around it do, where the detector of cuts is lost in fast motion."""
_OUTSIDE = 0.5
"""Largest pace of the blend just outside of a transition, as a share of its pace inside."""
_FLASH = 4
"""Frames after which the old picture may be back, so that it was a flash and no cut."""
_BACK = 0.45
"""Part of a cut's difference that may be left for the old picture to count as back."""
_SPAN = LENGTHS[-1] + 2 * _CONTEXT
"""Frames that a gradual transition and its surroundings may take."""


@dataclass(frozen=True)
class Transition:
    """The old shot ends before frame `first`, the new one begins with frame `last`; a cut has both equal."""

    kind: Literal["cut", "gradual"]
    first: int
    last: int


@dataclass(frozen=True)
class _Candidate:
    first: int
    last: int
    misfit: float


class ShotFinder:
    """Takes the pictures of a file one by one, keeps the last hundred, and names transitions once they are certain."""

    REACH = 3 * _SPAN
    """Pictures that lie at least so far back belong to no transition but those that were named."""

    def __init__(self, fps: float) -> None:
        self._fps = max(float(fps), 1.0)
        self._detector = AdaptiveDetector(min_scene_len=1)
        self._recent: deque[NDArray[np.float32]] = deque(maxlen=LENGTHS[-1] + 2 * _CONTEXT + 1)
        self._count = 0
        self._cuts: list[int] = []
        self._flashes: set[int] = set()
        self._best: list[_Candidate] = []
        self._last_cut = -2
        self._named = 0

    def add(self, picture: Frame) -> None:
        """Look at the next picture, "h w 3" RGB, all of one size."""
        stamp = FrameTimecode(self._count, fps=self._fps)
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        self._cuts += [cut.frame_num for cut in self._detector.process_frame(stamp, bgr)]
        self._recent.append(cv2.resize(picture, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32).ravel())
        self._count += 1
        self._look_for_cut()
        self._look_for_blend()

    def settled(self) -> list[Transition]:
        """The transitions that became certain since the last call, in order: no later picture can change them."""
        return self._take(self._count - 2 * _SPAN)

    def finish(self) -> list[Transition]:
        """All transitions that were not named yet, in order."""
        return self._take(self._count + 1)

    def _take(self, horizon: int) -> list[Transition]:
        """The transitions that end before a frame; gradual ones swallow the cuts inside them."""
        found = [
            Transition("gradual", best.first, best.last) for best in self._best if self._named <= best.last < horizon
        ]
        for cut in sorted({each for each in self._cuts if each < horizon}):
            inside = any(best.first - 1 <= cut <= best.last + 1 for best in self._best)
            if cut not in self._flashes and not inside and cut > self._last_cut + 1:
                found.append(Transition("cut", cut, cut))
                self._last_cut = cut
        self._cuts = [each for each in self._cuts if each >= horizon]
        self._best = [best for best in self._best if best.last >= horizon - _SPAN]
        self._named = horizon
        self._flashes = {each for each in self._flashes if each >= horizon}
        return sorted(found, key=lambda each: each.first)

    def _look_for_cut(self) -> None:
        """Did the picture of a few frames ago begin something new, and is the old one back since?"""
        center = len(self._recent) - 1 - _FLASH
        if center < 1:
            return
        frames = self._recent
        before, change = frames[center - 1], _distance(frames[center - 1], frames[center])
        if change < _FAR:
            return
        number = self._count - 1 - _FLASH
        around = [k for k in range(max(1, center - 3), center + 4) if k != center]
        if change > _SUDDEN * max(_distance(frames[k - 1], frames[k]) for k in around):
            self._cuts.append(number)
        for later in range(1, _FLASH + 1):
            if _distance(before, frames[center + later]) < _BACK * change:
                self._flashes |= {number, number + later}
                return

    def _look_for_blend(self) -> None:
        frames = self._recent
        for length in LENGTHS:
            if len(frames) < length + 2 * _CONTEXT + 1:
                return
            end = len(frames) - 1 - _CONTEXT
            misfit = _misfit(frames, end - length, end)
            if misfit is not None:
                last = self._count - 1 - _CONTEXT
                self._keep(_Candidate(last - length + 1, last, misfit))

    def _keep(self, found: _Candidate) -> None:
        """Of candidates that overlap, the one that a blend fits best stands for the transition."""
        while self._best and self._best[-1].last >= found.first:
            if self._best[-1].misfit <= found.misfit:
                return
            self._best.pop()
        self._best.append(found)


def _misfit(frames: deque[NDArray[np.float32]], start: int, end: int) -> float | None:
    """How badly the pictures between `start` and `end` are even blends of the two; None when they are none."""
    old, new = frames[start], frames[end]
    across = new - old
    size = float(np.sqrt(np.mean(across * across)))
    if size < _FAR or _show_one_scene(old, new):
        return None
    if max(_distance(frames[start - _CONTEXT], old), _distance(new, frames[end + _CONTEXT])) > 0.5 * size:
        return None
    # before and after, the picture must not move along the same line: a pan does, and so does a longer dissolve
    around = np.stack([old - frames[start - _CONTEXT], frames[end + _CONTEXT] - new])
    if np.abs(around @ across).max() / float(across @ across) > _OUTSIDE * _CONTEXT / (end - start):
        return None
    middle = frames[(start + end) // 2] - old
    share = float(middle @ across) / float(across @ across)
    if not 0.25 < share < 0.75:
        return None
    between = np.stack([frames[index] for index in range(start + 1, end)]) - old
    shares = between @ across / float(across @ across)
    left = between - shares[:, None] * across
    off = float(np.sqrt(np.mean(left * left, axis=1)).max()) / size
    even = np.arange(1, end - start) / (end - start)
    uneven = float(np.abs(shares - even).max())
    largest_step = float(np.diff(shares, prepend=0.0, append=1.0).max())
    if off > _OFF_BLEND or uneven > _UNEVEN or largest_step > max(0.34, 4 / (end - start)):
        return None
    return uneven + 0.3 * off


def _show_one_scene(old: NDArray[np.float32], new: NDArray[np.float32]) -> bool:
    """Whether two pictures are the same but for what moved or how it is lit: alike in pattern, and in contrast.

    The ends of a fade are alike in pattern only.
    """
    one, other = old - old.mean(), new - new.mean()
    spreads = float(np.linalg.norm(one)), float(np.linalg.norm(other))
    alike = float(one @ other) > _ALIKE * spreads[0] * spreads[1]
    return alike and min(spreads) > 0.7 * max(spreads)


def _distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    step = one - other
    return float(np.sqrt(np.mean(step * step)))
