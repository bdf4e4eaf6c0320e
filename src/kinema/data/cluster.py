"""Which clips stand for which: groups that are linked by matches, found without holding all hashes or all pairs.

Hashes lie in a file. Clips that may match share a quarter of some moment's hash, and are near in all of that hash. So
hashes are read once for each quarter and each range of its values, and sorted; each is compared with those that follow
it. What is held grows by 100 bytes for a clip, whatever its length, and work grows with the number of clips: a hash
meets only `_MOST_AFTER` others with its quarter, and a group of `_MOST_ALONE` clips or more answers by one of them.
"""

import itertools
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kinema.data.dedup import INSETS, DedupConfig, Hashes, match, quality, unpack
from kinema.data.lineage import LENGTH

_PLAIN = 4.0
"""Detail below which hashes say nothing: such clips match only themselves."""
_SLACK = 3.0
"""Bits by which one moment of two clips that match may differ more than they do in the mean."""
_SORTED = 1 << 17
"""Hashes that are sorted together, if their values are spread evenly."""
_MOST_RANGES = 64
"""Turns in which all hashes are sorted, for each quarter: of very many, more are sorted together."""
_READ = 1 << 15
"""Hashes that are read at once."""
_MOST_AFTER = 64
"""Hashes with its quarter that one is compared with: those that follow in order."""
_MOST_ALONE = 8
"""Clips of a group that are compared each for itself."""
_MOST_KNOWN = 1 << 18
"""Pairs that are remembered as different."""

Numbers = NDArray[np.int64]


