"""Video that is written while it is made: into a file that can be played at any time, or into a pipe."""

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from kinema.errors import MediaError, SpecError
from kinema.media.formats import Frame
from kinema.media.fragments import ChunkEncoder, FragmentEncoder, RawEncoder, Y4MEncoder
from kinema.media.write import exact_rate, require_even

PIPES: dict[str, type[FragmentEncoder] | type[Y4MEncoder] | type[RawEncoder]] = {
    "y4m": Y4MEncoder,
    "mp4": FragmentEncoder,
    "rgb": RawEncoder,
}
"""What can go through a pipe, by the name that a person gives."""


def check_live(path: Path, *, overwrite: bool = False) -> None:
    """Refuse a file that a stream cannot be written to, or that is taken, and a part of an earlier one in its place.

    Raises MediaError.
    """
    if path.suffix.lower() != ".mp4":
        raise MediaError(f"{path}: a stream is written as .mp4; use {path.with_suffix('.mp4').name}, or - for a pipe")
    partial = partial_of(path)
    if partial.exists() and not overwrite:
        raise MediaError(f"{partial} is left of a stream that was stopped; move it away, or replace it with --force")


def partial_of(path: Path) -> Path:
    """Where a stream is written until it has ended."""
    return path.with_name(f"{path.name}.partial")


class LiveWriter:
    """Writes a stream chunk by chunk into a fragmented mp4 that is whole after every chunk.

    Until it has ended it is called NAME.partial; a process that is killed leaves that file, playable up to its last
    chunk. A context manager: only a clean end gives the file its name.
    """

    def __init__(self, path: Path, fps: float, metadata: Mapping[str, str] | None = None) -> None:
        self.path = path
        self._fps, self._metadata = exact_rate(fps, ".mp4"), dict(metadata or {})
        self._encoder: FragmentEncoder | None = None
        self._file: IO[bytes] | None = None
        self._size = (0, 0)

    def __enter__(self) -> Self:
        return self

    def write(self, frames: Frame) -> None:
        """Add the next frames, "f h w 3", all of one size."""
        height, width = frames.shape[1:3]
        if self._encoder is None:
            self._size = height, width
            require_even(width=width, height=height)
            self._encoder = FragmentEncoder(self._fps, (height, width), self._metadata)
        if (height, width) != self._size:
            raise SpecError(f"frames of {width}x{height} do not fit into a stream of {self._size[1]}x{self._size[0]}")
        data = self._encoder.encode(frames)
        with self._naming_the_file():
            if self._file is None:
                self._file = partial_of(self.path).open("wb")
            self._file.write(data)
            self._file.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            if kind is None:
                raise MediaError(f"{self.path} was not written: there is no frame")
            return
        with self._naming_the_file(), self._file as file:
            file.flush()
            os.fsync(file.fileno())
        if kind is None:
            partial_of(self.path).replace(self.path)

    @contextlib.contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                raise OSError(error.errno, os.strerror(error.errno), str(self.path)) from error
            raise MediaError(f"{self.path} cannot be written: {error.strerror or error}") from error


class PipeWriter:
    """Writes a stream chunk by chunk into an open file, such as standard output, in one of the formats of PIPES."""

    def __init__(self, file: IO[bytes], fps: float, kind: str, metadata: Mapping[str, str] | None = None) -> None:
        self._file, self._kind, self._metadata = file, kind, dict(metadata or {})
        self._fps: Fraction = exact_rate(fps, ".mp4")
        self._encoder: ChunkEncoder | None = None

    def write(self, frames: Frame) -> None:
        """Add the next frames, "f h w 3"; raises BrokenPipeError when nobody reads any more."""
        if self._encoder is None:
            height, width = frames.shape[1:3]
            if self._kind != "rgb":
                require_even(width=width, height=height)
            self._encoder = PIPES[self._kind](self._fps, (height, width), self._metadata)
        self._file.write(self._encoder.encode(frames))
        self._file.flush()


def check_pipe(kind: str) -> None:
    """Refuse a format that is none. Raises SpecError."""
    if kind not in PIPES:
        raise SpecError(f"format={kind!r} does not fit; use {', '.join(PIPES)}")
