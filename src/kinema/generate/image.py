"""A given picture as the first frame of a video."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from kinema.errors import SpecError
from kinema.media import read_image
from kinema.shapes import Stride, VideoShape

ASPECT_TOLERANCE = 0.02
"""How much narrower or wider than the video a picture may be, as a share; resizing hides so little."""


def read_first_frame(path: str | Path, shape: VideoShape, stride: Stride) -> Float[Tensor, "1 1 h w 3"]:
    """Read a picture as a frame in [-1, 1] of the size of the video, resizing it where its proportions are the video's.

    Raises MediaError for a file that is no picture, SpecError for other proportions, naming a size that would fit.
    """
    pixels = read_image(path)
    height, width = pixels.shape[:2]
    ratio = (width / height) / (shape.width / shape.height)
    if abs(ratio - 1) > ASPECT_TOLERANCE:
        raise SpecError(_mismatch(path, height, width, shape, stride))
    frame = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float()
    if (height, width) != (shape.height, shape.width):
        frame = F.interpolate(frame, (shape.height, shape.width), mode="bicubic", antialias=True).clamp(0, 255)
    return (frame / 127.5 - 1).permute(0, 2, 3, 1)[:, None]


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
        f"{advice}crop the picture"
    )
