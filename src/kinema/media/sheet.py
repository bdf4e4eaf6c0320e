"""Many pictures on one, to look at."""

from collections.abc import Sequence

import numpy as np

from kinema.errors import SpecError
from kinema.media.formats import Frame


class Spread:
    """Up to `most` pictures of a video, spread evenly over all of it, chosen while it goes by.

    It holds twice as many at a time, each a copy, however long the video is.
    """

    def __init__(self, most: int) -> None:
        self._most, self._every, self._count = most, 1, 0
        self._kept: list[Frame] = []

    def add(self, frame: Frame) -> None:
        """Show it the next frame, "h w 3"."""
        if self._count % self._every == 0:
            self._kept.append(np.array(frame))
        self._count += 1
        if len(self._kept) > 2 * self._most:
            self._kept, self._every = self._kept[::2], 2 * self._every

    @property
    def frames(self) -> list[Frame]:
        """The pictures in their order, the first frame being the first; none before any was added."""
        count = len(self._kept)
        return [self._kept[i] for i in sorted({round(i) for i in np.linspace(0, count - 1, min(count, self._most))})]

    @property
    def middle(self) -> Frame:
        """The picture from the middle; there must have been one."""
        return self._kept[len(self._kept) // 2]


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
