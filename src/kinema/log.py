"""Where log messages go when the command line runs; a program that imports Kinema sets up its own logging."""

import json
import logging
import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TextIO

LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}
"""Verbosity of the command line (`--quiet` is -1, each `--verbose` adds one) to the level of Python's logging."""


CONTEXT: ContextVar[Mapping[str, str]] = ContextVar("log_context", default={})  # noqa: B039 - nobody changes it
"""What every line that is written now is about, such as {"request_id": "req_..."}; shown by `write_json`."""


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


class _Json(logging.Formatter):
    """One JSON object a line: time, level, logger, message, what it is about, and the fields given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{moment}.{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **CONTEXT.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def write_json() -> None:
    """Write each message as a line of JSON, from progress in words upwards, for programs that collect logs."""
    logger = logging.getLogger("kinema")
    logger.setLevel(min(logger.level, logging.INFO))
    for handler in logger.handlers:
        if isinstance(handler, _StderrHandler):
            handler.setFormatter(_Json())


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
