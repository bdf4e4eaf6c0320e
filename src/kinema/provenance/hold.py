"""Signals that wait: c2pa calls back into Python, and an exception raised there ends the process."""

import contextlib
import signal
from collections.abc import Iterator

from kinema.signals import ending_signals, handling


@contextlib.contextmanager
def hold_signals() -> Iterator[None]:
    """Keep `ending_signals` that arrive in the block until its end, and let them do then what they would have done.

    Only in the main thread, where Python delivers signals; elsewhere there is nothing to hold.
    """
    held: list[int] = []
    try:
        with handling(ending_signals(), lambda number, _: held.append(number)):
            yield
    finally:
        for heard in dict.fromkeys(held):
            signal.raise_signal(heard)
