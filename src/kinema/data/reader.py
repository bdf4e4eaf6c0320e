"""Clips in the order of training: a pure function of (seed, epoch), whatever the number of readers."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinema.data.store import Row, Store, quoted
from kinema.errors import DataError, SpecError


@dataclass(frozen=True)
class Batch:
    """Encoded clips of one bucket, in the order of training.

    `latents` is "b c t y x" and `texts` one "k d" for each clip, as many rows as its caption has tokens; both float16.
    """

    bucket: str
    clip_ids: list[str]
    captions: list[str]
    latents: NDArray[np.float16]
    texts: list[NDArray[np.float16]]


def epoch_batches(buckets: Mapping[str, Sequence[str]], batch_size: int, seed: int, epoch: int) -> list[list[str]]:
    """All batches of an epoch: every name once, each batch of one bucket, the buckets mixed.

    The last batch of a bucket may be smaller. The order depends on the arguments only, not on the order of the names.
    """
    if batch_size < 1:
        raise SpecError(f"batch_size={batch_size} does not fit; it is 1 or more")
    batches = []
    for bucket in sorted(buckets):
        names = sorted(buckets[bucket])
        order = _generator(seed, epoch, bucket).permutation(len(names))
        shuffled = [names[index] for index in order]
        batches += [shuffled[start : start + batch_size] for start in range(0, len(shuffled), batch_size)]
    return [batches[index] for index in _generator(seed, epoch, "").permutation(len(batches))]


class Reader:
    """Reads the encoded clips of a data set batch by batch.

    Of `num_readers` readers, number `reader` gets the batches `reader, reader + num_readers, ...`: together they read
    what one reader would, in the same order. Raises DataError when nothing was encoded, or when the data set was
    encoded by another model than `fingerprint` says.
    """

    def __init__(
        self, store: Store, batch_size: int, *, seed: int = 0, reader: int = 0, num_readers: int = 1,
        fingerprint: str | None = None,
    ) -> None:  # fmt: skip
        if not 0 <= reader < num_readers:
            raise SpecError(f"reader={reader} does not fit num_readers={num_readers}; it is 0 to {num_readers - 1}")
        self._store, self._batch_size, self._seed = store, batch_size, seed
        self._reader, self._num_readers = reader, num_readers
        rows = store.read("latents", ["bucket", "fingerprint"])
        if not rows:
            raise DataError(f"{store.folder} holds no encoded clip; run the stage `encode`")
        stale = sorted({row["fingerprint"] for row in rows} - {fingerprint or rows[0]["fingerprint"]})
        if stale:
            raise DataError(
                f"{store.folder} was encoded by another model, dtype or version ({stale[0]}); run `encode` again"
            )
        self._buckets: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            self._buckets[row["bucket"]].append(row["latent_id"])

    @property
    def buckets(self) -> dict[str, int]:
        """Number of clips in each bucket."""
        return {name: len(members) for name, members in sorted(self._buckets.items())}

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield this reader's batches of an epoch, from number `start` of the whole epoch on, to resume there."""
        order = epoch_batches(self._buckets, self._batch_size, self._seed, epoch)
        for number in range(start, len(order)):
            if number % self._num_readers == self._reader:
                yield self._read(order[number])

    def _read(self, names: Sequence[str]) -> Batch:
        listed = ", ".join(quoted(name) for name in names)
        rows = {row["latent_id"]: row for row in self._store.read("latents", where=f"latent_id IN ({listed})")}
        ordered = [rows[name] for name in names]
        return Batch(
            bucket=ordered[0]["bucket"],
            clip_ids=[row["clip_id"] for row in ordered],
            captions=[row["caption"] for row in ordered],
            latents=np.stack([unpack(row, "latent") for row in ordered]),
            texts=[unpack(row, "text") for row in ordered],
        )


def unpack(row: Row, name: str) -> NDArray[np.float16]:
    """An array out of its bytes and its shape."""
    values: Any = np.frombuffer(row[name], dtype=np.float16)
    return values.reshape(row[f"{name}_shape"])


def _generator(seed: int, epoch: int, bucket: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}/{epoch}/{bucket}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16])))
