"""Clips out of files: the packets as they are where a clip begins and ends at key frames, else one transcode."""

import contextlib
import functools
import itertools
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from kinema.data.frames import Picture, iter_pictures
from kinema.data.key_frames import pictures_from, stands_alone
from kinema.errors import MediaError

Method = Literal["copied", "transcoded"]
_COPYABLE = {"h264": ".mp4", "hevc": ".mp4", "vp9": ".mp4", "av1": ".mp4", "vp8": ".webm", "mpeg4": ".mp4"}
_QUALITY = "16"
"""Constant rate factor of a transcode: no difference that an eye finds."""
_TICK = Fraction(1, 90_000)
_WORTH_A_JUMP = 48
"""Pictures to pass over from which on a file is opened again, at the key frame before a span."""
_EXACT_S = 1e-6
"""Difference below which two times are the same."""


@dataclass(frozen=True)
class Span:
    """Pictures `first` to `last` (exclusive) of a file, shown from `start_s` to `end_s` on the file's clock."""

    first: int
    last: int
    start_s: float
    end_s: float


def cut_clips(
    path: Path, spans: Sequence[Span], folder: Path, as_is: Sequence[Span] = ()
) -> Iterator[tuple[Span, Path, Method]]:
    """Write each span into `folder`, and yield it with its file; the packets of spans in `as_is` may be copied.

    A transcode is upright, progressive, with square pixels, even sides and 8 bits, and keeps the time of each picture.
    """
    copied = _copy_spans(path, as_is, folder) if as_is else {}
    rest = [span for span in spans if span not in copied]
    for span, target in copied.items():
        yield span, target, "copied"
    if rest:
        yield from _transcode(path, rest, folder)


@dataclass(frozen=True)
class _Packets:
    """All packets of a stream in the order in which they are decoded: times in seconds, and which are key frames."""

    times: NDArray[np.float64]
    keys: NDArray[np.bool_]

    @functools.cached_property
    def shown(self) -> NDArray[np.intp]:
        """The packets in the order in which their pictures are shown."""
        return np.argsort(self.times, kind="stable")

    def group(self, span: Span) -> tuple[int, int] | None:
        """The packets of a span, when they are whole groups: from a key frame to the next, and no others' pictures."""
        edges = [span.start_s - _EXACT_S, span.end_s - _EXACT_S]
        ends = np.searchsorted(self.times, edges, sorter=self.shown)
        inside = self.shown[ends[0] : ends[1]]
        if not len(inside) or len(inside) != span.last - span.first:
            return None
        begin, end = int(inside.min()), int(inside.max()) + 1
        opens = self.keys[begin] and self.times[begin] == self.times[inside].min()
        closes = end == len(self.times) or self.keys[end]
        return (begin, end) if opens and closes and end - begin == len(inside) else None


def _copy_spans(path: Path, spans: Sequence[Span], folder: Path) -> dict[Span, Path]:
    """Copy the spans that are whole groups of pictures, in one pass over the packets, and check the copies."""
    with av.open(str(path), metadata_errors="replace") as source:
        stream = source.streams.video[0]
        ending = _COPYABLE.get(stream.codec_context.name)
        if ending is None:
            return {}
        stamps, keys = array("d"), array("b")  # a byte or eight each: files are long
        for packet in _real_packets(source, stream):
            if packet.pts is None:
                return {}
            stamps.append(packet.pts)
            keys.append(packet.is_keyframe)
        if not stamps:
            return {}
        packets = _Packets(np.array(stamps) * float(stream.time_base or 0), np.array(keys, dtype=np.bool_))
    groups = {span: group for span in spans if (group := packets.group(span)) is not None}
    targets = {span: folder / f"{span.first:08d}{ending}" for span in groups}
    muxed = _mux(path, [(targets[span], *groups[span]) for span in sorted(groups, key=groups.__getitem__)])
    return {
        span: target
        for span, target in targets.items()
        if target in muxed and _holds(target, *groups[span], packets.keys, alone=muxed[target])
    }


def _real_packets(source: InputContainer, stream: VideoStream) -> Iterator["av.Packet[VideoStream]"]:
    return (packet for packet in source.demux(stream) if packet.size and not packet.is_discard)


def _mux(path: Path, wanted: Sequence[tuple[Path, int, int]]) -> dict[Path, bool]:
    """Copy packets `begin` to `end` into each target, and say of each whether its key frame stands alone.

    Left out are those that the container refuses, as it does for the stamps of broken files.
    """
    muxed: dict[Path, bool] = {}
    with av.open(str(path), metadata_errors="replace") as source:
        stream = source.streams.video[0]
        packets = enumerate(_real_packets(source, stream))
        codec, extradata = stream.codec_context.name, stream.codec_context.extradata or b""
        for target, begin, end in wanted:
            later = itertools.dropwhile(functools.partial(_stands_before, begin), packets)
            taken = [packet for _, packet in itertools.islice(later, end - begin)]
            alone = stands_alone(codec, extradata, bytes(taken[0]))
            with contextlib.suppress(av.error.FFmpegError, ValueError):
                _mux_one(target, stream, taken)
                muxed[target] = alone
    return muxed


def _stands_before(begin: int, packet: tuple[int, "av.Packet[VideoStream]"]) -> bool:
    return packet[0] < begin


