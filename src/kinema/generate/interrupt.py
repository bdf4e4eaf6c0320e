"""Ctrl-C and SIGTERM as a question that long work asks itself where it can stop well."""

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """True once Ctrl-C or SIGTERM has asked for the end; a second one does not wait.

    It listens while its context lasts, and only in the main thread, where Python delivers signals; elsewhere it is
    never true.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        """The signal that asked."""
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Say whether one has."""
        return self.number is not None

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of a signal handler
        if self():
            raise KeyboardInterrupt
        self.number = number
