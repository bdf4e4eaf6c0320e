"""Clips encoded anew: upright, progressive, with square pixels, even sides and 8 bits; each picture keeps its time."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.video.stream import VideoStream

from kinema.data.frames import Picture, iter_pictures
from kinema.data.key_frames import pictures_from
from kinema.errors import MediaError

_QUALITY = "18"
"""Constant rate factor of a transcode: no difference that an eye finds."""
_PRESET = "ultrafast"
"""Nearest to the source for the time that it takes: a third of that of "veryfast" at 16, for a larger file."""
_TICK = Fraction(1, 90_000)
_WORTH_A_JUMP = 48
"""Pictures to pass over from which on a file is opened again, at the key frame before a span."""
EXACT_S = 1e-6
"""Difference below which two times are the same."""


@dataclass(frozen=True)
class Span:
    """Pictures `first` to `last` (exclusive) of a file, shown from `start_s` to `end_s` on the file's clock."""

    first: int
    last: int
    start_s: float
    end_s: float


class Transcoder:
    """Encodes spans of one file, one after the other; `aspect` is that of its pixels."""

    def __init__(self, path: Path, rate: Fraction, aspect: float) -> None:
        self._path, self._rate, self._aspect = path, rate.limit_denominator(1001), aspect
        self._pictures = iter_pictures(path)
        self._at = 0

    def encode(self, target: Path, span: Span) -> None:
        """Write a span into a file; raises MediaError when it holds no picture."""
        if span.first - self._at < _WORTH_A_JUMP or not self._encode_from_key_frame(target, span):
            wanted = itertools.dropwhile(functools.partial(_is_before, span.first), self._pictures)
            self._encode(target, itertools.islice(wanted, span.last - span.first))
            self._at = span.last

    def _encode_from_key_frame(self, target: Path, span: Span) -> bool:
        """Encode without decoding all that stands before the span; false where it does not read as it did before."""
        count = 0

        def same() -> Iterator[Picture]:
            nonlocal count
            for picture in pictures_from(self._path, span.start_s):
                if picture.time_s >= span.end_s - EXACT_S:
                    return
                if picture.damaged or (not count and picture.time_s > span.start_s + EXACT_S):
                    return
                count += 1
                yield picture

        try:
            self._encode(target, same())
        except (MediaError, av.error.FFmpegError):  # no picture at all, or no way to get there
            return False
        return count == span.last - span.first

    def _encode(self, target: Path, pictures: Iterator[Picture]) -> None:
        with av.open(str(target), "w", options={"fflags": "+bitexact", "movflags": "+faststart"}) as sink:
            out: VideoStream | None = None
            graph: av.filter.Graph | None = None
            start = 0.0
            for picture in pictures:
                if graph is None:
                    graph, start = _upright(picture.frame, self._aspect), picture.time_s
                picture.frame.pts = round((picture.time_s - start) / _TICK)
                picture.frame.time_base = _TICK
                graph.push(picture.frame)
                out = _drain(graph, sink, out, self._rate)
            if graph is None:
                raise MediaError(f"{target.name}: the span holds no picture")
            graph.push(None)
            out = _drain(graph, sink, out, self._rate)
            assert out is not None
            sink.mux(out.encode(None))


def _is_before(first: int, picture: Picture) -> bool:
    return picture.index < first


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
    options = {"crf": _QUALITY, "preset": _PRESET, "x264-params": "cpu-independent=1:cabac=1"}
    stream = sink.add_stream("libx264", rate=rate, options=options)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
    stream.time_base = _TICK
    stream.codec_context.time_base = _TICK
    stream.codec_context.thread_count = 1  # the bytes depend on it
    return stream


def _upright(frame: av.VideoFrame, aspect: float) -> av.filter.Graph:
    """The chain of filters that makes a picture progressive, upright, square in its pixels, even in its sides."""
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
