"""An invisible mark in the pictures themselves: 32 bits that stay when the file's metadata are gone.

The frame is divided into a grid of blocks, whatever its size; in each block, five waves of its cosine transform are
raised or lowered a little, the same ones in every frame. Which sign each wave gets says a keyed sequence, times the
signs of an error-correcting code of the 32 bits (spread spectrum: Cox, Kilian, Leighton and Shamoon 1997). The grid
follows the frame, so a smaller copy carries the same waves. Of 256 codes that mean the same 32 bits, the one that the
first frame resembles most is taken (informed coding: Miller, Doerr and Cox 2004).

Detection needs nothing but the key: it averages the frames over time, weighs every wave by how quiet its neighbourhood
is, and decodes. Its statistic is the share of the weighed waves that agrees with the decoded code, in units of what
chance gives. For pictures that know nothing of the key, the signs are fair coins, and Hoeffding's inequality bounds
chance whatever the pictures show: P(statistic >= t) <= exp(-t^2 / 2) for one code. See `FALSE_POSITIVE`.

What it does not withstand: cropping, turning, mirroring, and anyone who reads this file and means to remove it. The
default key is public, so a mark says that Kinema's marker was used, not by whom; that is what the signature is for.
"""

import functools
import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinema.errors import SpecError
from kinema.media import Frame
from kinema.provenance import convolutional

Coefficients = NDArray[np.float32]
"""One number per wave and block: "wave row column"."""

KEY = b"kinema watermark 1"
"""The public key of the marks that everybody can read."""

ID_BITS = 32
_FREE_BITS = 8
GRIDS = (8, 16, 32)
"""Blocks along each side: for frames whose shorter side is below 96 pixels, below 160, and larger ones."""

WAVES = ((1, 1), (0, 2), (2, 0), (1, 2), (2, 1))
"""Half waves down and across a block: low enough to live through compression, high enough to be unlike the picture."""

FALSE_POSITIVE = 1e-6
"""Most pictures in which a mark is found where there is none, of all grids and all codes together."""

THRESHOLD = math.sqrt(2 * (math.log(len(GRIDS)) + (ID_BITS + _FREE_BITS) * math.log(2) - math.log(FALSE_POSITIVE)))
"""The statistic from which on a mark is there: 9.23."""

MARGIN = 0.5
"""What the decoded id must lead every other id by, in the same units, to be believed."""

_LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
_STEP = 64  # the pattern is rounded to 1/64 of a grey level, so that it is the same on every machine


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What detection found."""

    statistic: float
    """Agreement with the best code, in units of what chance gives (at most about 7.5 from pictures without a mark)."""
    margin: float
    """How far the best id leads the next, in the same units."""
    id: int
    """The best id, whether believable or not."""
    grid: int
    """The grid in which it was found."""

    @property
    def is_marked(self) -> bool:
        """Whether there is a mark; wrong for an unmarked clip at most once in a million."""
        return self.statistic >= THRESHOLD

    @property
    def payload(self) -> int | None:
        """The id of the mark; None when there is no mark, or when its id cannot be told from another."""
        return self.id if self.is_marked and self.margin >= MARGIN else None


def strength_db(height: int, width: int) -> float:
    """The PSNR that marked frames of this size have, at least: small frames have few pixels to hide the bits in."""
    return 40.3 if min(height, width) < 160 else 41.0 if min(height, width) < 360 else 43.0


def embed(frames: Iterable[Frame], mark: int, key: bytes = KEY) -> Iterator[Frame]:
    """Mark frames, single ("h w 3") or in chunks ("f h w 3"), as they come; each comes out in the shape it had.

    `mark` is a whole number of 32 bits. Raises SpecError for any other.
    """
    if not 0 <= mark < 2**ID_BITS:
        raise SpecError(f"mark={mark} does not fit; it takes a whole number from 0 to {2**ID_BITS - 1}")
    return _embed(frames, mark, key)


def detect(frames: Iterable[Frame], key: bytes = KEY) -> Finding | None:
    """Look for a mark in frames, single or in chunks, of one size; None when there is no frame."""
    total, count = None, 0
    for chunk in frames:
        for frame in chunk if chunk.ndim == 4 else chunk[None]:
            picture = frame.astype(np.float32) @ _LUMA
            total = picture.astype(np.float64) if total is None else total + picture
            count += 1
    if total is None:
        return None
    mean = (total / count).astype(np.float32)
    return max((_read(mean, grid, key) for grid in GRIDS), key=lambda finding: finding.statistic)


def _embed(frames: Iterable[Frame], mark: int, key: bytes) -> Iterator[Frame]:
    pattern: NDArray[np.float32] | None = None
    for chunk in frames:
        several = chunk if chunk.ndim == 4 else chunk[None]
        if pattern is None and len(several):
            pattern = _pattern(several[0], mark, key)
        marked = np.empty_like(several)
        for frame, out in zip(several, marked, strict=True):
            assert pattern is not None
            np.clip(np.rint(frame + pattern), 0, 255, out=out, casting="unsafe")
        yield marked if chunk.ndim == 4 else marked[0]


def _pattern(first: Frame, mark: int, key: bytes) -> NDArray[np.float32]:
    """What is added to every frame of a clip, "h w 1", in grey levels."""
    height, width = first.shape[:2]
    grid = _grid(height, width)
    keyed = _keyed(grid, key)
    heard = _weigh(_transform(first.astype(np.float32) @ _LUMA, grid)).ravel() * keyed.signs
    codes = convolutional.encode(_messages(mark))[:, keyed.places]
    signs = codes[np.argmax(codes.astype(np.float64) @ heard)] * keyed.signs
    waves = signs.reshape(len(WAVES), grid, grid).astype(np.float32)
    spread = _spread(waves, height, width)
    root_mean_square = math.sqrt(float(np.mean(np.square(spread, dtype=np.float64))))
    wanted = 255 * 10 ** (-strength_db(height, width) / 20)
    pattern: NDArray[np.float32] = np.rint(spread * (wanted / root_mean_square * _STEP)) / np.float32(_STEP)
    return pattern[..., None]


def _read(mean: NDArray[np.float32], grid: int, key: bytes) -> Finding:
    keyed = _keyed(grid, key)
    weighed = _weigh(_transform(mean, grid)).ravel()
    norm = math.sqrt(float(weighed @ weighed)) or 1.0
    num_bits = ID_BITS + _FREE_BITS
    heard = np.bincount(keyed.places, weighed * keyed.signs, convolutional.length(num_bits)).astype(np.float64)
    found = convolutional.decode(heard, num_bits)
    bits, leads = found.bits[:ID_BITS], found.leads[:ID_BITS]
    return Finding(
        statistic=found.correlation / norm,
        margin=float(leads.min()) / norm,
        id=int(bits @ (1 << np.arange(ID_BITS - 1, -1, -1, dtype=np.int64))),
        grid=grid,
    )


def _grid(height: int, width: int) -> int:
    side = min(height, width)
    return GRIDS[0] if side < 96 else GRIDS[1] if side < 160 else GRIDS[2]


def _messages(mark: int) -> NDArray[np.int64]:
    """All messages that mean the same id: its bits, then every choice of the free ones."""
    fixed = (mark >> np.arange(ID_BITS - 1, -1, -1)) & 1
    free = (np.arange(1 << _FREE_BITS)[:, None] >> np.arange(_FREE_BITS)) & 1
    return np.concatenate([np.broadcast_to(fixed, (len(free), ID_BITS)), free], axis=1).astype(np.int64)


@dataclass(frozen=True)
class _Keyed:
    signs: NDArray[np.float64]
    """A fair sign for each wave of each block."""
    places: NDArray[np.int64]
    """Which sign of the code each of them carries."""


@functools.cache
def _keyed(grid: int, key: bytes) -> _Keyed:
    count = len(WAVES) * grid * grid
    stream = hashlib.shake_256(key + b" grid %d" % grid).digest(8 * count + count)
    order = np.argsort(np.frombuffer(stream[: 8 * count], dtype="<u8"), kind="stable")
    coins = np.frombuffer(stream[8 * count :], dtype=np.uint8) & 1
    places = np.empty(count, dtype=np.int64)
    places[order] = np.arange(count) % convolutional.length(ID_BITS + _FREE_BITS)
    return _Keyed((1.0 - 2.0 * coins).astype(np.float64), places)


def _weigh(coefficients: Coefficients) -> NDArray[np.float64]:
    """What a sign can be read from: strong waves are the picture's own, and so are waves where all are strong."""
    scale = np.median(np.abs(coefficients), axis=(1, 2), keepdims=True) + 0.3
    x = coefficients.astype(np.float64) / scale
    loud = np.minimum(x**2, 25).mean(axis=0)
    rows, columns = loud.shape
    padded = np.pad(loud, 1, mode="edge")
    around = sum(padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)) / 9
    weighed: NDArray[np.float64] = x / (1 + x**2 / 4) / np.sqrt(around + 0.5)
    return weighed


def _transform(picture: NDArray[np.float32], grid: int) -> Coefficients:
    """The waves of each block, in units that do not depend on the size of the picture."""
    height, width = picture.shape
    down, across = _rows(height, grid), _rows(width, grid)
    blocks = (down @ picture @ across.T).reshape(grid, 3, grid, 3) * np.float32(64 / math.sqrt(height * width))
    return np.stack([blocks[:, i, :, j] for i, j in WAVES])


def _spread(waves: Coefficients, height: int, width: int) -> NDArray[np.float32]:
    """The picture that has these waves and nothing else."""
    grid = waves.shape[-1]
    blocks = np.zeros((grid, 3, grid, 3), dtype=np.float32)
    for wave, (i, j) in zip(waves, WAVES, strict=True):
        blocks[:, i, :, j] = wave
    return np.asarray(_rows(height, grid).T @ blocks.reshape(3 * grid, 3 * grid) @ _rows(width, grid), dtype=np.float32)


@functools.lru_cache(maxsize=16)
def _rows(side: int, grid: int) -> NDArray[np.float32]:
    """Half waves 0, 1 and 2 of each block along one side, averaged over each pixel: "block times 3, side"."""
    edges = np.clip(np.arange(side + 1) / side * grid - np.arange(grid)[:, None], 0, 1)  # of pixels, within each block
    sums = [edges, *(math.sqrt(2) * np.sin(np.pi * u * edges) / (np.pi * u) for u in (1, 2))]
    rows = np.stack([np.diff(each, axis=1) for each in sums], axis=1) * math.sqrt(side / grid)
    return rows.reshape(3 * grid, side).astype(np.float32)
