"""What a video file says of itself: container, codec, geometry, colour, rates, sound."""

from array import array
from enum import IntEnum
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
from av.container import InputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from numpy.typing import NDArray

from kinema.data.frames import pixel_aspect
from kinema.errors import MediaError

COLUMNS = pa.schema(
    [
        pa.field("container", pa.string()),
        pa.field("codec", pa.string()),
        pa.field("pixel_format", pa.string()),
        pa.field("bit_depth", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("rotation", pa.int32()),
        pa.field("pixel_aspect", pa.float32()),
        pa.field("interlaced", pa.bool_()),
        pa.field("color_primaries", pa.string()),
        pa.field("color_transfer", pa.string()),
        pa.field("color_space", pa.string()),
        pa.field("color_range", pa.string()),
        pa.field("hdr", pa.bool_()),
        pa.field("num_frames", pa.int64()),
        pa.field("fps", pa.float32()),
        pa.field("variable_rate", pa.bool_()),
        pa.field("duration_s", pa.float64()),
        pa.field("audio_codec", pa.string()),
        pa.field("audio_channels", pa.int32()),
        pa.field("audio_rate", pa.int32()),
    ]
)
"""The columns that ingest fills; width and height are those of the upright picture with square pixels."""

_HDR_TRANSFERS = ("SMPTE2084", "ARIB_STD_B67")  # perceptual quantiser and hybrid log-gamma
_STEADY = 0.2
"""Largest departure of a frame's duration from the median, as a share of it, that is still a constant rate."""


def probe_file(path: str | Path) -> dict[str, Any]:
    """Give the values of `COLUMNS`, from the headers, all packet times, and the first picture.

    Raises MediaError when the file holds no moving picture that can be decoded, and says what it is instead.
    """
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = _video_stream(container, path)
            times = _packet_times(container, stream)
            if len(times) < 2:
                raise MediaError(f"{_name(path)} holds {'a single' if len(times) else 'no'} picture, no video")
            return _describe(container, stream, times, path)
    except av.error.FFmpegError as error:
        raise MediaError(f"{_name(path)} cannot be read as a video: {error.strerror}") from error
    except (ValueError, IndexError, AssertionError) as error:  # PyAV's own complaints about absurd headers
        raise MediaError(f"{_name(path)} cannot be read as a video: {error}") from error


def _video_stream(container: InputContainer, path: str | Path) -> VideoStream:
    streams = [stream for stream in container.streams.video if "ATTACHED_PIC" not in str(stream.disposition)]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams})
        raise MediaError(f"{_name(path)} holds no video, only {', '.join(kinds) or 'nothing'}")
    if streams[0].codec_context is None:
        raise MediaError(f"{_name(path)} holds video of a codec that cannot be decoded here")
    return streams[0]


def _packet_times(container: InputContainer, stream: VideoStream) -> NDArray[np.float64]:
    """Presentation times in seconds, sorted; times in decoding order where the container has no others."""
    base = float(stream.time_base or 0)
    stamps, lacking = array("d"), False  # eight bytes each: files are long
    for packet in container.demux(stream):
        if packet.size and not packet.is_discard:
            stamp = packet.pts if packet.pts is not None else packet.dts
            lacking |= stamp is None
            stamps.append(stamp or 0)
    if lacking:
        return np.arange(len(stamps)) / float(stream.average_rate or stream.guessed_rate or 25)
    return np.sort(np.array(stamps)) * base


def _describe(
    container: InputContainer, stream: VideoStream, times: NDArray[np.float64], path: str | Path
) -> dict[str, Any]:
    frame = _first_frame(path, stream.index)
    steps = np.sort(np.diff(times))
    median = float(steps[len(steps) // 2]) or 1 / float(stream.average_rate or 25)
    rotation = int(getattr(frame, "rotation", 0)) % 360
    aspect = pixel_aspect(stream)
    width, height = max(1, round(frame.width * aspect)), frame.height
    if rotation in (90, 270):
        width, height = height, width
    context = stream.codec_context
    transfer = _label(ColorTrc, frame.color_trc)
    audio = container.streams.audio[0].codec_context if container.streams.audio else None
    span = float(times[-1] - times[0]) + median
    return {
        "container": container.format.name.partition(",")[0],
        "codec": context.name,
        "pixel_format": frame.format.name,
        "bit_depth": max(component.bits for component in frame.format.components),
        "width": width,
        "height": height,
        "rotation": rotation,
        "pixel_aspect": aspect,
        "interlaced": bool(frame.interlaced_frame),
        "color_primaries": _label(ColorPrimaries, frame.color_primaries),
        "color_transfer": transfer,
        "color_space": _label(Colorspace, frame.colorspace),
        "color_range": _label(ColorRange, frame.color_range),
        "hdr": transfer in _HDR_TRANSFERS,
        "num_frames": len(times),
        "fps": len(times) / span,
        # stamps in whole milliseconds wobble by one or two; that is rounding, not a variable rate
        "variable_rate": bool(np.any(np.abs(steps - median) > max(_STEADY * median, 0.0021))),
        "duration_s": span,
        "audio_codec": audio.name if audio else None,
        "audio_channels": getattr(audio, "channels", None) if audio else None,
        "audio_rate": getattr(audio, "sample_rate", None) if audio else None,
    }


def _first_frame(path: str | Path, index: int) -> av.VideoFrame:
    with av.open(str(path), metadata_errors="replace") as container:
        for frame in container.decode(container.streams[index]):
            assert isinstance(frame, av.VideoFrame)
            return frame
    raise MediaError(f"{_name(path)} holds video of which no picture can be decoded")


def _label(kind: type[IntEnum], value: int) -> str:
    """The name of a colour code, or the bare number where it has none."""
    try:
        return kind(value).name
    except ValueError:
        return str(value)


def _name(path: str | Path) -> str:
    return Path(path).name
