"""Pictures as coloured characters: two pixels in each cell of a terminal."""

import numpy as np
from PIL import Image

from kinema.media.formats import Frame

RESET = "\x1b[0m"


def half_blocks(frame: Frame, columns: int, rows: int) -> str:
    """Draw a picture, "h w 3", as large as `columns` x `rows` cells allow, keeping its proportions.

    Each cell is an upper half block whose two halves have colours of their own (24 bit; ISO 8613-6).
    """
    height, width = frame.shape[:2]
    scale = min(columns / width, 2 * rows / height)
    size = max(1, round(width * scale)), max(2, round(height * scale / 2) * 2)
    pixels = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX))
    lines = []
    for top, bottom in zip(pixels[::2], pixels[1::2], strict=True):
        cells = [
            f"\x1b[38;2;{r};{g};{b};48;2;{s};{t};{u}m▀"
            for (r, g, b), (s, t, u) in zip(top.tolist(), bottom.tolist(), strict=True)
        ]
        lines.append("".join(cells) + RESET)
    return "\n".join(lines)
