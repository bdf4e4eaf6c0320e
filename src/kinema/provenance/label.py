"""A label that people see, burned into every frame: "AI" (European Union) or "AI生成" (China, GB 45438-2025).

The characters are drawn from strokes, so that they need no font and are the same everywhere.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from kinema.config import unknown
from kinema.errors import SpecError
from kinema.media import Frame

Preset = Literal["eu", "cn"]
PRESETS: tuple[str, ...] = get_args(Preset)

SHARE = 0.06
"""Height of the characters by the frame's shorter side; GB 45438-2025 wants 0.05 or more."""
LEAST_PX = 9
"""Characters lower than this cannot be read."""

_Stroke = tuple[tuple[float, float], ...]

_STROKES: dict[str, tuple[float, tuple[_Stroke, ...]]] = {
    "A": (0.72, (((0.04, 0.94), (0.36, 0.06), (0.68, 0.94)), ((0.16, 0.64), (0.56, 0.64)))),
    "I": (0.28, (((0.14, 0.06), (0.14, 0.94)),)),
    "生": (
        1.0,
        (
            ((0.27, 0.08), (0.22, 0.24), (0.10, 0.42)),
            ((0.21, 0.28), (0.88, 0.28)),
            ((0.18, 0.58), (0.84, 0.58)),
            ((0.52, 0.04), (0.52, 0.92)),
            ((0.06, 0.92), (0.96, 0.92)),
        ),
    ),
    "成": (
        1.0,
        (
            ((0.16, 0.26), (0.94, 0.26)),
            ((0.17, 0.26), (0.17, 0.56), (0.13, 0.78), (0.04, 0.95)),
            ((0.17, 0.50), (0.44, 0.50), (0.43, 0.72), (0.39, 0.82), (0.29, 0.78)),
            ((0.56, 0.04), (0.58, 0.34), (0.66, 0.64), (0.78, 0.86), (0.90, 0.94), (0.95, 0.74)),
            ((0.85, 0.42), (0.74, 0.64), (0.58, 0.82), (0.42, 0.93)),
            ((0.70, 0.06), (0.82, 0.17)),
        ),
    ),
}
"""Width and strokes of each character, in units of its height, from the top left."""

_TEXTS = {"eu": "AI", "cn": "AI生成"}
_FINER = 8  # drawn so many times larger, then averaged


@dataclass(frozen=True)
class _Plate:
    """White characters on a dark plate: colour "h w 1" and how much of it covers the picture, both 0 to 1."""

    colour: NDArray[np.float32]
    cover: NDArray[np.float32]


def burn(frames: Iterable[Frame], preset: str) -> Iterator[Frame]:
    """Put the label of a preset into the upper right corner of frames, single or in chunks, as they come.

    Raises SpecError for a preset that does not exist, and, at the first frame, for a frame too small for it.
    """
    if preset not in PRESETS:
        raise SpecError(unknown("label", preset, PRESETS))
    return _burn(frames, preset)


def box(height: int, width: int, preset: str) -> tuple[int, int, int, int]:
    """Where the label stands in a frame of that size: top, left, bottom, right, in pixels.

    Raises SpecError for a frame that is too small for a label that can be read.
    """
    letters = max(LEAST_PX, math.ceil(SHARE * min(height, width)))
    gap = max(1, round(letters * 0.35))
    wide = sum(_STROKES[each][0] for each in _TEXTS[preset]) + 0.16 * (len(_TEXTS[preset]) - 1)
    high_px, wide_px = letters + 2 * gap, math.ceil(wide * letters) + 2 * gap
    if high_px + gap > height or wide_px + gap > width:
        raise SpecError(
            f"a frame of {width}x{height} is too small for the label {preset!r}; "
            f"use {wide_px + gap}x{high_px + gap} or more"
        )
    return gap, width - gap - wide_px, gap + high_px, width - gap


def _burn(frames: Iterable[Frame], preset: str) -> Iterator[Frame]:
    plate: _Plate | None = None
    for chunk in frames:
        labelled = chunk.copy()
        if chunk.size:
            top, left, bottom, right = box(chunk.shape[-3], chunk.shape[-2], preset)
            plate = plate or _draw(bottom - top, right - left, preset)
            part = labelled[..., top:bottom, left:right, :]
            part[...] = np.rint(part + plate.cover * (255 * plate.colour - part)).astype(np.uint8)
        yield labelled


def _draw(height: int, width: int, preset: str) -> _Plate:
    gap = max(1, round((height / 1.7) * 0.35))
    letters = height - 2 * gap
    size = (width * _FINER, height * _FINER)
    ink, plate = Image.new("L", size, 0), Image.new("L", size, 0)
    ImageDraw.Draw(plate).rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), radius=gap * _FINER, fill=255)
    pen, thick = ImageDraw.Draw(ink), max(_FINER, round(0.1 * letters * _FINER))
    at = float(gap)
    for character in _TEXTS[preset]:
        wide, strokes = _STROKES[character]
        for stroke in strokes:
            points = [((at + x * letters) * _FINER, (gap + y * letters) * _FINER) for x, y in stroke]
            pen.line(points, fill=255, width=thick, joint="curve")
            for x, y in (points[0], points[-1]):
                pen.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=255)
        at += (wide + 0.16) * letters
    fine = (np.asarray(each.resize((width, height), Image.Resampling.BOX), dtype=np.float32) for each in (ink, plate))
    white, dark = (each[..., None] / np.float32(255) for each in fine)
    return _Plate(white, np.maximum(white, np.float32(0.72) * dark))
