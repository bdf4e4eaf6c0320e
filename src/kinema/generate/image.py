"""Given pictures and frames, brought to the size of the video."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from kinema.errors import SpecError
from kinema.media import read_image
from kinema.shapes import Stride, VideoShape
from kinema.spec import Fit

ASPECT_TOLERANCE = 0.02
"""How much narrower or wider than the video a picture may be, as a share; resizing hides so little."""


def read_first_frame(
    path: str | Path, shape: VideoShape, stride: Stride, fit: Fit | None = None
) -> Float[Tensor, "1 1 h w 3"]:
    """Read a picture as a frame in [-1, 1] of the size of the video.

    Raises MediaError for a file that is no picture, and what `fitted` raises.
    """
    frame = fitted(read_image(path)[None], shape, stride, fit, path)
    return (frame / 127.5 - 1)[None]


def as_frame(picture: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "1 1 h w 3"]:
    """A picture as a video of one frame, in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(picture))[None, None].float() / 127.5 - 1


def fitted(
    frames: UInt8[np.ndarray, "f h0 w0 3"], shape: VideoShape, stride: Stride, fit: Fit | None, path: str | Path
) -> Float[Tensor, "f h w 3"]:
    """Resize frames to the height and width of `shape`, in [0, 255], where their proportions are the video's.

    Others need a `fit`: the middle is cut out (crop), all is shown between black bars (pad), or distorted (stretch).
    Raises SpecError without one, naming a size that would fit; `path` is what the message calls the frames.
    """
    height, width = frames.shape[1:3]
    ratio = (width / height) / (shape.width / shape.height)
    is_alike = abs(ratio - 1) <= ASPECT_TOLERANCE
    if not is_alike and fit is None:
        raise SpecError(_mismatch(path, height, width, shape, stride))
    x = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
    if is_alike or fit == "stretch":
        return _resized(x, shape.height, shape.width).permute(0, 2, 3, 1)
    choose = max if fit == "crop" else min
    scale = choose(shape.height / height, shape.width / width)
    x = _resized(x, max(1, round(height * scale)), max(1, round(width * scale)))
    top, left = (x.shape[2] - shape.height) // 2, (x.shape[3] - shape.width) // 2
    if fit == "crop":
        x = x[:, :, top : top + shape.height, left : left + shape.width]
    else:
        x = F.pad(x, (-left, shape.width - x.shape[3] + left, -top, shape.height - x.shape[2] + top))
    return x.permute(0, 2, 3, 1)


def _resized(x: Float[Tensor, "f 3 h0 w0"], height: int, width: int) -> Float[Tensor, "f 3 h w"]:
    if x.shape[2:] == (height, width):
        return x
    return F.interpolate(x, (height, width), mode="bicubic", antialias=True).clamp(0, 255)


def fitting_size(height: int, width: int, area: int, stride: Stride) -> tuple[int, int] | None:
    """The (height, width) in whole strides with a picture's proportions and nearest to `area` pixels.

    None where no size between a quarter and four times that area has those proportions.
    """
    fits = [
        (abs(h * w - area), h, w)
        for h in range(stride.height, 4 * max(height, int(area**0.5)) + 1, stride.height)
        for w in [max(stride.width, round(h * width / height / stride.width) * stride.width)]
        if abs((width / height) / (w / h) - 1) <= ASPECT_TOLERANCE and area / 4 <= h * w <= area * 4
    ]
    if not fits:
        return None
    _, h, w = min(fits)
    return h, w


def _mismatch(path: str | Path, height: int, width: int, shape: VideoShape, stride: Stride) -> str:
    fit = fitting_size(height, width, shape.height * shape.width, stride)
    advice = f"use size {fit[1]}x{fit[0]}, or " if fit else ""
    return (
        f"{path} is {width}x{height}, which has other proportions than the video's {shape.width}x{shape.height}; "
        f"{advice}say how it fits (fit: crop, pad or stretch)"
    )
