"""Key frames at which decoding can begin in the middle of a file, with the pictures that a whole pass gives."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import av

from kinema.data.frames import Picture, decode_packets


def pictures_from(path: Path, time_s: float) -> Iterator[Picture]:
    """The pictures from a time on, seconds on the file's clock, with indices of their own.

    Decoding begins at the key frame before. None are given where the codec does not promise that it can.
    """
    with av.open(str(path), metadata_errors="replace") as file:
        stream = file.streams.video[0]
        base = float(stream.time_base or 1)
        file.seek(round(time_s / base), stream=stream)
        packets = file.demux(stream)
        first = next(packets, None)
        context = stream.codec_context
        if first is None or not first.size or first.pts is None or first.pts * base > time_s + 1e-6:
            return
        if not stands_alone(context.name, context.extradata or b"", bytes(first)):
            return
        pictures = decode_packets(itertools.chain([first], packets), stream, path.name)
        yield from itertools.dropwhile(lambda picture: picture.time_s < time_s - 1e-6, pictures)


def stands_alone(codec: str, extradata: bytes, packet: bytes) -> bool:
    """Whether no picture after this key frame can need what stands before it, by the rules of the codec.

    VP8, VP9 and AV1 forget everything at a key frame; H.264 and HEVC do so at pictures of one kind (IDR), while others
    that are marked as key frames promise nothing.
    """
    if codec not in ("h264", "hevc"):
        return codec in ("vp8", "vp9", "av1")
    units = list(_units(packet, extradata, 21 if codec == "hevc" else 4))
    kinds = [unit >> 1 & 63 for unit in units] if codec == "hevc" else [unit & 31 for unit in units]
    pictures = [kind for kind in kinds if (kind < 32 if codec == "hevc" else 1 <= kind <= 5)]
    return bool(pictures) and all(kind in ((19, 20) if codec == "hevc" else (5,)) for kind in pictures)


def _units(packet: bytes, extradata: bytes, size_at: int) -> Iterator[int]:
    """The first byte of each unit of a packet: after its length, as in mp4, or after a start code, as in a stream."""
    if extradata[:1] != b"\1":
        yield from (match.group(1)[0] for match in re.finditer(rb"\x00\x00\x01(.)", packet, re.DOTALL))
        return
    width = (extradata[size_at] & 3) + 1
    place = 0
    while place + width < len(packet):
        yield packet[place + width]
        place += width + int.from_bytes(packet[place : place + width])
