"""Work on many items in child processes with limits of time and memory, so that a bad item costs only itself.

What an item may end as: a result; refused (the item itself is unfit, and says why: not tried again until it changes);
set apart (it killed or stalled its process `TRIES` times); failed (the world was unfit: disk, network; tried again
in the next run).
"""

import concurrent.futures
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal, TypeVar

from kinema.errors import DataError, KinemaError

logger = logging.getLogger(__name__)

TRIES = 3
"""How often an item may kill or stall its process, or meet a failing world, before the run goes on without it."""

Item = TypeVar("Item")
Status = Literal["done", "refused", "set apart", "failed"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a child process may use."""

    workers: int = 1
    """Child processes; 0 works in this process, without limits."""
    seconds: float = 600.0
    """Time for one item, and `per_second` more for each second of its footage."""
    per_second: float = 4.0
    """As above."""
    memory_gb: float = 8.0
    """Address space of a child process; 0 sets no limit."""
    min_free_gb: float = 1.0
    """The run stops before the disk of the data set has less room than this."""


@dataclass(frozen=True)
class Outcome:
    """How one item ended, and after how many attempts."""

    status: Status
    value: Any = None
    reason: str | None = None
    attempts: int = 1


def run_all(
    work: Callable[[Item], Any], items: Iterable[Item], limits: Limits, length_s: Callable[[Item], float] | None = None
) -> Iterator[tuple[Item, Outcome]]:
    """Yield each item with its outcome, as they end; `work` is a function of a module, so that children find it.

    `length_s` gives the length of an item's footage, by which its time is reckoned.
    """
    if limits.workers == 0:
        for item in items:
            yield item, _attempt_here(work, item)
        return
    waiting: deque[tuple[Item, int]] = deque((item, 1) for item in items)
    children = [Child(limits) for _ in range(min(limits.workers, len(waiting)))]
    try:
        while waiting or any(child.busy for child in children):
            for child in children:
                if waiting and not child.busy:
                    item, attempt = waiting.popleft()
                    longer = limits.per_second * length_s(item) if length_s else 0.0
                    child.give(work, item, attempt, limits.seconds + longer)
            for child in children:
                ended = child.collect()
                if ended is None:
                    continue
                item, outcome = ended
                if outcome.status in ("set apart", "failed") and outcome.attempts < TRIES:
                    waiting.append((item, outcome.attempts + 1))
                else:
                    yield item, outcome
            wait([child.pipe for child in children if child.busy], timeout=0.2)
    finally:
        for child in children:
            child.stop()


def run_threads(work: Callable[[Item], Any], items: Iterable[Item], parallel: int) -> Iterator[tuple[Item, Outcome]]:
    """The same in threads of this process, without limits: for work that waits for others."""
    with concurrent.futures.ThreadPoolExecutor(parallel) as threads:
        futures = {threads.submit(_attempt, work, item): item for item in items}
        try:
            for future in concurrent.futures.as_completed(futures):
                yield futures[future], future.result()
        finally:
            threads.shutdown(cancel_futures=True)


def run_batches(
    work: Callable[[Item], Any], items: Sequence[Item], many: Callable[[Sequence[Item]], Sequence[Any]], size: int
) -> Iterator[tuple[Item, Outcome]]:
    """The same in this process, `size` items at a time through `many`; a batch that fails goes through `work`."""
    for start in range(0, len(items), size):
        batch = items[start : start + size]
        try:
            outcomes = [Outcome("done", value) for value in many(batch)]
        except Exception as error:
            logger.debug("a batch failed", exc_info=error)
            outcomes = [_attempt(work, item) for item in batch]
        yield from zip(batch, outcomes, strict=True)


class Child:
    """One process that works on one item at a time, restarted when it dies."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._job: tuple[Any, int] | None = None
        self._began: float | None = None
        self._seconds = limits.seconds
        self._start()

    @property
    def busy(self) -> bool:
        """Whether it works on an item."""
        return self._job is not None

    def work(self, work: Callable[[Any], Any], item: Any, attempt: int, seconds: float) -> Outcome:
        """Work on an item and wait for its end."""
        self.give(work, item, attempt, seconds)
        while (ended := self.collect()) is None:
            wait([self.pipe], timeout=0.2)
        return ended[1]

    def give(self, work: Callable[[Any], Any], item: Any, attempt: int, seconds: float) -> None:
        """Begin with an item."""
        if not self._process.is_alive():
            self._start()
        self.pipe.send((work, item))
        self._job, self._began, self._seconds = (item, attempt), None, seconds

    def collect(self) -> tuple[Any, Outcome] | None:
        """The item and how it ended, once it has."""
        if self._job is None:
            return None
        item, attempt = self._job
        outcome: Outcome | None = None
        try:
            if self.pipe.poll():
                said = self.pipe.recv()
                if said is None:
                    self._began = time.monotonic()
                else:
                    status, value, reason = said
                    outcome = Outcome(status, value, reason, attempt)
        except (EOFError, OSError):
            self._process.join()
            outcome = Outcome("set apart", None, f"its process died ({self._process.exitcode})", attempt)
        if outcome is None and self._began is not None and time.monotonic() - self._began > self._seconds:
            outcome = Outcome("set apart", None, f"it took more than {self._seconds:g} s", attempt)
            self.stop()
        if outcome is None:
            return None
        self._job = None
        return item, outcome

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._limits.memory_gb), daemon=True)
        self._process.start()
        theirs.close()


def _serve(pipe: Connection, memory_gb: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if memory_gb:
        limit = int(memory_gb * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    while True:
        try:
            work, item = pipe.recv()
        except EOFError:
            return
        pipe.send(None)  # the clock starts when the item is there, not while modules are imported
        outcome = _attempt(work, item)
        pipe.send((outcome.status, outcome.value, outcome.reason))


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, however that ended: in the middle of an item, too."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _attempt_here(work: Callable[[Item], Any], item: Item) -> Outcome:
    attempt, outcome = 1, _attempt(work, item)
    while outcome.status not in ("done", "refused") and attempt < TRIES:
        attempt, outcome = attempt + 1, _attempt(work, item)
    return Outcome(outcome.status, outcome.value, outcome.reason, attempt)


def _attempt(work: Callable[[Any], Any], item: Any) -> Outcome:
    try:
        return Outcome("done", work(item))
    except FileNotFoundError as error:
        return Outcome("refused", None, f"{error.filename} does not exist")
    except KinemaError as error:
        return Outcome("refused", None, str(error))
    except MemoryError:
        return Outcome("set apart", None, "it needs more memory than the limit")
    except OSError as error:
        return Outcome("failed", None, str(error))
    except Exception as error:
        logger.debug("an item failed", exc_info=error)
        return Outcome("set apart", None, f"{type(error).__name__}: {error}")


def check_space(folder: Path, limits: Limits) -> None:
    """Raise DataError when the disk of a folder has less room than the limits ask for."""
    free = shutil.disk_usage(folder).free / 2**30
    if free < limits.min_free_gb:
        raise DataError(
            f"the disk of {folder} has {free:.2f} GB left, less than limits.min_free_gb={limits.min_free_gb:g}; "
            "make room and run the same command again, it goes on from here"
        )


def check_failures(done: int, bad: int, most: float) -> None:
    """Raise DataError when more than the share `most` of the items failed."""
    total = done + bad
    if total and bad / total > most:
        raise DataError(
            f"{bad} of {total} items failed, more than the {most:.0%} that max_failures allows; "
            "`kinema data query` with status columns lists the reasons"
        )
