"""How often somebody may call: a bucket of tokens each, which fills up again as time passes."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

RATE = "kinema_rate"
"""Under this name the scope of a request holds the `Rate` that its answer tells."""

MAX_NAMES = 10_000
"""Buckets that are kept; full ones go first."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How much of a limit on requests is used."""

    limit: int
    """Requests within a minute."""
    left: int
    """How many more are answered just now."""
    reset_s: float
    """Seconds until all of them are there again."""

    def headers(self) -> dict[str, str]:
        """The same as OpenAI's clients read it."""
        minutes, seconds = divmod(math.ceil(self.reset_s), 60)
        return {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(self.left),
            "x-ratelimit-reset-requests": f"{minutes}m{seconds}s" if minutes else f"{seconds}s",
        }


class Throttle:
    """Counts calls by name, in this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, name: str, per_minute: int) -> tuple[float, Rate]:
        """Take a token; returns 0, or the seconds until there is one again, and what is left."""
        now = self._clock()
        with self._lock:
            left, at = self._buckets.get(name, (float(per_minute), now))
            left = min(float(per_minute), left + (now - at) * per_minute / 60)
            wait_s = 0.0 if left >= 1 else (1 - left) * 60 / per_minute
            left -= wait_s == 0
            self._buckets[name] = (left, now)
            if len(self._buckets) > MAX_NAMES:
                self._forget(now)
        return wait_s, Rate(limit=per_minute, left=int(left), reset_s=(per_minute - left) * 60 / per_minute)

    def _forget(self, now: float) -> None:
        """Drop the buckets that nobody has used for a minute: they are full."""
        self._buckets = {name: (left, at) for name, (left, at) in self._buckets.items() if now - at < 60}
