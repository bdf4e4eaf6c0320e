"""Stage 4: clips that show the same thing, found by what they look like over time; the best of each cluster is kept.

A clip becomes a row of 64-bit hashes, one for each sampled moment: signs of the low frequencies of a small grey picture
(a discrete cosine transform), which survive re-encoding, scaling and small marks. Each moment is hashed whole and
with its borders cut by some percent, so that a cropped copy meets its original. Two clips match when, under some
offset and speed, nearly all moments of the shorter one meet moments of the longer one.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kinema.data.scores import find_bars
from kinema.errors import SpecError
from kinema.media import Frame

VERSION = 4
"""Raised when the same clip would have another hash."""

COLUMNS = pa.schema([pa.field("video_hash", pa.list_(pa.uint64())), pa.field("hash_detail", pa.float32())])
"""`video_hash`: for each moment, the hash of the whole picture and of each inset; `hash_detail`: how much they tell."""

CLUSTER_COLUMNS = pa.schema([pa.field("cluster", pa.string()), pa.field("drop_reason", pa.string())])
"""`cluster`: the clip that stands for all that look alike; `drop_reason`: why the clip is not in the data set."""

READS = ("hash_detail", "start_s", "end_s", "width", "height", "sharpness", "num_bytes")
"""The columns that clusters are made from, beside `clip_id` and `video_hash`."""

INSETS = (0.0, 0.025, 0.05, 0.075)
"""Shares of each side that are cut before hashing."""
PER_SECOND = 4.0
"""Moments of a second."""
MOST_MOMENTS = 120
"""Moments of a clip that are hashed."""
_SMALL, _WAVES = 32, 9
"""Points along each side of the picture that is hashed, and frequencies of them that are looked at."""
_SPEEDS = (1.0, 0.8, 1.25, 0.667, 1.5, 0.5, 2.0)

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class DedupConfig:
    """When two clips count as the same: changing this hashes no clip again."""

    max_bits: float = 9.0
    """Mean number of the 64 bits of a moment that may differ."""
    min_overlap: float = 0.7
    """Share of the shorter clip's moments that must meet the longer one's."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_bits < 24:
            raise SpecError(f"dedup.max_bits={self.max_bits:g} does not fit; it is from 0 to 24, such as 9")


def hash_row(pictures: Sequence[Frame]) -> dict[str, Any]:
    """Give the values of `COLUMNS` for the moments of a clip."""
    hashes, detail = hash_pictures(pictures)
    return {"video_hash": hashes.ravel(), "hash_detail": detail}


def hash_pictures(pictures: Sequence[Frame]) -> tuple[Hashes, float]:
    """Hash pictures "h w 3" of one size: "moment inset", and the median spread of the grey levels that were hashed."""
    crop = find_bars(pictures)
    rows, spreads = [], []
    for picture in pictures:
        gray = np.asarray(cv2.cvtColor(crop.apply(picture), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        rows.append(_hash(gray))
        spreads.append(float(cv2.resize(gray, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA).std()))
    return np.array(rows, dtype=np.uint64), float(np.median(spreads))


def unpack(flat: Sequence[int] | Hashes) -> Hashes:
    """The column `video_hash` as "moment inset"."""
    return np.array(flat, dtype=np.uint64).reshape(-1, len(INSETS))


def distance(one: Hashes, other: Hashes, min_overlap: float = 0.7) -> float:
    """Mean number of bits in which two clips differ where they overlap best, over offsets and speeds; 64 if nowhere."""
    return min(_overlaps(_bits_between(*_by_length(one, other)), min_overlap), default=64.0)


def match(one: Hashes, other: Hashes, config: DedupConfig) -> bool:
    """Whether two clips count as the same: whether `distance` is within the limit, told as early as it can be."""
    bits = _bits_between(*_by_length(one, other))
    nearest = np.sort(bits.min(axis=1))[: _least(len(bits), config.min_overlap)]
    if nearest.mean() > config.max_bits:  # at no offset is a moment nearer than its nearest
        return False
    return any(mean <= config.max_bits for mean in _overlaps(bits, config.min_overlap))


def _by_length(one: Hashes, other: Hashes) -> tuple[Hashes, Hashes]:
    return (one, other) if len(one) <= len(other) else (other, one)


def _least(count: int, min_overlap: float) -> int:
    """Moments of a clip of `count` that must meet the other's."""
    return max(1, int(np.ceil(min_overlap * count)))


def _overlaps(bits: NDArray[np.int64], min_overlap: float) -> Iterator[float]:
    """Mean number of differing bits for each offset and speed at which two clips overlap enough."""
    count, total = bits.shape
    least = _least(count, min_overlap)
    steps = np.arange(count)
    for speed in _SPEEDS if count >= 4 else (1.0,):
        places = np.round(steps * speed).astype(int)
        for offset in range(least - 1 - int(places[-1]), total - least + 1):
            there = places + offset
            valid = (there >= 0) & (there < total)
            if valid.sum() >= least:
                yield float(bits[steps[valid], there[valid]].mean())


def quality(clip: dict[str, Any]) -> tuple[float, ...]:
    """What makes one copy better than another: pixels, then length, then sharpness, bits per second."""
    seconds = clip["end_s"] - clip["start_s"]
    return (clip["width"] * clip["height"], seconds, clip["sharpness"] or 0.0, clip["num_bytes"] / seconds)


def _bits_between(one: Hashes, other: Hashes) -> NDArray[np.int64]:
    """Differing bits of each moment of one clip and each of the other: the best over whole pictures and insets."""
    whole_one, whole_other = one[:, :1], other[:, :1]
    first = np.bitwise_count(one[:, None, :] ^ whole_other[None, :, :]).min(axis=2)
    second = np.bitwise_count(other[None, :, :] ^ whole_one[:, None, :]).min(axis=2)
    return np.minimum(first, second).astype(np.int64)


def _hash(gray: NDArray[np.uint8]) -> Hashes:
    """64 signs for each inset: is each low frequency of the picture above the median of them all?"""
    down, across = (_waves(length) for length in gray.shape)
    rows = (down.reshape(-1, len(gray)) @ gray.astype(np.float64)).reshape(len(INSETS), _WAVES, -1)
    low = (rows @ across.transpose(0, 2, 1)).reshape(len(INSETS), -1)[:, 1:65].round(6)  # what is flat is 0
    middle = np.sort(low, axis=1)[:, 31:33].mean(axis=1, keepdims=True)  # the median of 64, in a tenth of the time
    return np.packbits(low > middle, axis=1).view(">u8")[:, 0].astype(np.uint64)


@functools.lru_cache(maxsize=64)
def _waves(length: int) -> NDArray[np.float64]:
    """The lowest frequencies of a line of so many pixels, for each inset: "inset wave pixel".

    The waves are those of the cosine transform of `_SMALL` points, each of which is the mean of the pixels it covers.
    """
    transform = cv2.dct(np.eye(_SMALL), flags=cv2.DCT_ROWS).T[:_WAVES]
    found = np.zeros((len(INSETS), _WAVES, length))
    for inset, share in zip(found, INSETS, strict=True):
        cut = round(length * share)
        edges = np.linspace(cut, length - cut, _SMALL + 1)
        beyond = np.clip(np.arange(1, length + 1) - edges[:, None], 0, 1)  # share of each pixel beyond each edge
        inset += transform @ (beyond[:-1] - beyond[1:]) / (edges[1] - edges[0])
    return found
