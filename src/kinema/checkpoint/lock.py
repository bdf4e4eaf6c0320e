"""One process at a time in a folder."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from kinema.errors import DataError


@contextlib.contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder; raises DataError at once when there is one. A killed run holds no lock."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(f"another run is working on {folder}; wait for it, or name another --out") from None
        yield
