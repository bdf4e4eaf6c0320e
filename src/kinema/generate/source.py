"""Videos and pictures that an edit starts from, at the size of the video that is made."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from kinema.errors import MediaError
from kinema.generate.image import fitted
from kinema.media import iter_frames, probe, read_image
from kinema.shapes import Stride, VideoShape
from kinema.spec import Fit, VideoSpec

_FRAMES_AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class Clip:
    """A video in memory: RGB, and frames per second."""

    frames: UInt8[np.ndarray, "f h w 3"]
    fps: float


def read_clip(path: str | Path, width: int, height: int, stride: Stride, fit: Fit | None) -> Clip:
    """Read a video at a size. Raises MediaError for a file that is none, and what `fitted` raises."""
    fps = probe(path).fps
    if not fps:
        raise MediaError(f"{path} is a single picture; give a video")
    parts: list[np.ndarray] = []
    waiting: list[np.ndarray] = []
    for frame in iter_frames(path):
        waiting.append(frame)
        if len(waiting) == _FRAMES_AT_ONCE:
            parts.append(_sized(np.stack(waiting), width, height, stride, fit, path))
            waiting = []
    if waiting:
        parts.append(_sized(np.stack(waiting), width, height, stride, fit, path))
    if not parts:
        raise MediaError(f"{path} holds no frame")
    return Clip(np.concatenate(parts), fps)


def read_still(path: str | Path, spec: VideoSpec, stride: Stride) -> UInt8[np.ndarray, "h w 3"]:
    """Read a picture at the size of a resolved request. Raises MediaError, and what `fitted` raises."""
    picture: np.ndarray = _sized(read_image(path)[None], spec.shape.width, spec.shape.height, stride, spec.fit, path)[0]
    return picture


def _sized(
    frames: UInt8[np.ndarray, "f h0 w0 3"], width: int, height: int, stride: Stride, fit: Fit | None, path: str | Path
) -> UInt8[np.ndarray, "f h w 3"]:
    sized = fitted(frames, VideoShape(len(frames), height, width), stride, fit, path)
    pixels: np.ndarray = sized.round().byte().numpy()
    return pixels
