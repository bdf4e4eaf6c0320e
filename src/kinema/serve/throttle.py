"""How often somebody may call: a bucket of tokens each, which fills up again as time passes."""

import threading
import time
from collections.abc import Callable

MAX_NAMES = 10_000
"""Buckets that are kept; full ones go first."""


class Throttle:
    """Counts calls by name, in this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, name: str, per_minute: int) -> float:
        """Take a token; returns 0, or the seconds until there is one again."""
        now = self._clock()
        with self._lock:
            left, at = self._buckets.get(name, (float(per_minute), now))
            left = min(float(per_minute), left + (now - at) * per_minute / 60)
            wait_s = 0.0 if left >= 1 else (1 - left) * 60 / per_minute
            self._buckets[name] = (left - 1 if wait_s == 0 else left, now)
            if len(self._buckets) > MAX_NAMES:
                self._forget(now)
        return wait_s

    def _forget(self, now: float) -> None:
        """Drop the buckets that nobody has used for a minute: they are full."""
        self._buckets = {name: (left, at) for name, (left, at) in self._buckets.items() if now - at < 60}
