"""One pass over a file: while its pictures go by, clips are planned, scored and hashed; no picture is decoded twice.

Memory depends on the longest clip, not on the file: of the pictures shown at each quarter of a second, a copy of 256
pixels is kept until its clip is whole, and what was known of pictures before it is forgotten.
"""

import itertools
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from kinema.data import dedup, scores
from kinema.data.frames import ANALYSIS_SIDE, VideoPacket, iter_pictures
from kinema.data.shots import Transition
from kinema.data.vectors import Vectors
from kinema.media import Frame

MOST_SCORED = 64
"""Pictures of a clip that scores are computed from."""

Run = tuple[int, int]
"""Pictures `first` to `last` (exclusive) of a file."""


class Times:
    """When each picture of a file is shown, but for those forgotten; the last one's end is known when all have come.

    And which of them are key frames, at which a file can be cut without loss.
    """

    def __init__(self) -> None:
        self._starts = array("d")
        self._keys: deque[int] = deque()
        self._gone = 0
        self.origin_s = 0.0
        self.end_s = 0.0

    def add(self, time_s: float, *, is_key: bool = False) -> None:
        """Take the time of the next picture."""
        if not len(self):
            self.origin_s = time_s
        if is_key:
            self._keys.append(len(self))
        self._starts.append(time_s)

    def forget(self, first: int) -> None:
        """Pictures before `first` are not asked for again; the last two stay."""
        while self._keys and self._keys[0] < first:
            self._keys.popleft()
        gone = min(first - self._gone, len(self._starts) - 2)
        if gone > 1000:
            del self._starts[:gone]
            self._gone += gone

    def close(self, fps: float) -> None:
        """The last picture is shown as long as the one before it."""
        step = self._starts[-1] - self._starts[-2] if len(self._starts) > 1 else 1 / fps
        self.end_s = self._starts[-1] + step

    def __len__(self) -> int:
        return self._gone + len(self._starts)

    def __getitem__(self, index: int) -> float:
        """Start of a picture; the index after the last gives the end of the file."""
        return self._starts[index - self._gone] if index < len(self) else self.end_s

    def edge(self, time_s: float, least_s: float, most_s: float, first: int, last: int) -> int:
        """Where to cut at about `time_s`: at the nearest key frame from `least_s` to `most_s`, else at any picture.

        It lies from `first` to `last`.
        """
        most_s += 1e-6  # times are sums
        keys = [key for key in self._keys if first <= key <= last and least_s <= self[key] <= most_s]
        return min(keys, key=lambda key: abs(self[key] - time_s)) if keys else self.nearest(time_s, first, last)

    def nearest(self, time_s: float, first: int, last: int) -> int:
        """The picture from `first` to `last` that starts nearest to a time."""
        after = self._gone + bisect_left(self._starts, time_s, first - self._gone, last - self._gone)
        if after == last or (after > first and time_s - self[after - 1] <= self[after] - time_s):
            return max(first, after - 1)
        return after


@dataclass(frozen=True)
class Piece:
    """A clip to be, or a shot that is too short for one: then it has no scores and no hash.

    Times are on the file's own clock, on which its first picture is shown at `origin_s`.
    """

    first: int
    last: int
    start_s: float
    end_s: float
    origin_s: float
    damaged: int
    is_short: bool
    scores: dict[str, Any] | None = None
    hashes: dict[str, Any] | None = None


class Planner(Protocol):
    """Says which runs of pictures are pieces, as early as it can."""

    def add(self, picture: Frame, times: Times) -> Iterable[Run]:
        """Look at the next picture; give the runs that are certain now, in order."""

    def finish(self, times: Times) -> Iterable[Run]:
        """Give the rest."""


class Finder(Protocol):
    """Names the transitions between shots, as `shots.ShotFinder` does."""

    REACH: int

    def add(self, picture: Frame) -> None:
        """Look at the next picture."""

    def settled(self) -> list[Transition]:
        """The transitions that became certain since the last call."""

    def finish(self) -> list[Transition]:
        """The rest."""


