import numpy as np
import pytest

from kinema.errors import SpecError
from kinema.media import Spread, contact_sheet


def flat(value: int, width: int = 4) -> np.ndarray:
    return np.full((3, width, 3), value, np.uint8)


def test_pictures_stand_in_rows_on_white() -> None:
    sheet = contact_sheet([flat(10), flat(20), flat(30)], columns=2, gap_px=1)
    assert sheet.shape == (7, 9, 3)
    assert sheet[0, 0, 0] == 10
    assert sheet[0, 5, 0] == 20
    assert sheet[4, 0, 0] == 30
    assert (sheet[4:, 5:] == 255).all()
    assert (sheet[3] == 255).all()
    assert (sheet[:, 4] == 255).all()


def test_a_sheet_is_no_wider_than_its_pictures() -> None:
    assert contact_sheet([flat(1)], columns=8).shape == (3, 4, 3)


def test_pictures_of_two_sizes_and_empty_sheets_are_refused() -> None:
    with pytest.raises(SpecError, match="these have 4x3, 5x3"):
        contact_sheet([flat(1), flat(1, 5)], columns=2)
    with pytest.raises(SpecError, match="not 0, 2"):
        contact_sheet([], columns=2)
    with pytest.raises(SpecError, match="not 1, 0"):
        contact_sheet([flat(1)], columns=0)


@pytest.mark.parametrize("count", [1, 3, 4, 9, 100])
def test_some_pictures_are_spread_over_all_of_a_video_however_long_it_is(count: int) -> None:
    spread, buffer = Spread(4), np.zeros((1, 1, 3), np.uint8)
    assert spread.frames == []
    for index in range(count):
        buffer[:] = index  # a decoder's own, which it fills again
        spread.add(buffer)
    seen = [int(frame[0, 0, 0]) for frame in spread.frames]
    assert (len(seen), seen[0], seen) == (min(4, count), 0, sorted(set(seen)))
    gaps = np.diff([*seen, count])
    assert gaps.max() <= 2 * max(1, count // 4)
    assert abs(int(spread.middle[0, 0, 0]) - count / 2) <= max(1, count // 4)
