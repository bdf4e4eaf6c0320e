"""What a run tells whoever watches it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

NOTHING: Mapping[str, float] = MappingProxyType({})


class Report(Protocol):
    """Hears how far the present stage has come."""

    def __call__(self, done: int, total: int, numbers: Mapping[str, float] = NOTHING) -> None:
        """`done` of `total` clips or parts are done; `numbers` are what was measured since the last report."""


class Watch(Protocol):
    """Hears how far a run has come."""

    def __call__(self, stage: str, done: int, total: int, numbers: Mapping[str, float] = NOTHING) -> None:
        """Hear what a `Report` does, and of which stage."""


def unwatched(done: int, total: int, numbers: Mapping[str, float] = NOTHING) -> None:
    """Tell nobody."""
