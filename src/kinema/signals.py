"""The signals that ask a process to end: Ctrl-C, SIGTERM, and SIGHUP, which comes when its terminal is closed."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""What a closed terminal sends; Windows has no such signal."""


def ending_signals() -> tuple[signal.Signals, ...]:
    """SIGINT, SIGTERM and SIGHUP; not SIGHUP where it is ignored, as `nohup` wants it, to outlive the terminal."""
    always = (signal.SIGINT, signal.SIGTERM)
    if HANGUP is None or signal.getsignal(HANGUP) is signal.SIG_IGN:
        return always
    return (*always, HANGUP)


@contextlib.contextmanager
def handling(numbers: Iterable[int], handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Let `handler` take these signals until the end of the block; what took them before takes them again then.

    Only in the main thread, where Python delivers signals; elsewhere nothing changes.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if signal.getsignal(number) is not None:  # what is not Python's cannot be put back
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
