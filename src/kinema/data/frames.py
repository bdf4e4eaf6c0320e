"""Decoded pictures of a file or of a clip in memory, with their true times, upright and as small as they are needed."""

import io
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

import av
import numpy as np
from av.codec.context import Flags2
from av.container import InputContainer
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from kinema.errors import MediaError
from kinema.media import Frame

ANALYSIS_SIDE = 256
"""Longer side, in pixels, of the pictures that shots, scores and hashes are computed from."""

Made = TypeVar("Made")
Times = NDArray[np.float64]
VideoPacket: TypeAlias = "av.Packet[VideoStream]"

_MOST_ERRORS = 100
"""Packets in a row that may fail before a file counts as broken from there on."""
_SHORTEST_S = 0.0005
"""Time between two pictures below which the second one's stamp is not believed."""


class Scaler:
    """Makes pictures small and gives them as RGB; it is prepared for one size and format at a time."""

    def __init__(self) -> None:
        self._small, self._rgb = VideoReformatter(), VideoReformatter()

    def rgb(self, frame: av.VideoFrame, width: int, height: int) -> Frame:
        """The picture "h w 3", each pixel the mean of those that it stands for.

        The usual pictures (YUV, 4:2:0, 8 bits) are made small before they become RGB: two thirds of the time.
        """
        area = Interpolation.AREA
        if frame.format.name == "yuv420p" and width < frame.width:
            frame = self._small.reformat(frame, width, height, frame.format.name, interpolation=area, threads=1)
        small = self._rgb.reformat(frame, width, height, "rgb24", interpolation=area, threads=1)
        return np.asarray(small.to_ndarray(), dtype=np.uint8)


@dataclass(frozen=True)
class Picture:
    """One decoded frame: its index among the decodable ones, its time in seconds on the file's own clock."""

    index: int
    time_s: float
    frame: av.VideoFrame
    damaged: bool
    aspect: float = 1.0
    """Width over height of a pixel, which the stream knows and the frame does not."""
    scaler: Scaler = field(default_factory=Scaler, repr=False, compare=False)
    """Those of a file share it."""

    @property
    def is_key(self) -> bool:
        """Whether it is a key frame."""
        return bool(self.frame.key_frame)

    def rgb(self, longer_side: int | None = None) -> Frame:
        """The upright picture "h w 3" with square pixels, shrunk to `longer_side` where it is larger."""
        width, height = max(1, round(self.frame.width * self.aspect)), self.frame.height
        if longer_side and max(width, height) > longer_side:
            scale = longer_side / max(width, height)
            width, height = max(2, round(width * scale)), max(2, round(height * scale))
        image = self.scaler.rgb(self.frame, width, height)
        turns = round(getattr(self.frame, "rotation", 0) / 90) % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def pixel_aspect(stream: VideoStream) -> float:
    """Width over height of a pixel of a stream, as coded: 16/11 for some of 720x576; 1 where it says nothing."""
    return float(stream.sample_aspect_ratio or 1) or 1.0


def iter_pictures(
    video: str | Path | bytes, watch: Callable[[VideoPacket], None] | None = None, *, vectors: bool = False
) -> Iterator[Picture]:
    """Decode the first video stream from its beginning, on one thread; `watch` sees each packet before its pictures.

    With `vectors`, the frames carry the codec's motion vectors as side data, where its decoder gives them. A packet
    that cannot be decoded marks the next picture as damaged. Raises MediaError when the file cannot be opened, or when
    nothing more can be decoded although most of it is still to come.
    """
    name = Path(video).name if isinstance(video, str | Path) else "the clip"
    try:
        with av.open(
            io.BytesIO(video) if isinstance(video, bytes) else str(video), "r", metadata_errors="replace"
        ) as file:
            if not file.streams.video:
                raise MediaError(f"{name} holds no video")
            stream = file.streams.video[0]
            if vectors:
                stream.codec_context.flags2 |= Flags2.export_mvs
            yield from decode_packets(file.demux(stream) if watch is None else _watched(file, watch), stream, name)
    except av.error.FFmpegError as error:
        raise MediaError(f"{name} cannot be decoded: {error.strerror}") from error


def real_packets(file: InputContainer) -> Iterator[VideoPacket]:
    """The packets of the first video stream that hold something to be shown."""
    return (packet for packet in file.demux(file.streams.video[0]) if packet.size and not packet.is_discard)


def _watched(file: InputContainer, watch: Callable[[VideoPacket], None]) -> Iterator[VideoPacket]:
    for packet in file.demux(file.streams.video[0]):
        if packet.size and not packet.is_discard:
            watch(packet)
        yield packet


def sample_pictures(video: str | Path | bytes, per_second: float) -> Iterator[Picture]:
    """Yield every picture that is at least 1 / `per_second` seconds after the one before, the first included."""
    due = -float("inf")
    for picture in iter_pictures(video):
        if picture.time_s >= due:
            yield picture
            due = picture.time_s + 1 / per_second - 1e-4


def pick_pictures(
    clip: bytes, choose: Callable[[Times], Collection[int]], make: Callable[[Picture], Made]
) -> dict[int, Made]:
    """What `make` gives for the pictures that `choose` names by index, once it knows when each is shown, in seconds.

    A clip is decoded once, and its other pictures are not kept: the packets tell the times before. One whose pictures
    come at other times is decoded again. Raises MediaError as `iter_pictures` does, and what `choose` raises.
    """
    times = _packet_times(clip)
    made: dict[int, Made] = {}
    for _ in range(2):
        wanted = choose(times) if len(times) else ()
        made, shown = {}, []
        for picture in iter_pictures(clip):
            shown.append(picture.time_s)
            if picture.index in wanted:
                made[picture.index] = make(picture)
        if np.array_equal(times, shown):
            break
        times = np.array(shown)
    return made


def _packet_times(clip: bytes) -> Times:
    """When the pictures are shown, as the packets say; none where the clip cannot be opened."""
    try:
        with av.open(io.BytesIO(clip), "r", metadata_errors="replace") as file:
            stamps = (packet.pts for packet in real_packets(file))
            base = file.streams.video[0].time_base or 1
            return np.sort([float(stamp * base) for stamp in stamps if stamp is not None])
    except (av.error.FFmpegError, IndexError):
        return np.empty(0)


def decode_packets(packets: Iterable[VideoPacket], stream: VideoStream, name: str) -> Iterator[Picture]:
    """The pictures of packets of one stream, on one thread; `name` is the file's, for errors as in `iter_pictures`."""
    stream.codec_context.thread_count = 1
    aspect, scaler = pixel_aspect(stream), Scaler()
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    index, errors_in_a_row, damaged, last = 0, 0, False, -float("inf")
    for packet in packets:
        try:
            frames = packet.decode()
            errors_in_a_row = 0
        except av.error.InvalidDataError as error:
            damaged = True
            errors_in_a_row += 1
            if errors_in_a_row > _MOST_ERRORS:
                raise MediaError(f"{name} cannot be decoded after picture {index}: {error.strerror}") from error
            continue
        for frame in frames:
            assert isinstance(frame, av.VideoFrame)
            stamp = cast("float | None", frame.time)  # PyAV promises one, but broken files have none
            time_s = index / rate if stamp is None else stamp
            if time_s < last + _SHORTEST_S:  # stamps that stand still or go back, as broken files have
                time_s = last + 1 / rate
            yield Picture(index, time_s, frame, damaged or frame.is_corrupt, aspect, scaler)
            index, damaged, last = index + 1, False, time_s
    if not index:
        raise MediaError(f"{name} holds no picture that can be decoded")
