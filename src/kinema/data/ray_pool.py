"""The same work on a Ray cluster: each slot of a node holds one child process, with the limits that it has here.

Ray carries items and results; a slot runs its items as the pool of this machine does, so that an item ends the same
way on both. When a node or a slot dies, its item is given to another. That is no attempt at the item, since its own
process is a child of the slot: the cluster failed, or Ray lost sight of the slot for a while. So rows do not tell
whether it happened. An item that loses `TRIES` slots is set apart all the same: it may be what kills them.
"""

import importlib.util
import itertools
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kinema.data.pool import TRIES, Child, Item, Limits, Outcome
from kinema.errors import DataError, how_to_install

_LOOK_S = 30.0
"""Longest wait for one answer."""


def run_ray(
    work: Callable[[Item], Any], items: Iterable[Item], limits: Limits, length_s: Callable[[Item], float] | None = None
) -> Iterator[tuple[Item, Outcome]]:
    """Yield each item with its parts and its outcome, as they come; arguments as for `run_all`, whose twin this is.

    As many slots as the cluster has processors, or `limits.workers` where that is above 1. Raises DataError when Ray is
    not installed, or when no slot can be kept alive.
    """
    ray = connect()
    fresh = ((item, 1, 0) for item in items)
    slots = limits.workers if limits.workers > 1 else int(ray.cluster_resources().get("CPU", 1))
    waiting: deque[tuple[Item, int, int]] = deque(itertools.islice(fresh, slots))
    remote = ray.remote(num_cpus=1, max_restarts=0)(Slot)
    idle = [remote.remote(limits) for _ in waiting]
    busy: dict[Any, tuple[Any, Item, int, int]] = {}
    deaths = 0
    try:
        while True:
            while idle and (waiting or (waiting := deque(itertools.islice(fresh, 1)))):
                slot = idle.pop()
                item, attempt, lost = waiting.popleft()
                seconds = limits.seconds + (limits.per_second * length_s(item) if length_s else 0.0)
                busy[slot.run.remote(work, item, attempt, seconds)] = (slot, item, attempt, lost)
            if not busy:
                return
            ready, _ = ray.wait(list(busy), num_returns=1, timeout=_LOOK_S)
            for reference in ready:
                slot, item, attempt, lost = busy.pop(reference)
                try:
                    outcome: Outcome = ray.get(reference)
                except ray.exceptions.RayError as error:
                    ray.kill(slot)  # one that Ray cannot reach may live, and hold its processor
                    deaths += 1
                    if deaths > TRIES * slots:
                        raise DataError(f"the cluster loses every worker it is given: {_short(error)}") from error
                    idle.append(remote.remote(limits))
                    if lost + 1 < TRIES:
                        waiting.append((item, attempt, lost + 1))
                    else:
                        yield item, Outcome("set apart", None, f"its worker died: {_short(error)}", attempt + lost)
                    continue
                deaths = 0
                if outcome.status == "part":
                    yield item, outcome
                    busy[slot.next.remote()] = (slot, item, attempt, lost)
                    continue
                idle.append(slot)
                if outcome.status in ("set apart", "failed") and outcome.attempts < TRIES:
                    waiting.append((item, outcome.attempts + 1, lost))
                else:
                    yield item, outcome
    finally:
        for slot in [*idle, *(each for each, *_ in busy.values())]:
            ray.kill(slot)


class Slot:
    """An actor: works on one item at a time, in a child process of its own."""

    def __init__(self, limits: Limits) -> None:
        self._child = Child(limits)

    def run(self, work: Callable[[Any], Any], item: Any, attempt: int, seconds: float) -> Outcome:
        """The first part of an attempt at an item, or how it ended."""
        self._child.give(work, item, attempt, seconds)
        return self._child.next()

    def next(self) -> Outcome:
        """The next part, or how the attempt ended. While nobody asks, the child waits too."""
        return self._child.next()


def connect() -> Any:
    """Ray, connected to the cluster of RAY_ADDRESS, else to one that runs on this machine, else to a new one here.

    Raises DataError when it is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise DataError(f"the engine ray needs the package ray: {how_to_install('cluster')}, or use --engine local")
    import ray

    if not ray.is_initialized():
        # workers are this interpreter on every node; Ray's own choice would build environments of its own
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    return ray


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
