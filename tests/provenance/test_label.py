import numpy as np
import pytest

from kinema.errors import SpecError
from kinema.media import Frame
from kinema.provenance.label import box, burn


def grey(height: int, width: int, frames: int = 3) -> Frame:
    return np.full((frames, height, width, 3), 128, dtype=np.uint8)


@pytest.mark.parametrize("preset", ["eu", "cn"])
@pytest.mark.parametrize("size", [(64, 64), (480, 832), (1280, 720)])
def test_a_label_stands_in_the_upper_right_corner_of_every_frame(preset: str, size: tuple[int, int]) -> None:
    clip = grey(*size)
    (labelled,) = burn([clip], preset)
    top, left, bottom, right = box(*size, preset)
    assert left > size[1] / 4
    assert bottom < size[0] / 2
    for frame in labelled:
        assert frame[top:bottom, left:right].max() > 230
        assert frame[top:bottom, left:right].min() < 60
        frame[top:bottom, left:right] = 128
    assert (labelled == 128).all()
    assert (clip == 128).all()


def test_the_characters_are_as_high_as_the_standard_wants() -> None:
    """GB 45438-2025: at least 5 % of the shorter side."""
    for height, width in ((64, 64), (480, 832), (1920, 1080)):
        (labelled,) = burn([grey(height, width, 1)], "cn")
        rows = np.flatnonzero((labelled[0].min(axis=-1) > 190).any(axis=1))
        assert rows[-1] - rows[0] + 1 >= 0.05 * min(height, width)


def test_the_presets_read_differently_and_every_stroke_counts() -> None:
    one, other = (next(burn([grey(480, 832, 1)], preset)) for preset in ("eu", "cn"))
    bright = [(each > 200).sum() for each in (one, other)]
    assert bright[1] > 2 * bright[0]


def test_chunks_and_single_frames_are_labelled_alike() -> None:
    clip = grey(64, 64)
    (whole,) = burn([clip], "eu")
    assert (np.stack(list(burn(iter(clip), "eu"))) == whole).all()


def test_an_unknown_preset_is_refused_at_once() -> None:
    with pytest.raises(SpecError, match="unknown label 'uk'"):
        burn([], "uk")


def test_a_frame_too_small_for_a_readable_label_is_refused_with_the_size_it_takes() -> None:
    with pytest.raises(SpecError, match=r"32x32 is too small for the label 'cn'; use (\d+)x(\d+)") as caught:
        box(32, 32, "cn")
    width, height = map(int, str(caught.value).split("use ")[1].split(" ")[0].split("x"))
    box(height, width, "cn")
    with pytest.raises(SpecError):
        box(height, width - 1, "cn")
