"""Videos and pictures, out of files into arrays."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from PIL import Image, ImageOps, UnidentifiedImageError

from kinema.errors import MediaError
from kinema.media.formats import EXIF_DESCRIPTION, SCALING, Frame
from kinema.media.write import refuse_strange

_PICTURES = (".gif", ".webp", ".png", ".apng", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_MUXER_KEYS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}


@dataclass(frozen=True)
class MediaInfo:
    """What a file holds: size in pixels, number of frames, frames per second (0 for a single picture), codec."""

    width: int
    height: int
    frames: int
    fps: float
    codec: str


@dataclass(frozen=True)
class Video:
    """A clip in memory: `frames` "f h w 3" and its frames per second (0 for a single picture)."""

    frames: Frame
    fps: float


def probe(path: str | Path) -> MediaInfo:
    """What a video or picture file holds, without decoding it; raises MediaError when it cannot be read."""
    path = Path(path)
    if _is_picture(path):
        with _open_picture(path) as image:
            fps, times = _picture_times(image)
            return MediaInfo(image.width, image.height, len(times), fps, (image.format or "").lower())
    with _open_video(path) as (container, stream):
        frames = stream.frames or sum(packet.size > 0 for packet in container.demux(stream))
        return MediaInfo(stream.width, stream.height, frames, _rate(stream), stream.codec_context.name)


def iter_frames(path: str | Path) -> Iterator[Frame]:
    """Yield the frames of a video or picture file one by one, each "h w 3".

    Raises MediaError when the file is missing or cannot be read, at the frame where reading fails.
    """
    path = Path(path)
    if _is_picture(path):
        with _open_picture(path) as image:
            for index in _picture_times(image)[1]:
                image.seek(index)
                yield _rgb(image)
        return
    with _open_video(path) as (container, stream):
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            yield np.asarray(frame.to_ndarray(format="rgb24", interpolation=SCALING), dtype=np.uint8)


def read_video(path: str | Path) -> Video:
    """Read a whole clip into memory; raises MediaError when it cannot be read or holds no frame."""
    frames = list(iter_frames(path))
    if not frames:
        raise MediaError(f"{path} holds no frame")
    return Video(np.stack(frames), probe(path).fps)


def read_image(path: str | Path) -> Frame:
    """Read a picture, "h w 3", upright as its camera meant it; transparent parts become white.

    Raises MediaError when the file is missing or is no picture.
    """
    path = Path(path)
    with _open_picture(path) as image:
        return _rgb(ImageOps.exif_transpose(image))


def read_metadata(path: str | Path) -> dict[str, str]:
    """The texts that a file carries beside its pictures, keys in lower case.

    What the container itself adds is left out.
    """
    path = Path(path)
    if _is_picture(path):
        with _open_picture(path) as image:
            return _picture_metadata(image)
    with _open_video(path) as (container, _):
        return {key.lower(): text for key, text in container.metadata.items() if key.lower() not in _MUXER_KEYS}


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _PICTURES


@contextlib.contextmanager
def _open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    refuse_strange(path)
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.video:
                raise MediaError(f"{path} holds no video")
            if container.streams.video[0].codec_context is None:
                raise MediaError(f"{path} holds video in a format that cannot be read")
            yield container, container.streams.video[0]
    except av.error.FileNotFoundError as error:
        raise MediaError(f"{path} does not exist") from error
    except av.error.FFmpegError as error:
        raise MediaError(f"{path} cannot be read as a video: {error.strerror}") from error


@contextlib.contextmanager
def _open_picture(path: Path) -> Iterator[Image.Image]:
    refuse_strange(path)
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError as error:
        raise MediaError(f"{path} does not exist") from error
    except UnidentifiedImageError as error:
        raise MediaError(f"{path} is not a picture that can be read; png, jpg, webp and gif can") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise MediaError(f"{path} cannot be read as a picture: {getattr(error, 'strerror', None) or error}") from error


def _rgb(image: Image.Image) -> Frame:
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip
        return np.repeat((np.asarray(image) // 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _rate(stream: VideoStream) -> float:
    return float(stream.average_rate or stream.guessed_rate or 0)


def _picture_times(image: Image.Image) -> tuple[float, list[int]]:
    """Frames per second of a gif or webp, and which stored picture shows at each frame.

    Both formats store a duration per picture and drop repeated ones, so the clip is sampled at an even rate again.
    """
    count = getattr(image, "n_frames", 1)
    durations = []
    for index in range(count):
        image.seek(index)
        image.load()
        durations.append(float(image.info.get("duration", 0)))
    image.seek(0)
    if not any(durations):
        return 0.0, list(range(count))
    ends = np.cumsum([duration or 100.0 for duration in durations])  # browsers show "no time" as 100 ms
    fps = float(_picture_note(image).get("fps") or 1000 * count / ends[-1])
    middles = (np.arange(max(1, round(ends[-1] * fps / 1000))) + 0.5) * 1000 / fps
    return fps, [int(index) for index in np.minimum(np.searchsorted(ends, middles, side="right"), count - 1)]


def _picture_note(image: Image.Image) -> dict[str, Any]:
    """What `_note` wrote into a gif or webp, or the comment of somebody else's file in the same form."""
    text = image.info.get("comment", b"") if image.format == "GIF" else image.getexif().get(EXIF_DESCRIPTION, "")
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    try:
        note = json.loads(text)
        if isinstance(note["fps"], int | float) and isinstance(note["metadata"], dict):
            return dict(note)
    except (ValueError, KeyError, TypeError):
        pass
    return {"metadata": {"comment": text} if text else {}}


def _picture_metadata(image: Image.Image) -> dict[str, str]:
    if image.format == "PNG":
        image.load()
        return {key.lower(): str(text) for key, text in getattr(image, "text", {}).items()}
    return {key.lower(): str(text) for key, text in _picture_note(image)["metadata"].items()}
