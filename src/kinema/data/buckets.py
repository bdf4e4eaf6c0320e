"""Sizes and lengths in which clips are encoded, and which of them suits a clip."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kinema.errors import SpecError


@dataclass(frozen=True, kw_only=True, order=True)
class Bucket:
    """Clips of one shape: width and height in pixels, number of frames, frames per second."""

    width: int
    height: int
    frames: int
    fps: float

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.frames) < 1 or not self.fps > 0:
            raise SpecError(f"the bucket {self} does not fit; sides, frames and fps are above 0")

    def __str__(self) -> str:
        """The name of a bucket, as it stands in the data set: 64x64x17@8."""
        return f"{self.width}x{self.height}x{self.frames}@{self.fps:g}"


@dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    """What clips are encoded with."""

    model: str | None = None
    """Name, folder or hub id of the model whose autoencoder and text encoder are used; none leaves encoding out."""
    buckets: tuple[Bucket, ...] = (Bucket(width=64, height=64, frames=17, fps=8.0),)
    """The shapes to choose from; a clip goes into one."""
    batch: int = 8
    """Clips that go through the networks at a time."""
    device: str = "cpu"
    """Where the networks run."""

    def __post_init__(self) -> None:
        if not self.buckets or self.batch < 1:
            raise SpecError("encode takes one bucket or more, and a batch of one clip or more")


def choose_bucket(buckets: Sequence[Bucket], width: float, height: float, seconds: float) -> Bucket | None:
    """The bucket of nearest aspect that is short enough; of several, the largest that needs no enlarging, then longest.

    A clip smaller than all of them goes into the smallest. None when all are longer than the clip.
    """
    fitting = [bucket for bucket in buckets if (bucket.frames - 1) / bucket.fps <= seconds + 1e-6]
    if not fitting:
        return None

    def cost(bucket: Bucket) -> tuple[float, float, float, int]:
        aspect = abs(math.log(width / height * bucket.height / bucket.width))
        enlarging = max(1.0, bucket.width / width, bucket.height / height)
        return (round(aspect, 3), enlarging, -bucket.width * bucket.height, -bucket.frames)

    return min(sorted(fitting), key=cost)
