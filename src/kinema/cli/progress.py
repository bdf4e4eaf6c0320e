"""How far a long run has come, in a terminal or in a log."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from kinema.train.watch import NOTHING

logger = logging.getLogger(__name__)

T = TypeVar("T")

SAID = ("loss", "validation_loss", "psnr_db")
"""What is shown of the measurements; all of them are in metrics.jsonl."""
EVERY_S = 60.0
"""Seconds between two lines of a log."""


class RunProgress:
    """Hears what a run reports (as a `kinema.train.watch.Watch`, or `over` its parts), and draws a bar for each stage.

    A line stays when a stage is over. Where standard error is no terminal, there is one when it begins, too, and one a
    minute. `--quiet` silences all of it.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._is_quiet = not logger.isEnabledFor(logging.WARNING)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[said]}"),
            console=self._console,
            transient=True,
            disable=self._is_quiet or not self._console.is_terminal,
            speed_estimate_period=600.0,
        )
        self._task: TaskID | None = None
        self._numbers: dict[str, float] = {}
        self._stage = self._said = ""
        self._done = self._total = self._first = 0
        self._began_s = self._spoke_s = 0.0

    def __enter__(self) -> "RunProgress":
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._conclude()
        self._bars.stop()

    def __call__(self, stage: str, done: int, total: int, numbers: Mapping[str, float] = NOTHING) -> None:
        """Show that `done` of `total` clips or parts of `stage` are done; `numbers` are the latest measurements."""
        if stage != self._stage:
            self._conclude()
            self._stage, self._first, self._numbers = stage, done, {}
            self._began_s, self._spoke_s = time.monotonic(), 0.0
            self._task = self._bars.add_task(stage, total=total, said="")
        self._done, self._total = done, total
        self._numbers.update({name: value for name, value in numbers.items() if name in SAID})
        self._said = "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in self._numbers.items())
        assert self._task is not None
        self._bars.update(self._task, completed=done, total=total, said=self._said)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._spoke_s >= EVERY_S:
            pace = (now - self._began_s) / max(1, done - self._first)
            self._say(f"{_duration(pace * (total - done))} to go" if self._first < done < total else "")
            self._spoke_s = now

    def over(self, stage: str, parts: Iterable[T], total: int) -> Iterator[T]:
        """Go through the `total` parts of a stage, and show how many are done; one is, when the next is asked for."""
        self(stage, 0, total)
        for done, part in enumerate(parts, 1):
            yield part
            self(stage, done, total)

    def _conclude(self) -> None:
        """Leave a line about the stage that is over."""
        if self._task is not None:
            self._say(f"took {_duration(time.monotonic() - self._began_s)}")
            self._bars.remove_task(self._task)
            self._task = None

    def _say(self, when: str) -> None:
        words = (f"{self._stage}: {self._done} of {self._total}", when, self._said)
        if not self._is_quiet:
            self._bars.console.print(", ".join(word for word in words if word), highlight=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    """Such as 40 s, 12 min or 3 h 05 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
