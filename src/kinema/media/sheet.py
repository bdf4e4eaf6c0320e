"""Many pictures on one, to look at."""

from collections.abc import Sequence

import numpy as np

from kinema.errors import SpecError
from kinema.media.formats import Frame


def contact_sheet(frames: Sequence[Frame], columns: int, gap_px: int = 2) -> Frame:
    """Lay pictures of one size, each "h w 3", out in rows of `columns` on white, with `gap_px` pixels between them.

    Raises SpecError when there is none, or when they differ in size.
    """
    if not frames or columns < 1:
        raise SpecError(
            f"a contact sheet takes one picture or more and one column or more, not {len(frames)}, {columns}"
        )
    if len({frame.shape for frame in frames}) > 1:
        sizes = ", ".join(sorted({f"{frame.shape[1]}x{frame.shape[0]}" for frame in frames}))
        raise SpecError(f"the pictures of a contact sheet have one size; these have {sizes}")
    height, width = frames[0].shape[:2]
    columns = min(columns, len(frames))
    rows = -(-len(frames) // columns)
    sheet = np.full((rows * (height + gap_px) - gap_px, columns * (width + gap_px) - gap_px, 3), 255, dtype=np.uint8)
    for index, frame in enumerate(frames):
        top, left = (index // columns) * (height + gap_px), (index % columns) * (width + gap_px)
        sheet[top : top + height, left : left + width] = frame
    return sheet
