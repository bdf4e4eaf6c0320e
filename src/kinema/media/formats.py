"""The formats that Kinema writes: one small encoder for each, all with the same three methods."""

import contextlib
import itertools
import json
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from kinema.errors import SpecError

Frame = NDArray[np.uint8]
"""One picture, "h w 3", or several, "f h w 3": RGB, 0 to 255."""

EXIF_DESCRIPTION = 0x010E
"""The EXIF field that holds the metadata of a webp."""

SCALING = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
"""How colours are converted between RGB and 4:2:0, in both directions: within 1 of 255 on flat colours."""

_ENCODER_THREADS = 2  # fixed, because the bytes of H.264 depend on it


class Sink(Protocol):
    """What turns frames into one file of one format."""

    def write(self, frame: Frame) -> None:
        """Add one frame, "h w 3"."""

    def close(self) -> None:
        """Finish the file."""

    def abandon(self) -> None:
        """Let go of the file, whatever state it is in; harmless after `close`."""


class _Encoder:
    """mp4 and webm."""

    def __init__(
        self,
        partial: Path,
        fps: Fraction,
        size: tuple[int, int],
        metadata: Mapping[str, str],
        *,
        container: str,
        codec: str,
        codec_options: dict[str, str],
        muxer_options: dict[str, str],
    ) -> None:
        # bitexact keeps versions and times of day out of the file
        options = {"fflags": "+bitexact", **muxer_options}
        self._container = av.open(str(partial), "w", format=container, options=options)
        self._container.metadata.update(metadata)
        stream = self._container.add_stream(codec, rate=fps, options=codec_options)
        assert isinstance(stream, VideoStream)
        self._stream = stream
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.thread_count = _ENCODER_THREADS
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        self._count = 0

    def write(self, frame: Frame) -> None:
        picture = VideoFrame.from_ndarray(frame, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, interpolation=SCALING
        )
        picture.pts, picture.time_base = self._count, 1 / self._stream.codec_context.framerate
        self._count += 1
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def abandon(self) -> None:
        with contextlib.suppress(OSError, av.error.FFmpegError):
            self._container.close()


class _Pictures:
    """gif, webp and png, which are written at the end because their formats look at all frames together."""

    def __init__(
        self,
        partial: Path,
        fps: Fraction,
        size: tuple[int, int],  # noqa: ARG002 - these formats take it from the frames
        metadata: Mapping[str, str],
        *,
        save: Callable[[list[Image.Image], Path, Fraction, Mapping[str, str]], None],
        most: int | None = None,
    ) -> None:
        self._partial, self._fps, self._metadata, self._save, self._most = partial, fps, metadata, save, most
        self._images: list[Image.Image] = []
        partial.touch()  # an unwritable folder is an error now, not after all the frames

    def write(self, frame: Frame) -> None:
        if len(self._images) == self._most:
            raise SpecError("a png holds one frame; write a clip as .mp4, .webm, .webp or .gif")
        self._images.append(Image.fromarray(frame))

    def close(self) -> None:
        self._save(self._images, self._partial, self._fps, self._metadata)

    def abandon(self) -> None:
        self._images.clear()


def _save_gif(images: list[Image.Image], path: Path, fps: Fraction, metadata: Mapping[str, str]) -> None:
    # One palette for the clip: with one for each frame, still parts would flicker.
    sample = images[:: max(1, len(images) // 16)]
    strip = np.concatenate([np.asarray(image) for image in sample])
    palette = Image.fromarray(strip).quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    first, *rest = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    note = _note(fps, metadata).encode("ascii")
    first.save(
        path, "GIF", save_all=True, append_images=rest, duration=_durations(len(images), fps, 10), loop=0, comment=note
    )


def _save_webp(images: list[Image.Image], path: Path, fps: Fraction, metadata: Mapping[str, str]) -> None:
    exif = Image.Exif()
    exif[EXIF_DESCRIPTION] = _note(fps, metadata)
    durations = _durations(len(images), fps, 1)
    first, *rest = images
    first.save(
        path, "WEBP", save_all=True, append_images=rest, duration=durations, loop=0, quality=90, method=4, exif=exif
    )


def _save_png(images: list[Image.Image], path: Path, fps: Fraction, metadata: Mapping[str, str]) -> None:  # noqa: ARG001
    info = PngInfo()
    for key, text in metadata.items():
        info.add_itxt(key, text)
    images[0].save(path, "PNG", pnginfo=info)


def _note(fps: Fraction, metadata: Mapping[str, str]) -> str:
    """All metadata as the one text that gif and webp have room for, with the rate that their durations only round."""
    return json.dumps({"fps": float(fps), "metadata": dict(metadata)})


def _durations(count: int, fps: Fraction, unit_ms: int) -> list[int]:
    """Milliseconds of each frame, rounded to the format's unit so that the errors do not add up."""
    ends = [round(index * 1000 / fps / unit_ms) * unit_ms for index in range(count + 1)]
    return [end - start for start, end in itertools.pairwise(ends)]


def _h264(partial: Path, fps: Fraction, size: tuple[int, int], metadata: Mapping[str, str]) -> Sink:
    # x264's macroblock tree reads memory that it never wrote: with it, the same frames give other bytes now and then.
    return _Encoder(
        partial, fps, size, metadata,
        container="mp4", codec="libx264", codec_options={"crf": "17", "preset": "medium", "x264-params": "mbtree=0"},
        muxer_options={"movflags": "+faststart+use_metadata_tags"},
    )  # fmt: skip


def _vp9(partial: Path, fps: Fraction, size: tuple[int, int], metadata: Mapping[str, str]) -> Sink:
    return _Encoder(
        partial, fps, size, metadata,
        container="webm", codec="libvpx-vp9", codec_options={"crf": "24", "b": "0", "cpu-used": "2"},
        muxer_options={},
    )  # fmt: skip


SINKS: dict[str, Callable[[Path, Fraction, tuple[int, int], Mapping[str, str]], Sink]] = {
    ".mp4": _h264,
    ".webm": _vp9,
    ".gif": lambda *args: _Pictures(*args, save=_save_gif),
    ".webp": lambda *args: _Pictures(*args, save=_save_webp),
    ".png": lambda *args: _Pictures(*args, save=_save_png, most=1),
}
