"""Files of jobs: in a folder by default, in a bucket by URL. Names are made by us, never from a person's text."""

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from kinema.errors import JobError

_NAME = re.compile(r"[\w-]+(?:/[\w.-]+)*")
_CHUNK_BYTES = 1 << 18
_REMOVE_WAITS_S = (0.0, 0.01, 0.05, 0.2)
"""Pauses before each try at removing a folder that others remove, or write into, at the same time."""


class Artefacts:
    """Files under one place: `Artefacts("folder")` or `Artefacts("s3://bucket/path")`; a name keeps its content."""

    def __init__(self, location: str | Path) -> None:
        text = str(location)
        if "://" not in text:
            text = str(Path(text).expanduser().absolute())
        try:
            self._fs, self._root = fsspec.core.url_to_fs(text)
        except (ImportError, ValueError) as error:
            raise JobError(f"artefacts={text!r} cannot be opened: {error}") from error

    def put(self, source: Path, name: str) -> int:
        """Store a finished file under a name, and return its size; in a folder it is on the disk, whole, afterwards."""
        size = source.stat().st_size
        place = self._place(name)
        if not self._is_local:
            self._fs.put_file(str(source), place)
            return size
        with _Partial(Path(place)) as partial:
            _copy(source, partial)
        return size

    def write(self, name: str, content: bytes) -> None:
        """Store bytes under a name; they are there whole or not at all."""
        place = self._place(name)
        if not self._is_local:
            self._fs.pipe_file(place, content)
            return
        with _Partial(Path(place)) as partial:
            partial.write_bytes(content)

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes of a file, or those from `start` up to `end`. Raises FileNotFoundError."""
        content: bytes = self._fs.cat_file(self._place(name), start=start, end=end)
        return content

    def stream(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` up to `end`, in pieces."""
        with self._fs.open(self._place(name), "rb") as file:
            file.seek(start)
            while start < end and (piece := file.read(min(_CHUNK_BYTES, end - start))):
                start += len(piece)
                yield piece

    def fetch(self, name: str, target: Path) -> Path:
        """Copy a file to this machine; returns `target`. Raises FileNotFoundError."""
        self._fs.get_file(self._place(name), str(target))
        return target

    def local_path(self, name: str) -> Path | None:
        """Where a file is on this machine; None when the files are in a bucket."""
        return Path(self._place(name)) if self._is_local else None

    def names(self, folder: str) -> list[str]:
        """The names of the files directly in a folder, sorted; none where there is no folder."""
        place = self._place(folder)
        try:
            found = self._fs.ls(place, detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(f"{folder}/{each.rstrip('/').rpartition('/')[2]}" for each in found if ".partial" not in each)

    def remove(self, folder: str) -> None:
        """Remove a folder with all its files, or a single file; harmless when there is none, or others remove it too.

        Raises OSError when something is left, because somebody goes on writing into it or the disk does not allow it.
        """
        place = self._place(folder)
        for wait_s in _REMOVE_WAITS_S:
            time.sleep(wait_s)
            if self._is_local:
                shutil.rmtree(place, ignore_errors=True)  # passes over what is gone already, and takes the rest
                with contextlib.suppress(OSError):
                    Path(place).unlink()  # for a file; whether anything is left is asked below
            else:
                self._rm(place)
            if not self._fs.exists(place):
                return
        self._rm(place)

    def _rm(self, place: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(place, recursive=True)

    @property
    def _is_local(self) -> bool:
        return isinstance(self._fs, LocalFileSystem)

    def _place(self, name: str) -> str:
        if not _NAME.fullmatch(name) or ".." in name:
            raise JobError(f"{name!r} is no name of an artefact")
        return f"{self._root.rstrip('/')}/{name}"


class _Partial:
    """A file that gets its name, durably, when it is whole."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __enter__(self) -> Path:
        self._target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{self._target.name}.partial-", dir=self._target.parent)
        os.close(handle)
        self._path = Path(name)
        return self._path

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._path.unlink(missing_ok=True)
            return
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
        self._path.chmod(0o644)
        self._path.replace(self._target)
        folder = os.open(self._target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as write:
        while piece := read.read(_CHUNK_BYTES):
            write.write(piece)
