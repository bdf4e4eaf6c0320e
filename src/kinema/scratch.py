"""Temporary folders that do not stay behind, even where the process that made them was killed."""

import contextlib
import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "kinema-scratch-"
_OLD_S = 60.0
"""Age at which a folder without a lock counts as left by a process that was killed while it made one."""


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a new folder below the system's temporary one, and remove it at the end.

    Folders that killed processes of this user left there are removed first: they are those that nobody holds a lock on.
    """
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        with (folder / ".making").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            (folder / ".making").rename(folder / ".lock")  # so that nobody finds the lock without its holder
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if not (folder / ".lock").exists():
                if time.time() - folder.stat().st_mtime > _OLD_S:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            with (folder / ".lock").open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
