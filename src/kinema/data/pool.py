"""Work on many items in child processes with limits of time and memory, so that a bad item costs only itself.

What an item may end as: a result; refused (the item itself is unfit, and says why: not tried again until it changes);
set apart (it killed or stalled its process `TRIES` times); failed (the world was unfit: disk, network; tried again
in the next run). Work that is a generator gives parts before the end, one by one, so that nobody holds them all; what
an attempt gave that did not end as done is void.
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
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal, TypeVar

from kinema.errors import DataError, KinemaError, SpecError

logger = logging.getLogger(__name__)

TRIES = 3
"""How often an item may kill or stall its process, or meet a failing world, before the run goes on without it."""

Item = TypeVar("Item")
Status = Literal["part", "done", "refused", "set apart", "failed"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a child process may use."""

    workers: int = 1
    """Child processes; 0 works in this process, without limits."""
    seconds: float = 600.0
    """Time for one item, and `per_second` more for each second of its footage; as much again after each part."""
    per_second: float = 4.0
    """As above."""
    memory_gb: float = 8.0
    """Address space of a child process; 0 sets no limit."""
    min_free_gb: float = 1.0
    """The run stops before the disk of the data set has less room than this."""

    def __post_init__(self) -> None:
        """Refuse what no process can work under: it would end every item, or none, without looking at it."""
        for name, least in (("workers", 0), ("per_second", 0), ("memory_gb", 0), ("min_free_gb", 0)):
            if not getattr(self, name) >= least:
                raise SpecError(f"limits.{name}={getattr(self, name):g} does not fit; it is {least} or more")
        if not self.seconds > 0:
            raise SpecError(f"limits.seconds={self.seconds:g} does not fit; it is above 0, such as 600")


@dataclass(frozen=True)
class Outcome:
    """How one item ended, and after how many attempts; or a part of its result, of which more come."""

    status: Status
    value: Any = None
    reason: str | None = None
    attempts: int = 1


def run_all(
    work: Callable[[Item], Any], items: Iterable[Item], limits: Limits, length_s: Callable[[Item], float] | None = None
) -> Iterator[tuple[Item, Outcome]]:
    """Yield each item with its parts and its outcome, as they come; `work` is of a module, so that children find it.

    `length_s` gives the length of an item's footage, by which its time is reckoned.
    """
    if limits.workers == 0:
        for item in items:
            yield from ((item, outcome) for outcome in _attempt_here(work, item))
        return
    fresh = ((item, 1) for item in items)
    again: deque[tuple[Item, int]] = deque()
    children: list[Child] = []
    try:
        while True:
            for number in range(limits.workers):
                if number < len(children) and children[number].busy:
                    continue
                following = again.popleft() if again else next(fresh, None)
                if following is None:
                    break
                if number == len(children):
                    children.append(Child(limits))
                item, attempt = following
                longer = limits.per_second * length_s(item) if length_s else 0.0
                children[number].give(work, item, attempt, limits.seconds + longer)
            if not any(child.busy for child in children):
                return
            for child in children:
                came = child.collect()
                if came is None:
                    continue
                item, outcome = came
                if outcome.status in ("set apart", "failed") and outcome.attempts < TRIES:
                    again.append((item, outcome.attempts + 1))
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

    def next(self) -> Outcome:
        """Wait for the next part of the item, or for its end."""
        while (came := self.collect()) is None:
            wait([self.pipe], timeout=0.2)
        return came[1]

    def give(self, work: Callable[[Any], Any], item: Any, attempt: int, seconds: float) -> None:
        """Begin with an item."""
        if not self._process.is_alive():
            self._start()
        self.pipe.send((work, item))
        self._job, self._began, self._seconds = (item, attempt), None, seconds

    def collect(self) -> tuple[Any, Outcome] | None:
        """The item and its next part, or how it ended, once either is there."""
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
            outcome = self._died(attempt)
        if outcome is None and self._began is not None and time.monotonic() - self._began > self._seconds:
            outcome = Outcome("set apart", None, f"it took more than {self._seconds:g} s", attempt)
            self.stop()
        if outcome is None:
            return None
        if outcome.status == "part":
            self._began = time.monotonic()
        else:
            self._job = None
        return item, outcome

    def _died(self, attempt: int) -> Outcome:
        """How an item ends whose process died: before that had the item, it was not the item's doing."""
        code = self._process.exitcode
        if self._began is None:
            why = f"no process can begin ({code}); is limits.memory_gb={self._limits.memory_gb:g} too little?"
            return Outcome("failed", None, why, attempt)
        return Outcome("set apart", None, f"its process died ({code})", attempt)

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
        for outcome in _attempt_parts(work, item):
            pipe.send((outcome.status, outcome.value, outcome.reason))


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, however that ended: in the middle of an item, too."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _attempt_here(work: Callable[[Item], Any], item: Item) -> Iterator[Outcome]:
    for attempt in range(1, TRIES + 1):
        for outcome in _attempt_parts(work, item):
            is_last = outcome.status in ("done", "refused") or attempt == TRIES
            if outcome.status == "part" or is_last:
                yield replace(outcome, attempts=attempt)
        if is_last:
            return


def _attempt_parts(work: Callable[[Any], Any], item: Any) -> Iterator[Outcome]:
    """The parts that a generator gives, then how it ended; of other work, the end alone."""
    outcome = _attempt(work, item)
    parts = outcome.value
    while isinstance(parts, Iterator):
        outcome = _attempt(next, parts, None)
        if outcome.status == "done" and outcome.value is not None:
            yield replace(outcome, status="part")
        else:
            break
    yield outcome


def _attempt(work: Callable[..., Any], *arguments: Any) -> Outcome:
    try:
        return Outcome("done", work(*arguments))
    except FileNotFoundError as error:
        return Outcome("refused", None, f"{error.filename or error} does not exist")
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


def check_failures(done: int, bad: int, most: float, why: str | None = None) -> None:
    """Raise DataError when more than the share `most` of the items failed; `why` is the reason of one."""
    total = done + bad
    if total and bad / total > most:
        raise DataError(
            f"{bad} of {total} items failed, more than the {most:.0%} that max_failures allows"
            f"{f', such as: {why}' if why else ''}; `kinema data query` with status columns lists the reasons"
        )