def _mux_one(target: Path, stream: VideoStream, packets: Sequence["av.Packet[VideoStream]"]) -> None:
    options = {"fflags": "+bitexact", **({"movflags": "+faststart"} if target.suffix == ".mp4" else {})}
    with av.open(str(target), "w", options=options) as sink:
        out = sink.add_stream_from_template(stream)
        shift = packets[0].pts or 0
        for packet in packets:
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
            packet.stream = out
            sink.mux(packet)


def _holds(path: Path, begin: int, end: int, keys: NDArray[np.bool_], *, alone: bool) -> bool:
    """Whether a copy decodes to its pictures: some streams need what stands before their key frames.

    Where its first one stands `alone`, the first picture tells; else the first group does. A copy of all packets
    is the stream itself, which was decoded whole already.
    """
    if begin == 0 and end == len(keys):
        return True
    later = np.flatnonzero(keys[begin + 1 : end])
    count = 1 if alone else int(later[0]) + 1 if len(later) else end - begin
    try:
        damaged = [picture.damaged for picture in itertools.islice(iter_pictures(path), count)]
    except MediaError:
        return False
    return len(damaged) == count and not any(damaged)


def _transcode(path: Path, spans: Sequence[Span], folder: Path) -> Iterator[tuple[Span, Path, Method]]:
    pictures, at = iter_pictures(path), 0
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams.video[0]
        for span in spans:
            target = folder / f"{span.first:08d}.mp4"
            if span.first - at < _WORTH_A_JUMP or not _encode_from_key_frame(target, stream, path, span):
                wanted = itertools.dropwhile(functools.partial(_is_before, span.first), pictures)
                _encode(target, stream, itertools.islice(wanted, span.last - span.first))
                at = span.last
            yield span, target, "transcoded"


def _is_before(first: int, picture: Picture) -> bool:
    return picture.index < first


def _encode_from_key_frame(target: Path, stream: VideoStream, path: Path, span: Span) -> bool:
    """Encode a span without decoding all that stands before it; false where it does not read as it did in one pass."""
    count = 0

    def same() -> Iterator[Picture]:
        nonlocal count
        for picture in pictures_from(path, span.start_s):
            if picture.time_s >= span.end_s - _EXACT_S:
                return
            if picture.damaged or (not count and picture.time_s > span.start_s + _EXACT_S):
                return
            count += 1
            yield picture

    try:
        _encode(target, stream, same())
    except (MediaError, av.error.FFmpegError):  # no picture at all, or no way to get there
        return False
    return count == span.last - span.first


def _encode(target: Path, stream: VideoStream, pictures: Iterator[Picture]) -> None:
    rate = Fraction(stream.average_rate or 25).limit_denominator(1001)
    with av.open(str(target), "w", options={"fflags": "+bitexact", "movflags": "+faststart"}) as sink:
        out: VideoStream | None = None
        graph: av.filter.Graph | None = None
        start = 0.0
        for picture in pictures:
            if graph is None:
                graph, start = _upright(picture.frame, stream), picture.time_s
            picture.frame.pts = round((picture.time_s - start) / _TICK)
            picture.frame.time_base = _TICK
            graph.push(picture.frame)
            out = _drain(graph, sink, out, rate)
        if graph is None:
            raise MediaError(f"{target.name}: the span holds no picture")
        graph.push(None)
        out = _drain(graph, sink, out, rate)
        assert out is not None
        sink.mux(out.encode(None))


def _drain(
    graph: av.filter.Graph, sink: av.container.OutputContainer, out: VideoStream | None, rate: Fraction
) -> VideoStream | None:
    """Encode what the filters have ready; the first picture of all says what the stream is like."""
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return out
        assert isinstance(frame, av.VideoFrame)
        out = out or _stream(sink, frame, rate)
        frame.pict_type = 0  # the encoder places its own key frames
        sink.mux(out.encode(frame))


def _stream(sink: av.container.OutputContainer, frame: av.VideoFrame, rate: Fraction) -> VideoStream:
    # left to itself x264 takes routines of this processor that read memory never written: bytes then differ by chance
    options = {"crf": _QUALITY, "preset": "veryfast", "x264-params": "cpu-independent=1"}
    stream = sink.add_stream("libx264", rate=rate, options=options)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
    stream.time_base = _TICK
    stream.codec_context.time_base = _TICK
    stream.codec_context.thread_count = 1  # the bytes depend on it
    return stream


def _upright(frame: av.VideoFrame, stream: VideoStream) -> av.filter.Graph:
    """The chain of filters that makes a picture progressive, upright, square in its pixels, even in its sides."""
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    steps: list[tuple[str, str]] = []
    if frame.interlaced_frame:
        steps.append(("bwdif", "mode=send_frame"))
    width, height = max(2, round(frame.width * aspect) // 2 * 2), max(2, frame.height // 2 * 2)
    if (width, height) != (frame.width, frame.height):
        steps.append(("scale", f"{width}:{height}:flags=bicubic"))
    steps += {0: [], 1: [("transpose", "cclock")], 2: [("hflip", ""), ("vflip", "")], 3: [("transpose", "clock")]}[
        turns
    ]
    steps += [("setsar", "1"), ("format", "yuv420p")]
    graph = av.filter.Graph()
    nodes = [
        graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=_TICK, name="in"),
        *(graph.add(name, arguments or None) for name, arguments in steps),
        graph.add("buffersink"),
    ]
    for before, after in itertools.pairwise(nodes):
        before.link_to(after)
    graph.configure()
    return graph
