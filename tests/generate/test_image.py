import pytest

from kinema.generate.image import ASPECT_TOLERANCE, fitting_size
from kinema.shapes import Stride

STRIDE = Stride(4, 16, 16)


@pytest.mark.parametrize(
    ("height", "width", "area", "expected"),
    [(64, 64, 4096, (64, 64)), (50, 100, 4096, (48, 96)), (1080, 1920, 480 * 832, None), (1920, 1080, 4096, None)],
)
def test_a_size_that_fits_a_picture_has_its_proportions_and_about_the_area(height, width, area, expected):
    fit = fitting_size(height, width, area, STRIDE)
    assert fit is not None
    if expected is not None:
        assert fit == expected
    assert fit[0] % 16 == fit[1] % 16 == 0
    assert abs((fit[1] / fit[0]) / (width / height) - 1) <= ASPECT_TOLERANCE


def test_no_size_fits_a_sliver():
    assert fitting_size(7, 3001, 4096, STRIDE) is None
