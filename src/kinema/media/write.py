"""Arrays into video and picture files, frame by frame, whole or not at all."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np

from kinema.errors import MediaError, SpecError
from kinema.media.formats import SINKS, Frame, Sink
from kinema.spec.checks import require_rate

ENDINGS = tuple(SINKS)
"""The endings that name a format that Kinema writes."""


def check_output(path: str | Path, *, overwrite: bool = False) -> None:
    """Refuse an output that could not be written, before any work is done for it.

    Raises MediaError for an ending without a format, a folder that does not exist or cannot be written to, a pipe or
    device, and, unless `overwrite`, a file that exists or a link to one that does not.
    """
    path = Path(path)
    try:
        refuse_strange(path)
        _ending(path)
        _check_place(path, overwrite=overwrite)
    except (OSError, ValueError) as error:  # a name that is too long, or holds a null byte; a file system that refuses
        raise MediaError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error


def refuse_strange(path: Path) -> None:
    """Raise MediaError for what is there and no file, where one is written, or read: more than once, from any place."""
    if path.is_dir():
        raise MediaError(f"{path} is a folder; give the name of a file")
    if path.exists() and not path.is_file():
        raise MediaError(f"{path} is a pipe, a socket or a device; give the name of a file")


def _check_place(path: Path, *, overwrite: bool) -> None:
    if not path.parent.is_dir():
        raise MediaError(f"{path}: the folder {path.parent} does not exist; make it first")
    if path.is_symlink() and not path.exists() and not overwrite:
        raise MediaError(
            f"{path} is a link to {path.readlink()}, which does not exist; give that name, or replace the link with "
            "--force (force=True in Python)"
        )
    if path.exists() and not overwrite:
        raise MediaError(f"{path} exists; choose another name, or replace it with --force (force=True in Python)")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise MediaError(f"{path} cannot be written: no permission")
    with contextlib.suppress(FileExistsError):  # left by a process that was killed; writing replaces it
        _partial(path).touch(exist_ok=False)  # the one sure way to learn whether a file can be made here
        _partial(path).unlink()


def write_video(
    path: str | Path,
    frames: Iterable[Frame],
    fps: float,
    metadata: Mapping[str, str] | None = None,
    *,
    seal: Callable[[Path], None] | None = None,
) -> None:
    """Write frames, singly ("h w 3") or in chunks ("f h w 3"), as they come, into the format that the ending names.

    When `frames` raises, or the disk is full, nothing appears under `path`. Raises MediaError for an ending without a
    format and SpecError for sides or a rate that the format does not take.
    """
    with VideoWriter(path, fps, metadata, seal=seal) as writer:
        for chunk in [frames] if isinstance(frames, np.ndarray) else frames:
            writer.write(chunk)


class VideoWriter:
    """Writes a clip frame by frame; a context manager whose file appears at a clean end, and not at all otherwise.

    `metadata` keys are case-blind; their texts may be long (a whole request as JSON under `comment`). An existing file
    is replaced: `check_output` is for refusing that. `seal` is given the finished file, before it gets its name, and
    may change it in place.
    """

    def __init__(
        self,
        path: str | Path,
        fps: float,
        metadata: Mapping[str, str] | None = None,
        *,
        seal: Callable[[Path], None] | None = None,
    ) -> None:
        self.path = Path(path)
        self._partial = _partial(self.path)
        self._ending = _ending(self.path)
        self._fps = exact_rate(fps, self._ending)
        self._metadata = dict(metadata or {})
        self._seal = seal
        self._sink: Sink | None = None
        self._size = (0, 0)

    def __enter__(self) -> Self:
        return self

    def write(self, frames: Frame) -> None:
        """Add one frame "h w 3" or several "f h w 3"; all frames of a clip have the size of the first."""
        if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or frames.shape[-1] != 3:
            raise SpecError(f"frames are {frames.dtype} of shape {frames.shape}; they must be uint8, h w 3 or f h w 3")
        for frame in frames if frames.ndim == 4 else frames[None]:
            height, width = frame.shape[:2]
            if self._sink is None:
                self._size = (height, width)
                self._sink = self._start(height, width)
            if (height, width) != self._size:
                was = f"{self._size[1]}x{self._size[0]}"
                raise SpecError(f"a frame of {width}x{height} does not fit into a clip of {was}")
            with self._naming_the_file():
                self._sink.write(np.ascontiguousarray(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            if self._sink is not None:
                self._sink.abandon()
            self._partial.unlink(missing_ok=True)

    def _start(self, height: int, width: int) -> "Sink":
        if self._ending in (".mp4", ".webm"):
            require_even(width=width, height=height)
        with self._naming_the_file():
            return SINKS[self._ending](self._partial, self._fps, (height, width), self._metadata)

    def _finish(self) -> None:
        if self._sink is None:
            raise MediaError(f"{self.path} was not written: there is no frame")
        with self._naming_the_file():
            self._sink.close()
            if self._seal is not None:
                self._seal(self._partial)
            with self._partial.open("rb") as file:
                os.fsync(file.fileno())
            self._partial.replace(self.path)

    @contextlib.contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        """Report what goes wrong under the file's own name, and a full disk as the OSError that it is."""
        try:
            yield
        except (OSError, av.error.FFmpegError) as error:
            if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                raise OSError(error.errno, os.strerror(error.errno), str(self.path)) from error
            raise MediaError(f"{self.path} cannot be written: {error.strerror or error}") from error


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial-{os.getpid()}")


def _ending(path: Path) -> str:
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise MediaError(f"{path}: no format for the ending {ending!r}; use one of {', '.join(ENDINGS)}")
    return ending


def exact_rate(fps: float, ending: str) -> Fraction:
    """Frames per second as the fraction that containers hold; raises SpecError for what the format cannot play."""
    require_rate(fps)
    if ending == ".gif" and fps > 50:
        raise SpecError(f"fps={fps:g} does not fit a gif, which plays at most 50; use 50, or another format")
    return Fraction(fps).limit_denominator(1001)


def require_even(**sides: int) -> None:
    """Refuse odd sides, whose colours 4:2:0 cannot halve. Raises SpecError."""
    for name, side in sides.items():
        if side % 2:
            raise SpecError(f"{name}={side} is odd, which mp4 and webm cannot hold; use {side - 1 or 2} or {side + 1}")
