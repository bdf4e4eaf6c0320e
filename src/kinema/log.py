"""Where log messages go when the command line runs; a program that imports Kinema sets up its own logging."""

import logging
import sys
from typing import TextIO

LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}
"""Verbosity of the command line (`--quiet` is -1, each `--verbose` adds one) to the level of Python's logging."""


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at that moment, so that a live progress bar can stand aside for the line."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # a property here, an attribute there
        return sys.stderr


class _Line(logging.Formatter):
    """`kinema: warning: text`; with the module's name from the info level down, where it helps."""

    def format(self, record: logging.LogRecord) -> str:
        where = record.name if logging.getLogger("kinema").level <= logging.INFO else "kinema"
        text = f"{where}: {record.levelname.lower()}: {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def configure(verbosity: int = 0) -> None:
    """Send Kinema's log messages to standard error: -1 errors only, 0 warnings, 1 progress in words, 2 everything.

    Calling it again replaces the handler instead of adding one. Other packages' loggers stay as they are.
    """
    logger = logging.getLogger("kinema")
    logger.setLevel(LEVELS[max(-1, min(2, verbosity))])
    for handler in [handler for handler in logger.handlers if isinstance(handler, _StderrHandler)]:
        logger.removeHandler(handler)
    handler = _StderrHandler()
    handler.setFormatter(_Line())
    logger.addHandler(handler)
    logger.propagate = False
