"""Processes with little memory, time and rights, in which files of strangers are read."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from kinema.errors import MediaError

REFUSED = 3
"""The exit code of a child that says on standard error what is wrong with the file."""

_TURNS = threading.BoundedSemaphore(2)  # so many at once, however many ask


def run_child(module: str, folder: Path, *arguments: str, what: str, timeout_s: float) -> bytes:
    """Run a module of ours over the files of a folder, in which it starts; returns what it prints.

    Raises MediaError, which begins with `what`, for a file that cannot be read, is too large, or takes too long.
    """
    kept = {key: value for key, value in os.environ.items() if key in ("HOME", "XDG_CONFIG_HOME", "KINEMA_PROVENANCE")}
    environment = {**kept, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))}
    command = [sys.executable, "-m", module, *arguments]
    with _TURNS:
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise MediaError(f"{what} takes too long to read; send a shorter one") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() if done.returncode == REFUSED else "cannot be decoded"
        raise MediaError(f"{what} {' '.join(said.split())[:300]}")
    return done.stdout


def restrict(memory_bytes: int, cpu_s: int, file_bytes: int = 0) -> None:
    """Take away what this process does not need; with `file_bytes` 0 it may write to its pipes only."""
    import resource  # there is none on Windows, where the server starts without it

    for which, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(which, (most, most))
