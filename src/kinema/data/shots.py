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
_SIZE = 3 * _THUMBNAIL[0] * _THUMBNAIL[1]
_CONTEXT = 4
"""Frames on each side of a transition that must belong to what it joins; no less than `_FLASH`."""
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
_ONE_CONTRAST = 0.7
"""Least share of the larger contrast that the smaller one must be, for two pictures to show one scene."""
_AT_ONCE = 32
"""Pictures that are looked at together."""


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
        self._recent = _Recent()
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
        small = cv2.resize(picture, _THUMBNAIL, interpolation=cv2.INTER_AREA)
        self._recent.add(np.asarray(small, dtype=np.uint8))
        self._count += 1
        if self._recent.num_due == _AT_ONCE:
            self._look()

    def settled(self) -> list[Transition]:
        """The transitions that became certain since the last call, in order: no later picture can change them."""
        self._look()
        return self._take(self._count - 2 * _SPAN)

    def finish(self) -> list[Transition]:
        """All transitions that were not named yet, in order."""
        self._look()
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

    def _look(self) -> None:
        """Look at the pictures that have enough others on both sides by now."""
        if self._recent.num_due <= 0:
            return
        frames, due, oldest = self._recent.take()
        products, means = _inner(frames)
        sizes = np.diag(products)
        apart = sizes[:, None] + sizes - 2 * products
        for center in due[due > 0]:
            self._look_for_cut(apart, int(center), oldest)
        for start, end in _worth_a_look(apart, products, means, due):
            misfit = _misfit(frames, start, end)
            if misfit is not None:
                first, last = _widen(frames, start, end)
                self._keep(_Candidate(oldest + first + 1, oldest + last, misfit))

    def _look_for_cut(self, apart: NDArray[np.float64], center: int, oldest: int) -> None:
        """Does this picture begin something new, and is the old one back soon after?"""
        change = apart[center - 1, center]
        if change < _FAR**2 * _SIZE:
            return
        around = [k for k in range(max(1, center - 3), center + 4) if k != center]
        if change > _SUDDEN**2 * max(apart[k - 1, k] for k in around):
            self._cuts.append(oldest + center)
        for later in range(1, _FLASH + 1):
            if apart[center - 1, center + later] < _BACK**2 * change:
                self._flashes |= {oldest + center, oldest + center + later}
                return

    def _keep(self, found: _Candidate) -> None:
        """Of candidates that overlap, the one that a blend fits best stands for the transition."""
        while self._best and self._best[-1].last >= found.first:
            if self._best[-1].misfit <= found.misfit:
                return
            self._best.pop()
        self._best.append(found)


class _Recent:
    """The last pictures of a file as rows: those that are due to be looked at, and as many before as that needs."""

    def __init__(self) -> None:
        self._rows = np.empty((4 * _SPAN, _SIZE), np.float32)
        self._end = self._seen = self._oldest = 0

    @property
    def num_due(self) -> int:
        """How many pictures were not taken yet and have all those after them that they are compared with."""
        return self._end - _CONTEXT - self._seen

    def add(self, thumbnail: Frame) -> None:
        """Take the next picture; some of the oldest go when there is no room."""
        if self._end == len(self._rows):
            gone = self._seen - _SPAN
            self._rows[: self._end - gone] = self._rows[gone : self._end]
            self._end, self._seen, self._oldest = self._end - gone, self._seen - gone, self._oldest + gone
        self._rows[self._end] = thumbnail.ravel()
        self._end += 1

    def take(self) -> tuple[NDArray[np.float32], NDArray[np.int64], int]:
        """The pictures, which of them are due, and the number of the first; those are not due again."""
        begin = max(0, self._seen - _SPAN)
        due = np.arange(self._seen, self._end - _CONTEXT)
        self._seen = self._end - _CONTEXT
        return self._rows[begin : self._end], due - begin, self._oldest + begin


def _inner(frames: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The inner products of all pictures, less a middle grey, and their means.

    They are exact: whole numbers below 2^24, since a thumbnail has 1,008 of at most 128.
    """
    centered = frames - 128
    return (centered @ centered.T).astype(np.float64), centered.mean(axis=1, dtype=np.float64)


def _worth_a_look(
    apart: NDArray[np.float64], products: NDArray[np.float64], means: NDArray[np.float64], due: NDArray[np.int64]
) -> list[tuple[int, int]]:
    """The pictures between which there may be a blend that ends with one that is due, by what squared distances tell.

    The two differ and show different scenes; before and after, the picture stands nearly still and does not go on along
    the same line, as a pan does, and a longer dissolve; three pictures in between are what a blend would make of them.
    """
    lengths = np.array(LENGTHS)
    end, length = (each.ravel() for each in np.meshgrid(due, lengths, indexing="ij"))
    start = end - length
    is_there = start >= _CONTEXT
    end, length, start = end[is_there], length[is_there], start[is_there]
    before, after = start - _CONTEXT, end + _CONTEXT
    across = apart[start, end]
    calm = np.maximum(apart[before, start], apart[end, after]) <= 0.25 * across
    goes_on = np.maximum(
        np.abs(apart[before, end] - apart[before, start] - across),
        np.abs(apart[start, after] - apart[end, after] - across),
    )
    calm &= goes_on / 2 <= across * _OUTSIDE * _CONTEXT / length
    spread = np.sqrt(np.maximum(np.diag(products) - _SIZE * means**2, 0))
    alike = products[start, end] - _SIZE * means[start] * means[end] > _ALIKE * spread[start] * spread[end]
    alike &= np.minimum(spread[start], spread[end]) > _ONE_CONTRAST * np.maximum(spread[start], spread[end])
    worth = (across >= _FAR**2 * _SIZE) & calm & ~alike
    end, length, start, across = (each[worth, None] for each in (end, length, start, across))
    steps = np.array([1, 2, 3]) * length // 4
    to_start = apart[start, start + steps]
    shares = (to_start + across - apart[start + steps, end]) / (2 * across)
    off = to_start / across - shares**2
    fits = (off.max(axis=1) <= _OFF_BLEND**2) & (np.abs(shares - steps / length).max(axis=1) <= _UNEVEN)
    return [(int(one), int(other)) for one, other in zip(start[fits, 0], end[fits, 0], strict=True)]


def _misfit(frames: NDArray[np.float32], start: int, end: int) -> float | None:
    """How badly the pictures between `start` and `end` are even blends of the two; None when they are none."""
    old = frames[start]
    across = frames[end] - old
    length = float(across @ across)
    between = frames[start + 1 : end] - old
    shares = between @ across / length
    even = np.arange(1, end - start) / (end - start)
    uneven = float(np.abs(shares - even).max())
    largest_step = float(np.diff(shares, prepend=0.0, append=1.0).max())
    if uneven > _UNEVEN or largest_step > max(0.34, 4 / (end - start)):
        return None
    left = between - shares[:, None] * across
    off = float(np.sqrt(np.einsum("ij,ij->i", left, left).max() / length))
    return uneven + 0.3 * off if off <= _OFF_BLEND else None


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
