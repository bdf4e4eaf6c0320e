"""`kinema COMMAND ...`: finds the command, runs it, and turns errors into one clear line and an exit code.

A command is `run(argv) -> int` in a module that is imported when its name has been read, so that `kinema --help` needs
neither torch nor the parser of any command.
"""

import errno
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

import kinema
from kinema.config import unknown
from kinema.errors import (
    CheckpointError,
    DataError,
    DeviceMemoryError,
    DirectorError,
    JobError,
    KinemaError,
    MediaError,
    SpecError,
    how_to_install,
)
from kinema.log import configure
from kinema.signals import HANGUP, ending_signals, handling

COMMANDS: dict[str, tuple[str, str]] = {
    "generate": ("kinema.cli.generate:run", "make a video, or a picture, from a prompt"),
    "edit": ("kinema.cli.edit:run", "extend, remix, replace, blend, loop or join videos; meet key frames"),
    "stream": ("kinema.cli.stream:run", "make video without end, and show it while it is made"),
    "data": ("kinema.cli.data:run", "curate footage into a data set that trains"),
    "train": ("kinema.cli.train:run", "train the parts of a model, and go on where a run stopped"),
    "serve": ("kinema.cli.serve:run", "the Videos API on this machine, with a worker behind it"),
    "worker": ("kinema.cli.worker:run", "make the videos of a server's queue"),
    "mcp": ("kinema.cli.mcp:run", "let an agent make videos, by the Model Context Protocol"),
    "doctor": ("kinema.cli.doctor:run", "check the machine, the installation and a server's store"),
    "evaluate": ("kinema.cli.evaluate:run", "measure a model, and write the report"),
    "verify": ("kinema.cli.verify:run", "say which marks of origin a file carries"),
    "bench": ("kinema.cli.bench:run", "time a model stage by stage, beside diffusers"),
    "models": ("kinema.cli.models:run", "list the models there are, fetch one, or say what a folder is"),
    "world": ("kinema.cli.world:run", "render clips of the demo world, with captions"),
}
"""Name of each command: where its code is, and what it does."""

EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (SpecError, 2),
    (CheckpointError, 3),
    (MediaError, 4),
    (DataError, 5),
    (JobError, 6),
    (DeviceMemoryError, 7),
    (MemoryError, 7),
    (DirectorError, 8),
    (KinemaError, 1),
    (OSError, 4),
    (KeyboardInterrupt, 130),
)
"""The exit code of each kind of failure; the first that fits counts. Success is 0, and a bug, with its traceback, 1."""

EXTRAS = {
    "mujoco": "world",
    "scipy": "world",
    "tensorboard": "train",
    **dict.fromkeys(("fastapi", "uvicorn", "pydantic", "sqlalchemy", "psycopg", "mcp"), "serve"),
    **dict.fromkeys(("c2pa", "cryptography"), "provenance"),
    "opentelemetry": "otel",
    **dict.fromkeys(("lance", "pyarrow", "fsspec", "cv2"), "data"),
}
"""The extra of the package that brings each module which a plain installation lacks."""

_SWITCHES = {"--debug": "debug", "--verbose": "verbose", "-v": "verbose", "--quiet": "quiet", "-q": "quiet"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, the process's own by default, and return the exit code."""
    words, switches = _take_switches(list(sys.argv[1:] if argv is None else argv))
    is_other = os.environ.get("RANK", "0") != "0"  # of several processes that torchrun started, the first one speaks
    configure(-1 if "quiet" in switches or is_other else switches.count("verbose"))
    with handling(set(ending_signals()) - {signal.SIGINT}, _terminate):  # Ctrl-C raises KeyboardInterrupt already
        try:
            code = _dispatch(words)
            sys.stdout.flush()  # a closed pipe shows here, not after the end
            return code
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (KinemaError, OSError, MemoryError, ModuleNotFoundError, KeyboardInterrupt) as error:
            return _report(error, show_traceback="debug" in switches)


def help_text() -> str:
    """What `kinema --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: kinema COMMAND ...",
            "",
            "Type a prompt, get a video.",
            "",
            "commands:",
            *lines,
            "",
            "everywhere:",
            "  --help         what a command takes: kinema generate --help",
            "  --verbose, -v  say more; twice, everything",
            "  --quiet, -q    say nothing but errors",
            "  --debug        show the traceback of an error",
            "  --version      the version of Kinema",
            "",
            "Start with: kinema generate 'a red ball rolls to the right'",
        ]
    )


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h"):
        print(help_text())
        return 0
    if words[0] == "--version":
        print(f"kinema {kinema.__version__}")
        return 0
    return _find(words[0])(words[1:])


def _find(name: str) -> Callable[[Sequence[str]], int]:
    if name not in COMMANDS:
        if " " in name:
            raise SpecError(f"{name!r} is not a command; a prompt goes to generate: kinema generate {name!r}")
        raise SpecError(unknown("command", name, COMMANDS))
    module, _, function = COMMANDS[name][0].partition(":")
    command: Callable[[Sequence[str]], int] = getattr(importlib.import_module(module), function)
    return command


def _take_switches(words: list[str]) -> tuple[list[str], list[str]]:
    """Split the switches that every command takes, wherever they stand, from the other words."""
    end = words.index("--") if "--" in words else len(words)
    mine = [word for word in words[:end] if word in _SWITCHES]
    return [word for word in words[:end] if word not in _SWITCHES] + words[end:], [_SWITCHES[word] for word in mine]


def _report(error: BaseException, *, show_traceback: bool) -> int:
    """Say what went wrong on standard error, and give the exit code for it."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] not in EXTRAS:
        raise error
    if show_traceback:
        traceback.print_exception(error)
    print(f"kinema: {_message(error)}", file=sys.stderr)
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)


def _message(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "stopped; no unfinished file is left under its final name"
    if isinstance(error, ModuleNotFoundError):
        missing = (error.name or "").partition(".")[0]
        return f"this command needs {missing}, which is not installed; {how_to_install(EXTRAS[missing])}"
    if isinstance(error, MemoryError):
        return "out of memory; ask for fewer frames or a smaller size"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"{where}the disk is full; nothing was left under the final name"
        return f"{where}{error.strerror or error}"
    return " ".join(line.strip() for line in str(error).splitlines())  # other libraries' words may come in several


def _terminate(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the signature of a signal handler
    """End on a signal as on any exception, so that unfinished files are removed."""
    if number == HANGUP:  # a terminal and its shell may both send it, and a second one would break off the removing
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
