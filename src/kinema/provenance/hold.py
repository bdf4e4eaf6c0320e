"""Ctrl-C and SIGTERM that wait: c2pa calls back into Python, and an exception raised there ends the process."""

import contextlib
import signal
import threading
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def hold_signals() -> Iterator[None]:
    """Keep signals that arrive in the block until its end, and let them do then what they would have done.

    Only in the main thread, where Python delivers signals; elsewhere there is nothing to hold.
    """
    held: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) is not None:  # what is not Python's cannot be put back
                before[number] = signal.signal(number, lambda number, _: held.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for heard in dict.fromkeys(held):
            signal.raise_signal(heard)
