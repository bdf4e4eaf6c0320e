"""How far a generation has come: what a progress bar, a job row or an event stream shows."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from kinema.errors import JobCancelled

Stage = Literal["text", "image", "denoise", "decode"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One report: `step` of `total` steps of `stage` are done."""

    stage: Stage
    """`text` and `image` read what was given, `denoise` makes the latents, `decode` turns them into frames."""
    step: int
    """Finished steps of this stage; 0 when it begins."""
    total: int
    """Steps of this stage."""
    eta_s: float | None
    """Seconds until this stage is done, judged by its steps so far; None before the first."""


OnProgress = Callable[[Progress], None]
IsCancelled = Callable[[], bool]


class Tracker:
    """Reports the steps of a run to its caller, and stops the run between two steps when the caller says so.

    `is_cancelled` is asked at every step; once it says yes, JobCancelled is raised.
    """

    def __init__(self, on_progress: OnProgress | None = None, is_cancelled: IsCancelled | None = None) -> None:
        self._on_progress = on_progress
        self._is_cancelled = is_cancelled
        self._stage: Stage = "text"
        self._total = 1
        self._step = 0
        self._began = 0.0

    def begin(self, stage: Stage, total: int) -> None:
        """Start a stage of `total` steps."""
        self._stage, self._total, self._step, self._began = stage, total, 0, time.monotonic()
        self._report(None)

    def advance(self) -> None:
        """Count one step of the present stage as done."""
        self._step += 1
        per_step_s = (time.monotonic() - self._began) / self._step
        self._report(per_step_s * (self._total - self._step))

    def _report(self, eta_s: float | None) -> None:
        if self._on_progress is not None:
            self._on_progress(Progress(stage=self._stage, step=self._step, total=self._total, eta_s=eta_s))
        if self._is_cancelled is not None and self._is_cancelled():
            raise JobCancelled(f"cancelled while in {self._stage}, after step {self._step} of {self._total}")
