"""Pictures as terminals draw them pixel by pixel: DEC's sixels, and kitty's graphics protocol."""

import base64
import itertools
import zlib

import numpy as np
from PIL import Image

from kinema.media.formats import Frame

MAX_COLOURS = 256
"""Colours of a sixel picture: as many as most terminals keep."""

_CHUNK = 4096
"""Characters that kitty's protocol takes at once."""


def sixel(frame: Frame, width: int, height: int) -> str:
    """Draw a picture, "h w 3", as large as `width` x `height` pixels allow, keeping its proportions, in sixels.

    Six rows at a time, one colour after the other: a character stands for six pixels, one above the other, and says
    which of them have the colour. Colours are the 256 that fit the picture best. Source: DEC, VT330/VT340 Programmer
    Reference Manual, chapter 14.
    """
    picture = _fitted(frame, width, height).quantize(MAX_COLOURS, method=Image.Quantize.FASTOCTREE)
    pixels, palette = np.asarray(picture), np.asarray(picture.getpalette()).reshape(-1, 3)
    used = np.unique(pixels)
    colours = "".join(
        f"#{index};2;" + ";".join(str(round(int(level) * 100 / 255)) for level in palette[index]) for index in used
    )
    bands = "-".join(_band(pixels[top : top + 6]) for top in range(0, len(pixels), 6))
    return f'\x1bP0;1q"1;1;{picture.width};{picture.height}{colours}{bands}\x1b\\'


def _band(pixels: np.ndarray) -> str:
    """Up to six rows."""
    bits = 1 << np.arange(len(pixels))[:, None]
    return "$".join(f"#{index}{_runs(((pixels == index) * bits).sum(axis=0))}" for index in np.unique(pixels))


def _runs(columns: np.ndarray) -> str:
    """Columns of six pixels as characters, those that repeat as a count and one; empty ones at the end are left out."""
    groups = [(bits, len(list(run))) for bits, run in itertools.groupby(columns.tolist())]
    if groups and groups[-1][0] == 0:
        groups.pop()
    return "".join(f"!{count}{chr(63 + bits)}" if count > 3 else chr(63 + bits) * count for bits, count in groups)


def kitty(frame: Frame, columns: int, rows: int) -> str:
    """Draw a picture, "h w 3", by kitty's graphics protocol; the terminal makes it `columns` x `rows` cells large.

    It takes the place of the picture before. Source: sw.kovidgoyal.net/kitty/graphics-protocol.
    """
    height, width = frame.shape[:2]
    data = base64.b64encode(zlib.compress(np.ascontiguousarray(frame).tobytes(), 1)).decode()
    chunks = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    keys = [f"a=T,f=24,o=z,s={width},v={height},c={columns},r={rows},i=1,p=1,q=2,C=1,", *[""] * (len(chunks) - 1)]
    return "".join(
        f"\x1b_G{key}m={int(number + 1 < len(chunks))};{chunk}\x1b\\"
        for number, (key, chunk) in enumerate(zip(keys, chunks, strict=True))
    )


def _fitted(frame: Frame, width: int, height: int) -> Image.Image:
    scale = min(width / frame.shape[1], height / frame.shape[0])
    size = max(1, int(frame.shape[1] * scale)), max(1, int(frame.shape[0] * scale))
    picture = Image.fromarray(np.ascontiguousarray(frame))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.BILINEAR)