class Clusters(Mapping[str, str]):
    """For each clip, the one that stands for all that look like it: the best of those linked by matches.

    `clips` are rows with `clip_id` and `dedup.READS`, and hashes "moment inset" beside each. Use it in a `with`.
    """

    def __init__(self, config: DedupConfig, clips: Iterable[tuple[dict[str, Any], Hashes]]) -> None:
        self._config = config
        self._file = tempfile.TemporaryFile(prefix="kinema-hashes-")  # noqa: SIM115 - `__exit__` closes it
        self._begins = array("q", [0])  # counted in hashes
        self._quality, self._is_plain = array("d"), array("b")
        names = bytearray()
        for clip, hashes in clips:
            self._file.write(hashes.tobytes())
            self._begins.append(self._begins[-1] + hashes.size)
            self._quality.extend(quality(clip))
            self._is_plain.append(clip["hash_detail"] < _PLAIN)
            names += clip["clip_id"].encode().ljust(LENGTH, b"\0")
        self._file.flush()
        self._names = np.frombuffer(names, dtype=f"S{LENGTH}")
        self._order = np.argsort(self._names)
        count = len(self._names)
        self._parents: Numbers = np.arange(count)
        self._sizes = np.ones(count, np.int32)
        self._different: set[int] = set()
        self._link()
        self._best = self._choose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return (name.decode() for name in self._names)

    def __getitem__(self, name: str) -> str:
        place = int(np.searchsorted(self._names, name.encode(), sorter=self._order))
        if place == len(self) or self._names[self._order[place]] != name.encode():
            raise KeyError(name)
        return str(self._names[self._best[self._order[place]]].decode())

    def _hashes(self, first: int, last: int) -> NDArray[np.uint64]:
        """Those from one place in the file to another."""
        self._file.seek(8 * first)
        return np.frombuffer(self._file.read(8 * (last - first)), np.uint64)

    def _clip(self, number: int) -> Hashes:
        return unpack(self._hashes(self._begins[number], self._begins[number + 1]))

    def _link(self) -> None:
        """Join the groups of clips that match."""
        num_ranges = min(_MOST_RANGES, -(-self._begins[-1] // _SORTED))
        edges = np.linspace(0, 1 << 16, num_ranges + 1).astype(np.uint64)
        for quarter in range(4):
            for low, high in itertools.pairwise(edges):
                self._link_some(*self._in_order(quarter, low, high))

    def _in_order(
        self, quarter: int, low: np.uint64, high: np.uint64
    ) -> tuple[NDArray[np.uint64], Numbers, NDArray[np.bool_]]:
        """Hashes, turned so that a quarter leads, where that lies in [low, high): sorted, once for each clip.

        Beside each, whose it is, and whether it is of a whole picture rather than of an inset.
        """
        begins, is_plain = np.array(self._begins), np.array(self._is_plain, np.bool_)
        parts = []
        for first in range(0, self._begins[-1], _READ):
            places = np.arange(first, min(first + _READ, self._begins[-1]))
            hashes = _turned(self._hashes(first, first + len(places)), 16 * quarter)
            leads = hashes >> np.uint64(48)
            clips = np.searchsorted(begins, places, side="right") - 1
            wanted = (leads >= low) & (leads < high) & ~is_plain[clips]
            parts.append((hashes[wanted], clips[wanted], places[wanted] % len(INSETS) == 0))
        hashes, clips, whole = map(np.concatenate, zip(*parts, strict=True))
        order = np.lexsort((~whole, clips, hashes))
        hashes, clips, whole = hashes[order], clips[order], whole[order]
        is_first = np.append(True, (hashes[1:] != hashes[:-1]) | (clips[1:] != clips[:-1]))[: len(hashes)]
        return hashes[is_first], clips[is_first], whole[is_first]

    def _link_some(self, hashes: NDArray[np.uint64], clips: Numbers, whole: NDArray[np.bool_]) -> None:
        for step in range(1, _MOST_AFTER + 1):
            apart = hashes[:-step] ^ hashes[step:]
            shared = apart < np.uint64(1 << 48)
            if not shared.any():
                return
            near = shared & (np.bitwise_count(apart) <= self._config.max_bits + _SLACK)
            places = np.flatnonzero(near & (clips[:-step] != clips[step:]) & (whole[:-step] | whole[step:]))
            if len(places):
                self._join(clips[places], clips[places + step])

    def _join(self, ones: Numbers, others: Numbers) -> None:
        """Join the groups of those pairs that match; clips of large groups answer by the group's first."""
        self._parents = self._roots()
        first, second = self._parents[ones], self._parents[others]
        apart = first != second
        ones, others, first, second = ones[apart], others[apart], first[apart], second[apart]
        ones = np.where(self._sizes[first] < _MOST_ALONE, ones, first)
        others = np.where(self._sizes[second] < _MOST_ALONE, others, second)
        count = len(self)
        for pair in np.unique(np.minimum(ones, others) * count + np.maximum(ones, others)).tolist():
            one, other = divmod(pair, count)
            roots = sorted((self._root(one), self._root(other)))
            if roots[0] == roots[1] or pair in self._different:
                continue
            if match(self._clip(one), self._clip(other), self._config):
                self._parents[roots[1]] = roots[0]
                self._sizes[roots[0]] += self._sizes[roots[1]]
            elif len(self._different) < _MOST_KNOWN:
                self._different.add(pair)

    def _root(self, clip: int) -> int:
        while self._parents[clip] != clip:
            clip = int(self._parents[clip])
        return clip

    def _roots(self) -> Numbers:
        """The first clip of the group of each."""
        roots = self._parents
        while not np.array_equal(roots, up := roots[roots]):
            roots = up
        return roots

    def _choose(self) -> Numbers:
        """The best clip of the group of each; of equals, the first by name."""
        roots = self._roots()
        rank = np.empty(len(self), np.int64)
        rank[self._order] = -np.arange(len(self))
        columns = np.array(self._quality).reshape(-1, 4).T
        order = np.lexsort((rank, *columns[::-1], roots))
        best = np.empty(len(self), np.int64)
        best[roots[order]] = order  # the last of a group stays
        return best[roots]


def _turned(hashes: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    """Hashes whose first bits have become their last."""
    return hashes << np.uint64(bits) | hashes >> np.uint64(64 - bits) if bits else hashes
