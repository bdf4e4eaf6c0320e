"""Clips out of files: the packets as they are where a clip begins and ends at key frames, else one transcode."""

import contextlib
import functools
import itertools
from array import array
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from kinema.data.frames import VideoPacket, iter_pictures, pixel_aspect, real_packets
from kinema.data.key_frames import stands_alone
from kinema.data.transcode import EXACT_S, Span, Transcoder
from kinema.errors import MediaError

Method = Literal["copied", "transcoded"]
_COPYABLE = {"h264": ".mp4", "hevc": ".mp4", "vp9": ".mp4", "av1": ".mp4", "vp8": ".webm", "mpeg4": ".mp4"}


class Cutter:
    """Cuts spans out of one file, a few at a time and in order, while somebody else reads it.

    It is told of each packet (`watch`) before it is asked for a span that needs it, and remembers those of the spans
    that are next; so neither memory nor work depends on how many came before. Close it, or use it in a `with`.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self._path, self._folder = path, folder
        with av.open(str(path), metadata_errors="replace") as file:
            stream = file.streams.video[0]
            self._codec, self._extradata = stream.codec_context.name, stream.codec_context.extradata or b""
            rate = Fraction(stream.average_rate or 25)
            aspect = pixel_aspect(stream)
            self._packets = _Packets(float(stream.time_base or 0))
        self.watch = self._packets.add
        self._transcoder = Transcoder(path, rate, aspect)
        self._source: InputContainer | None = None
        self._to_copy: Iterator[tuple[int, VideoPacket]] = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._source is not None:
            self._source.close()

    def cut(
        self, spans: Sequence[Span], as_is: Sequence[Span] = (), *, at_end: bool = False
    ) -> Iterator[tuple[Span, Path, Method]]:
        """Write each span into the folder, and yield it with its file; the packets of spans in `as_is` may be copied.

        `at_end` says that all packets of the file were watched.
        """
        ending = _COPYABLE.get(self._codec)
        groups = {span: group for span in as_is if ending and (group := self._packets.group(span))}
        targets = {span: self._folder / f"{span.first:08d}{ending}" for span in groups}
        muxed = self._mux([(targets[span], *groups[span]) for span in sorted(groups, key=groups.__getitem__)])
        for span in spans:
            target = targets.get(span)
            if target in muxed and self._holds(target, *groups[span], alone=muxed[target], at_end=at_end):
                yield span, target, "copied"
            else:
                target = self._folder / f"{span.first:08d}.mp4"
                self._transcoder.encode(target, span)
                yield span, target, "transcoded"
        if spans:
            self._packets.forget(spans[-1].end_s)

    def _mux(self, wanted: Sequence[tuple[Path, int, int]]) -> dict[Path, bool]:
        """Copy packets `begin` to `end` into each target, and say of each whether its key frame stands alone.

        Left out are those that the container refuses, as it does for the stamps of broken files.
        """
        muxed: dict[Path, bool] = {}
        for target, begin, end in wanted:
            if self._source is None:
                self._source = av.open(str(self._path), metadata_errors="replace")
                self._to_copy = enumerate(real_packets(self._source))
            later = itertools.dropwhile(functools.partial(_stands_before, begin), self._to_copy)
            numbered = list(itertools.islice(later, end - begin))
            if not numbered or numbered[0][0] != begin or len(numbered) != end - begin:  # stamps went back
                continue
            taken = [packet for _, packet in numbered]
            alone = stands_alone(self._codec, self._extradata, bytes(taken[0]))
            with contextlib.suppress(av.error.FFmpegError, ValueError):
                _mux_one(target, self._source.streams.video[0], taken)
                muxed[target] = alone
        return muxed

    def _holds(self, path: Path, begin: int, end: int, *, alone: bool, at_end: bool) -> bool:
        """Whether a copy decodes to its pictures: some streams need what stands before their key frames.

        Where its first one stands `alone`, the first picture tells; else the first group does. A copy of all packets
        is the stream itself, which was decoded whole already.
        """
        if at_end and begin == 0 and end == len(self._packets):
            return True
        count = 1 if alone else self._packets.first_group(begin, end)
        try:
            damaged = [picture.damaged for picture in itertools.islice(iter_pictures(path), count)]
        except MediaError:
            return False
        return len(damaged) == count and not any(damaged)


class _Packets:
    """Packets in the order in which they are decoded, numbered through the file: times in seconds, and key frames.

    Those before the spans that are next are forgotten.
    """

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._times, self._keys = array("d"), array("b")
        self._gone = 0
        self._are_timed = True

    def __len__(self) -> int:
        return self._gone + len(self._times)

    def add(self, packet: VideoPacket) -> None:
        """Take the next one."""
        self._are_timed &= packet.pts is not None
        self._times.append((packet.pts or 0) * self._tick_s)
        self._keys.append(packet.is_keyframe)

    def forget(self, end_s: float) -> None:
        """What comes before the first picture shown at `end_s` or later is not asked for again."""
        later = np.flatnonzero(np.array(self._times) >= end_s - EXACT_S)
        gone = int(later[0]) if len(later) else len(self._times)
        del self._times[:gone], self._keys[:gone]
        self._gone += gone

    def group(self, span: Span) -> tuple[int, int] | None:
        """The packets of a span, when they are whole groups: from a key frame to the next, and no others' pictures.

        None from the first packet on that has no time.
        """
        times = np.array(self._times)
        inside = np.flatnonzero((times >= span.start_s - EXACT_S) & (times < span.end_s - EXACT_S))
        if not self._are_timed or not len(inside) or len(inside) != span.last - span.first:
            return None
        begin, end = int(inside[0]), int(inside[-1]) + 1
        opens = self._keys[begin] and times[begin] == times[inside].min()
        closes = end == len(times) or self._keys[end]
        return (self._gone + begin, self._gone + end) if opens and closes and end - begin == len(inside) else None

    def first_group(self, begin: int, end: int) -> int:
        """How many packets from `begin` on come before the next key frame, or before `end`."""
        keys = self._keys[begin - self._gone + 1 : end - self._gone]
        return keys.index(1) + 1 if 1 in keys else end - begin


def _stands_before(begin: int, packet: tuple[int, VideoPacket]) -> bool:
    return packet[0] < begin


def _mux_one(target: Path, stream: VideoStream, packets: Sequence[VideoPacket]) -> None:
    options = {"fflags": "+bitexact", **({"movflags": "+faststart"} if target.suffix == ".mp4" else {})}
    with av.open(str(target), "w", options=options) as sink:
        out = sink.add_stream_from_template(stream)
        shift = packets[0].pts or 0
        for packet in packets:
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
            packet.stream = out
            sink.mux(packet)
