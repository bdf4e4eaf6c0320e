"""Clips out of files: the packets as they are where a clip begins and ends at key frames, else one transcode."""

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
from av.video.stream import VideoStream

from kinema.data.frames import Picture, iter_pictures
from kinema.errors import MediaError

Method = Literal["copied", "transcoded"]
_COPYABLE = {"h264": ".mp4", "hevc": ".mp4", "vp9": ".mp4", "av1": ".mp4", "vp8": ".webm", "mpeg4": ".mp4"}
_QUALITY = "16"
"""Constant rate factor of a transcode: no difference that an eye finds."""
_TICK = Fraction(1, 90_000)


@dataclass(frozen=True)
class Span:
    """Pictures `first` to `last` (exclusive) of a file, shown from `start_s` to `end_s` on the file's clock."""

    first: int
    last: int
    start_s: float
    end_s: float


def cut_clips(path: Path, spans: Sequence[Span], folder: Path, *, as_is: bool) -> Iterator[tuple[Span, Path, Method]]:
    """Write each span into `folder`, and yield it with its file; `as_is` allows packets to be copied.

    A transcode is upright, progressive, with square pixels, even sides and 8 bits, and keeps the time of each picture.
    """
    rest: list[Span] = []
    copied = _copy_spans(path, spans, folder) if as_is else {}
    for span in spans:
        if span in copied:
            yield span, copied[span], "copied"
        else:
            rest.append(span)
    if rest:
        yield from _transcode(path, rest, folder)


def _copy_spans(path: Path, spans: Sequence[Span], folder: Path) -> dict[Span, Path]:
    """Copy the spans that are whole groups of pictures: all packets between two key frames, and no others' pictures."""
    with av.open(str(path), metadata_errors="replace") as source:
        stream = source.streams.video[0]
        ending = _COPYABLE.get(stream.codec_context.name)
        if ending is None:
            return {}
        packets = [
            (packet.pts, packet.is_keyframe) for packet in source.demux(stream) if packet.size and not packet.is_discard
        ]
        if any(pts is None for pts, _ in packets):
            return {}
        base = float(stream.time_base or 0)
    times = [(pts or 0) * base for pts, _ in packets]
    found: dict[Span, Path] = {}
    for span in spans:
        inside = [index for index, time in enumerate(times) if span.start_s - 1e-6 <= time < span.end_s - 1e-6]
        if not inside or len(inside) != span.last - span.first:
            continue
        begin, end = inside[0], inside[-1] + 1
        opens = packets[begin][1] and times[begin] == min(times[index] for index in inside)
        closes = end == len(packets) or packets[end][1]
        if opens and closes and end - begin == len(inside):
            target = folder / f"{span.first:08d}{ending}"
            if _copy(path, target, begin, end) and _holds(target, len(inside)):
                found[span] = target
    return found


def _copy(path: Path, target: Path, begin: int, end: int) -> bool:
    """Copy packets `begin` to `end`; False when the container refuses them, as it does the stamps of broken files."""
    try:
        _mux(path, target, begin, end)
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _mux(path: Path, target: Path, begin: int, end: int) -> None:
    with (
        av.open(str(path), metadata_errors="replace") as source,
        av.open(str(target), "w", options={"fflags": "+bitexact", "movflags": "+faststart"}) as sink,
    ):
        stream = source.streams.video[0]
        out = sink.add_stream_from_template(stream)
        packets = (packet for packet in source.demux(stream) if packet.size and not packet.is_discard)
        shift: int | None = None
        for packet in itertools.islice(packets, begin, end):
            if shift is None:
                shift = packet.pts or 0
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
            packet.stream = out
            sink.mux(packet)


def _holds(path: Path, count: int) -> bool:
    """Whether a copy decodes to exactly its pictures: some streams need what stands before their key frames."""
    try:
        damaged = [picture.damaged for picture in iter_pictures(path)]
    except MediaError:
        return False
    return len(damaged) == count and not any(damaged)


def _transcode(path: Path, spans: Sequence[Span], folder: Path) -> Iterator[tuple[Span, Path, Method]]:
    pictures = iter_pictures(path)
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams.video[0]
        for span in spans:
            target = folder / f"{span.first:08d}.mp4"
            wanted = itertools.dropwhile(functools.partial(_is_before, span.first), pictures)
            _encode(target, stream, itertools.islice(wanted, span.last - span.first))
            yield span, target, "transcoded"


def _is_before(first: int, picture: Picture) -> bool:
    return picture.index < first


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
    stream = sink.add_stream("libx264", rate=rate, options={"crf": _QUALITY, "preset": "veryfast"})
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
