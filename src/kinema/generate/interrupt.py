"""Being asked to end, by Ctrl-C, SIGTERM or SIGHUP, as a question that long work asks itself where it can stop well."""

from contextlib import ExitStack
from types import FrameType

from kinema.signals import HANGUP, ending_signals, handling


class Interrupt:
    """True once one of `ending_signals` has asked for the end; a second one does not wait.

    It listens while its context lasts, and only in the main thread, where Python delivers signals; elsewhere it is
    never true.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        """The signal that asked."""
        self._listening = ExitStack()

    def __call__(self) -> bool:
        """Say whether one has."""
        return self.number is not None

    def __enter__(self) -> "Interrupt":
        self._listening.enter_context(handling(ending_signals(), self._ask))
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of a signal handler
        if not self():
            self.number = number
        elif number != HANGUP:  # a terminal and its shell may both say that it was closed
            raise KeyboardInterrupt
