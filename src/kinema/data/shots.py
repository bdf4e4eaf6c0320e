"""Where one shot ends and the next begins: hard cuts, and the fades and dissolves that a cut detector cannot see.

Cuts come from the rule of PySceneDetect's adaptive detector and, in fast motion, from a change that stands out from
those around it; flashes, which come back to what they left, are no cuts. A gradual transition is recognised by what it
is: during a dissolve every picture is a blend x = (1 - a) A + a B of the picture before and the picture after, with `a`
growing evenly; a fade is a dissolve from or to one flat colour.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from kinema.data.hard_cuts import HardCutFinder
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
_LEEWAY = 0.01
"""Share by which a quick look at a blend may be wrong: what it passes is looked at closely."""


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

    def __init__(self) -> None:
        self._hard_cuts = HardCutFinder()
        self._recent = _Recent(_SPAN + 1)
        self._count = 0
        self._cuts: list[int] = []
        self._flashes: set[int] = set()
        self._best: list[_Candidate] = []
        self._last_cut = -2
        self._named = 0

    def add(self, picture: Frame) -> None:
        """Look at the next picture, "h w 3" RGB, all of one size."""
        cut = self._hard_cuts.add(picture)
        if cut is not None:
            self._cuts.append(cut)
        self._recent.add(cv2.resize(picture, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32).ravel())
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
        frames = self._recent.frames
        center = len(frames) - 1 - _FLASH
        if center < 1:
            return
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
        frames = self._recent.frames
        end = len(frames) - 1 - _CONTEXT
        for length in self._recent.worth_a_look():
            misfit = _misfit(frames, end - length, end)
            if misfit is not None:
                first, last = _widen(frames, end - length, end)
                oldest = self._count - len(frames)
                self._keep(_Candidate(oldest + first + 1, oldest + last, misfit))

    def _keep(self, found: _Candidate) -> None:
        """Of candidates that overlap, the one that a blend fits best stands for the transition."""
        while self._best and self._best[-1].last >= found.first:
            if self._best[-1].misfit <= found.misfit:
                return
            self._best.pop()
        self._best.append(found)


class _Recent:
    """The last pictures of a file as rows, and what a quick look at a blend needs of each."""

    def __init__(self, most: int) -> None:
        size = 3 * _THUMBNAIL[0] * _THUMBNAIL[1]
        self._most = most
        self._rows = np.empty((4 * most, size), np.float32)
        self._facts = np.empty((4 * most, 3))  # mean, length as a vector, distance to the picture `_CONTEXT` before
        self._end = 0

    @property
    def frames(self) -> NDArray[np.float32]:
        """The pictures, oldest first."""
        return self._rows[max(0, self._end - self._most) : self._end]

    def add(self, row: NDArray[np.float32]) -> None:
        """Take the next picture; the oldest one goes."""
        if self._end == len(self._rows):
            kept = self._most - 1
            self._rows[:kept], self._facts[:kept] = self._rows[-kept:], self._facts[-kept:]
            self._end = kept
        before = self._rows[self._end - _CONTEXT] if self._end >= _CONTEXT else row
        self._rows[self._end] = row
        self._facts[self._end] = float(row.mean()), float(np.linalg.norm(row)), _distance(before, row)
        self._end += 1

    def worth_a_look(self) -> list[int]:
        """The lengths of blends that may just have ended, by the conditions that are cheap to tell for all at once."""
        begin = max(0, self._end - self._most)
        end = self._end - 1 - _CONTEXT
        lengths = np.array([length for length in LENGTHS if end - length - _CONTEXT >= begin])
        if not len(lengths):
            return []
        new, (new_mean, new_size, _) = self._rows[end], self._facts[end]
        calm_after = self._facts[end + _CONTEXT, 2]
        old_mean, old_size, calm_before = self._facts[end - lengths].T
        num = len(new)
        products = (self._rows[end - lengths] @ new).astype(np.float64)
        apart = np.sqrt(np.maximum(old_size**2 + new_size**2 - 2 * products, 0) / num)
        calm = np.maximum(calm_before, calm_after) <= (0.5 + _LEEWAY) * apart
        spreads = [np.sqrt(np.maximum(size**2 - num * mean**2, 0))
                   for size, mean in ((old_size, old_mean), (new_size, new_mean))]  # fmt: skip
        alike = products - num * old_mean * new_mean > (_ALIKE + _LEEWAY) * spreads[0] * spreads[1]
        one_scene = alike & (np.minimum(*spreads) > (0.7 + _LEEWAY) * np.maximum(*spreads))
        return [int(length) for length in lengths[(apart >= (1 - _LEEWAY) * _FAR) & calm & ~one_scene]]


def _misfit(frames: NDArray[np.float32], start: int, end: int) -> float | None:
    """How badly the pictures between `start` and `end` are even blends of the two; None when they are none.

    Most are none, so what is cheap to tell is asked first: whether three of the pictures are what they should be.
    """
    old, new = frames[start], frames[end]
    across = new - old
    length = float(across @ across)
    size = (length / len(across)) ** 0.5
    if size < _FAR:
        return None
    some = np.array([1, 2, 3]) * (end - start) // 4
    between = frames[start + some] - old
    shares = between @ across / length
    left = between - shares[:, None] * across
    off = float(np.einsum("ij,ij->i", left, left).max()) / length
    if off > (_OFF_BLEND + _LEEWAY) ** 2 or np.abs(shares - some / (end - start)).max() > _UNEVEN + _LEEWAY:
        return None
    # before and after, the picture must not move along the same line: a pan does, and so does a longer dissolve
    around = old - frames[start - _CONTEXT], frames[end + _CONTEXT] - new
    if max(abs(float(step @ across)) for step in around) / length > _OUTSIDE * _CONTEXT / (end - start):
        return None
    if max(float(step @ step) for step in around) > 0.25 * length:
        return None
    between = frames[start + 1 : end] - old
    shares = between @ across / length
    even = np.arange(1, end - start) / (end - start)
    uneven = float(np.abs(shares - even).max())
    largest_step = float(np.diff(shares, prepend=0.0, append=1.0).max())
    if uneven > _UNEVEN or largest_step > max(0.34, 4 / (end - start)):
        return None
    left = between - shares[:, None] * across
    off = float(np.sqrt(np.mean(left * left, axis=1)).max()) / size
    if off > _OFF_BLEND or _show_one_scene(old, new):
        return None
    return uneven + 0.3 * off


def _widen(frames: NDArray[np.float32], start: int, end: int) -> tuple[int, int]:
    """The ends of a blend of which the pictures from `start` to `end` are a part: it goes on while its pace does.

    `_OUTSIDE` lets a length that was tried be shorter than the blend by two pictures at each end. What changes in them
    is no cut, though at the edge of black, where hue and saturation appear or are lost, it looks like one.
    """
    across = frames[end] - frames[start]
    pace = float(across @ across) / (end - start)

    def goes_on(before: int, after: int) -> bool:
        return 0.5 * pace < float((frames[after] - frames[before]) @ across) < 2 * pace

    first, last = start, end
    while first > start - _CONTEXT and goes_on(first - 1, first):
        first -= 1
    while last < end + _CONTEXT and goes_on(last, last + 1):
        last += 1
    return first, last


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
    return float(step @ step / len(step)) ** 0.5
