"""Video as a stream of bytes: fragmented mp4, Y4M and bare frames, whole after every chunk."""

import io
from collections.abc import Mapping
from fractions import Fraction
from typing import Protocol

import av
import numpy as np
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from kinema.media.formats import SCALING, Frame

_SECONDS_BETWEEN_KEY_FRAMES = 2
_ENCODER_THREADS = 2


class ChunkEncoder(Protocol):
    """What turns chunks of frames into bytes that follow each other."""

    def encode(self, frames: Frame) -> bytes:
        """Give the bytes of the next frames, "f h w 3"; whoever has all bytes so far can play all frames so far."""


class FragmentEncoder:
    """H.264 in fragmented mp4, one fragment for each chunk: what browsers play while it arrives (ISO/IEC 14496-12).

    A player can begin at a fragment that starts with a key frame; there is one every two seconds.
    """

    def __init__(self, fps: Fraction, size: tuple[int, int], metadata: Mapping[str, str]) -> None:
        self._metadata = dict(metadata)
        self._container = av.open(io.BytesIO(), "w", format="mp4")
        stream = self._container.add_stream(
            "libx264",
            rate=fps,
            options={"crf": "17", "preset": "medium", "tune": "zerolatency", "x264-params": "mbtree=0"},
        )
        assert isinstance(stream, VideoStream)
        self._stream = stream
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_count = _ENCODER_THREADS  # fixed, because the bytes depend on it
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        self._container.start_encoding()  # the parameters that every fragment repeats are known from here on
        self._fps, self._num_frames, self._num_chunks = fps, 0, 0
        self._next_key = Fraction(0)

    def encode(self, frames: Frame) -> bytes:
        """Give one fragment, and before the first one the header."""
        self._num_chunks += 1
        buffer = io.BytesIO()
        options = {
            "movflags": "frag_custom+empty_moov+default_base_moof+skip_trailer+use_metadata_tags",
            "fflags": "+bitexact",
            "fragment_index": str(self._num_chunks),
        }
        with av.open(buffer, "w", format="mp4", options=options) as muxer:
            muxer.metadata.update(self._metadata)
            stream = muxer.add_stream_from_template(self._stream)
            start = self._num_frames
            for frame in frames:
                for packet in self._stream.encode(self._picture(frame)):
                    packet.stream, packet.duration = stream, 1
                    muxer.mux(packet)
            ticks = int(start / self._fps / stream.time_base) if stream.time_base else 0
        data = buffer.getvalue()
        body = data[_box(data, b"moof") :]
        placed = _placed(body, ticks)
        return placed if start else data[: len(data) - len(body)] + placed

    def _picture(self, frame: Frame) -> VideoFrame:
        picture = to_yuv(frame)
        picture.pts, picture.time_base = self._num_frames, 1 / self._fps
        if self._num_frames / self._fps >= self._next_key:
            picture.pict_type = PictureType.I
            self._next_key += _SECONDS_BETWEEN_KEY_FRAMES
        self._num_frames += 1
        return picture


class Y4MEncoder:
    """Uncompressed 4:2:0 with a line of text before each frame: what ffmpeg, mpv and x264 read from a pipe (YUV4MPEG2).

    BT.709, limited range.
    """

    def __init__(self, fps: Fraction, size: tuple[int, int], metadata: Mapping[str, str]) -> None:  # noqa: ARG002
        rate = f"{fps.numerator}:{fps.denominator}"
        self._header = f"YUV4MPEG2 W{size[1]} H{size[0]} F{rate} Ip A1:1 C420mpeg2 XCOLORRANGE=LIMITED\n".encode()

    def encode(self, frames: Frame) -> bytes:
        """Give the frames, and before the first one the header."""
        header, self._header = self._header, b""
        return header + b"".join(b"FRAME\n" + to_yuv(frame).to_ndarray().tobytes() for frame in frames)


class RawEncoder:
    """Bare RGB bytes, frame after frame; the reader must know size and rate."""

    def __init__(self, fps: Fraction, size: tuple[int, int], metadata: Mapping[str, str]) -> None:
        """Nothing is written but the frames."""

    def encode(self, frames: Frame) -> bytes:
        """Give the frames."""
        return frames.tobytes()


def to_yuv(frame: Frame) -> VideoFrame:
    """Turn one RGB frame into 4:2:0, BT.709, limited range."""
    return VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, interpolation=SCALING
    )


def _box(data: bytes, kind: bytes) -> int:
    """Where the first box of a kind begins, among those that are not within another."""
    start = 0
    while data[start + 4 : start + 8] != kind:
        start += int.from_bytes(data[start : start + 4], "big")
    return start


def _placed(fragment: bytes, ticks: int) -> bytes:
    """Say when the fragment is shown; each was made by a muxer that took it for the first."""
    at = fragment.index(b"tfdt")
    is_long = fragment[at + 4] == 1
    start, length = at + 8, 8 if is_long else 4
    return fragment[:start] + ticks.to_bytes(length, "big") + fragment[start + length :]
