"""Decodes one video of a stranger in a process of its own and writes a clean one that a model can go on from.

`python -m kinema.serve.clip_child NAME TERMS` is that process, with the `Terms` as JSON: it reads the file NAME of the
folder that it is started in, writes `CLEAN` beside it and prints what that holds as JSON; with exit code 3 a line says
what is wrong.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps

from kinema.config import from_json
from kinema.errors import KinemaError, MediaError
from kinema.media import Frame, VideoWriter
from kinema.provenance.statement import append_statement, read_statement
from kinema.serve.child import REFUSED, restrict
from kinema.serve.clip_terms import CLEAN, FORMATS, Terms

MEMORY_BYTES = 4 * 2**30
CPU_S = 120
FILE_BYTES = 2**29
CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4")
"""What cameras, editors and browsers write; nothing else is given to a decoder."""


def main(name: str, terms: Terms) -> int:
    """Read one file and write the clean one, with little memory, time and rights."""
    restrict(MEMORY_BYTES, CPU_S, FILE_BYTES)
    try:
        told = json.dumps(_clean(name, terms))
        if (statement := read_statement(Path(name))) is not None:
            append_statement(Path(CLEAN), statement)
    except av.error.FFmpegError as error:
        return _refuse(f"cannot be read as a video: {error.strerror}")
    except (KinemaError, OSError, ValueError) as error:
        return _refuse(str(error))
    except MemoryError:
        return _refuse("needs too much memory")
    sys.stdout.write(told)
    return 0


def _clean(name: str, terms: Terms) -> dict[str, int]:
    fps, step = terms.model.defaults.fps, terms.model.stride.time
    size: tuple[int, int] | None = None
    count, waiting = 0, []
    with VideoWriter(CLEAN, fps) as writer:
        for picture in _at_rate(_timed(name, terms), fps, terms.max_seconds):
            size = terms.model.nearest_size(picture.width, picture.height) if size is None else size
            waiting.append(np.asarray(ImageOps.fit(picture, size, Image.Resampling.LANCZOS)))
            if count == 0 or len(waiting) == step:  # what is left over at the end is no whole latent frame
                writer.write(np.stack(waiting))
                count += len(waiting)
                waiting = []
        if size is None:
            raise MediaError("holds no picture")
    return {"frames": count, "width": size[0], "height": size[1]}


def _timed(name: str, terms: Terms) -> Iterator[tuple[float, Image.Image]]:
    """The pictures, turned as their camera was, each with the second at which it is shown. Raises MediaError."""
    form = FORMATS[name.rpartition(".")[2]]  # said, so that nothing else is tried on it
    with Path(name).open("rb") as file, av.open(file, "r", format=form) as container:
        if not container.streams.video:
            raise MediaError("holds no video")
        stream = container.streams.video[0]
        codec = getattr(stream.codec_context, "name", "an unknown format")
        if codec not in CODECS:
            raise MediaError(f"holds video in {codec}, which is not read here; send H.264, HEVC, VP9 or AV1")
        stream.thread_count = 1
        began: float | None = None
        for index, frame in enumerate(container.decode(stream)):
            if frame.width * frame.height > terms.max_pixels:
                raise MediaError(f"has {frame.width}x{frame.height} pixels, more than {terms.max_pixels}")
            second = index / float(stream.average_rate or 25) if frame.pts is None else frame.time
            began = second if began is None else began
            turned: Frame = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
            yield second - began, Image.fromarray(np.ascontiguousarray(turned))


def _at_rate(timed: Iterator[tuple[float, Image.Image]], fps: float, max_s: float) -> Iterator[Image.Image]:
    """What is seen at every 1/fps; the last picture is shown as long as the one before. Raises MediaError."""
    shown: Image.Image | None = None
    at, lasts_s, count = 0.0, 0.0, 0
    for second, picture in timed:
        while shown is not None and (count + 0.25) / fps < second:  # times are rounded in files
            yield shown
            count += 1
        shown, lasts_s, at = picture, max(0.0, second - at), second
        if at > max_s + 1 / fps:
            raise MediaError(f"lasts longer than {max_s:g} s; send a shorter one")
    while shown is not None and (count == 0 or (count + 0.25) / fps < at + lasts_s):
        yield shown
        count += 1


def _refuse(message: str) -> int:
    sys.stderr.write(message)
    return REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], from_json(Terms, sys.argv[2])))