class ShotPlanner:
    """Shots, and parts of those that are longer than `max_s`.

    Without a finder, a file is one shot. A shot of at most twice that length is cut into equal parts; a longer one
    loses parts of `max_s` from its beginning until it is. A part ends at a key frame instead where one is near enough:
    such parts are copied, not encoded anew. None is shorter than `min_s`, or than half of what it would be. Pictures
    inside a gradual transition belong to no shot.
    """

    def __init__(self, finder: Finder | None, max_s: float, min_s: float = 0.0) -> None:
        self._finder = finder
        self._max_s, self._min_s = max_s, min_s
        self._begin = 0

    def add(self, picture: Frame, times: Times) -> Iterator[Run]:
        """Look at the next picture; give the runs that are certain now, in order."""
        if self._finder is not None:
            self._finder.add(picture)
        if len(times) % 32:
            return
        if self._finder is not None:
            yield from self._close(self._finder.settled(), times)
        certain = len(times) - 1 - (self._finder.REACH if self._finder is not None else 0)
        for run in self._whole_parts(self._begin, certain, times):
            yield run
            self._begin = run[1]

    def finish(self, times: Times) -> Iterator[Run]:
        """Give the rest."""
        if self._finder is not None:
            yield from self._close(self._finder.finish(), times)
        if self._begin < len(times):
            yield from self._parts(self._begin, len(times), times)

    def _close(self, transitions: Sequence[Transition], times: Times) -> Iterator[Run]:
        for transition in transitions:
            if transition.first > self._begin:
                yield from self._parts(self._begin, transition.first, times)
            self._begin = max(self._begin, transition.last)

    def _whole_parts(self, first: int, last: int, times: Times) -> Iterator[Run]:
        while last > first and times[last] - times[first] > 2 * self._max_s:
            most_s = times[first] + self._max_s
            least_s = times[first] + max(self._min_s, self._max_s / 2)
            edge = times.edge(most_s, least_s, most_s, first + 1, last)
            yield first, edge
            first = edge

    def _parts(self, first: int, last: int, times: Times) -> Iterator[Run]:
        for run in self._whole_parts(first, last, times):
            yield run
            first = run[1]
        count = max(1, -int(-(times[last] - times[first]) // self._max_s))
        for rest in range(count, 1, -1):
            even_s = (times[last] - times[first]) / rest
            shortest_s = max(self._min_s, even_s / 2)
            least_s = max(times[first] + shortest_s, times[last] - (rest - 1) * self._max_s)
            most_s = min(times[first] + self._max_s, times[last] - (rest - 1) * shortest_s)
            edge = times.edge(times[first] + even_s, least_s, most_s, first, last)
            if edge > first:
                yield first, edge
                first = edge
        if last > first:
            yield first, last


class KnownRuns:
    """The runs of an earlier pass, to be scored or hashed again."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs = deque(sorted(runs))

    def add(self, picture: Frame, times: Times) -> Iterator[Run]:  # noqa: ARG002 - the pictures are not looked at
        """Look at the next picture; give the runs that are certain now, in order."""
        while self._runs and self._runs[0][1] < len(times):
            yield self._runs.popleft()

    def finish(self, times: Times) -> Iterator[Run]:
        """Give the rest, as far as the file reaches."""
        return ((first, last) for first, last in self._runs if last <= len(times))


class Samples:
    """The pictures shown at every 1 / `per_second` of the file's clock, until they are taken or left behind.

    The grid belongs to the file, so a picture is sampled or not whatever the clip that it ends up in; a clip of
    1 / `per_second` or more has at least one.
    """

    def __init__(self, per_second: float, most: int) -> None:
        self._per_second, self._most = per_second, most
        self._kept: deque[tuple[int, float, Frame]] = deque()
        self._before: tuple[int, float, Frame] | None = None
        self._origin: float | None = None

    def add(self, index: int, time_s: float, picture: Frame) -> None:
        """Take the next picture; that tells until when the one before it was shown."""
        if self._origin is None:
            self._origin = time_s
        self._keep(time_s)
        self._before = index, time_s, picture

    def close(self, end_s: float) -> None:
        """The file ends."""
        self._keep(end_s)
        self._before = None

    def forget(self, first: int) -> None:
        """Samples before `first` are not asked for again."""
        while self._kept and self._kept[0][0] < first:
            self._kept.popleft()

    def take(self, first: int, last: int) -> tuple[list[Frame], list[float]]:
        """The samples of a run, `most` at most, and their times; older ones are forgotten."""
        self.forget(first)
        found = list(itertools.takewhile(lambda each: each[0] < last, self._kept))[: self._most]
        return [picture for _, _, picture in found], [time_s for _, time_s, _ in found]

    def _keep(self, until_s: float) -> None:
        """Keep the picture before when a point of the grid lies in [its start, `until_s`)."""
        if self._before is None or self._origin is None:
            return
        points = [np.ceil((time - self._origin) * self._per_second - 1e-6) for time in (self._before[1], until_s)]
        if points[0] < points[1]:
            self._kept.append(self._before)


def survey_file(
    path: Path,
    planner: Planner,
    fps: float,
    *,
    min_s: float = 0.0,
    per_second: float | None = 4.0,
    hashed: bool = True,
    watch: Callable[[VideoPacket], None] | None = None,
) -> Iterator[Piece]:
    """Decode a file once, and yield its pieces in order; `watch` sees each packet before its pictures.

    Shots shorter than `min_s` are given without scores. `per_second` pictures are scored, none where it is None.
    Raises MediaError when the file cannot be decoded.
    """
    times = Times()
    to_score = Samples(per_second or 1.0, MOST_SCORED)
    vectors = Vectors(per_second or 1.0)
    to_hash = Samples(dedup.PER_SECOND, dedup.MOST_MOMENTS)
    damaged: deque[int] = deque()
    size: tuple[int, int] | None = None

    def piece(run: Run) -> Piece:
        first, last = run
        while damaged and damaged[0] < first:
            damaged.popleft()
        start_s, end_s = times[first], times[last]
        is_short = end_s - start_s < min_s - 1e-6
        found: list[dict[str, Any] | None] = [None, None]
        if not is_short and per_second is not None:
            found[0] = scores.measure(*to_score.take(first, last), vectors.take(first, last))
        if not is_short and hashed:
            found[1] = dedup.hash_row(to_hash.take(first, last)[0])
        bad = sum(index < last for index in damaged)
        for each in (times, to_score, vectors, to_hash):
            each.forget(last)
        return Piece(first, last, start_s, end_s, times.origin_s, bad, is_short, *found)

    for picture in iter_pictures(path, watch, vectors=per_second is not None):
        small = picture.rgb(ANALYSIS_SIDE)
        size = size or small.shape[:2]
        if small.shape[:2] != size:  # streams may change their size on the way
            small = np.asarray(cv2.resize(small, size[::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8)
        if picture.damaged:
            damaged.append(picture.index)
        times.add(picture.time_s, is_key=picture.is_key)
        if per_second is not None:
            to_score.add(picture.index, picture.time_s, small)
            vectors.add(picture)
        if hashed:
            to_hash.add(picture.index, picture.time_s, small)
        yield from map(piece, planner.add(small, times))
    times.close(fps)
    to_score.close(times.end_s)
    to_hash.close(times.end_s)
    yield from map(piece, planner.finish(times))
