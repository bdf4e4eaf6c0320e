"""Time spent in stages, on a CPU or a GPU."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import torch

from kinema.generate.estimate import wait_for


class Stopwatch:
    """Adds up the time of stages; waits for the device at both ends of each, so that a stage pays for its own work."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds: dict[str, float] = {}

    def reset(self) -> None:
        """Forget what was measured."""
        self._seconds = {}

    def seconds(self, stages: tuple[str, ...]) -> dict[str, float]:
        """Give the seconds of each stage; 0 for one that never ran."""
        return {stage: self._seconds.get(stage, 0.0) for stage in stages}

    @contextlib.contextmanager
    def measure(self, stage: str, without: tuple[str, ...] = ()) -> Iterator[None]:
        """Count the time of a block for a stage, but for what the stages `without` take of it."""
        wait_for(self._device)
        began, apart = time.perf_counter(), sum(self._seconds.get(each, 0.0) for each in without)
        try:
            yield
        finally:
            wait_for(self._device)
            spent = time.perf_counter() - began
            spent -= sum(self._seconds.get(each, 0.0) for each in without) - apart
            self._seconds[stage] = self._seconds.get(stage, 0.0) + spent

    def wrap(self, owner: Any, name: str, stage: str, without: tuple[str, ...] = ()) -> None:
        """Replace a method by one that is timed."""
        method = getattr(owner, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            with self.measure(stage, without):
                return method(*arguments, **options)

        setattr(owner, name, timed)
