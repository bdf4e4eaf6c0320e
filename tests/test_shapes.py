import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinema.errors import SpecError
from kinema.shapes import LatentShape, Stride, VideoShape, nearest_frames, nearest_size

WAN = Stride(4, 8, 8)
sizes = st.integers(1, 200)
strides = st.builds(Stride, st.integers(1, 8), st.integers(1, 32), st.integers(1, 32))


@settings(deadline=None, derandomize=True)
@given(st.builds(LatentShape, sizes, sizes, sizes), strides)
def test_latents_to_video_and_back_is_the_identity(latent: LatentShape, stride: Stride) -> None:
    assert latent.to_video(stride).to_latent(stride) == latent


@settings(deadline=None, derandomize=True)
@given(sizes, sizes, sizes, strides)
def test_the_nearest_values_are_valid_and_none_lies_between(
    frames: int, height: int, width: int, stride: Stride
) -> None:
    rows, columns = nearest_size(height, width, stride)
    assert abs(columns - width) <= stride.width / 2 or columns == stride.width
    for near in nearest_frames(frames, stride):
        VideoShape(near, rows, columns).to_latent(stride)
        assert abs(near - frames) < stride.time


def test_the_numbers_of_wan() -> None:
    latent = VideoShape(81, 480, 832).to_latent(WAN)
    assert latent == LatentShape(21, 60, 104)
    assert latent.num_tokens((1, 2, 2)) == 32760


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (VideoShape(100, 64, 64), "frames=100 does not fit: a clip has a multiple of 4 frames plus 1; use 97 or 101"),
        (VideoShape(1_000_000, 64, 64), "plus 1; use 999997$"),
        (VideoShape(17, 70, 64), "height=70 does not fit: it must be a multiple of 8; use 64 or 72"),
        (VideoShape(17, 64, 5), "width=5 does not fit: it must be a multiple of 8; use 8$"),
    ],
)
def test_a_size_that_does_not_fit_names_those_that_do(shape: VideoShape, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        shape.to_latent(WAN)


def test_valid_values_are_their_own_nearest() -> None:
    assert nearest_frames(17, WAN) == (17,)
    assert nearest_frames(0, WAN) == (1,)
    assert nearest_size(64, 72, WAN) == (64, 72)
    assert nearest_size(68, 3, WAN) == (72, 8)


def test_the_stride_of_whole_tokens_multiplies_the_patch() -> None:
    assert WAN.with_patch((1, 2, 4)) == Stride(4, 16, 32)
    with pytest.raises(SpecError, match="joins 2 latent frames"):
        WAN.with_patch((2, 2, 2))


def test_a_patch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(SpecError, match="do not divide"):
        LatentShape(5, 7, 8).num_tokens((1, 2, 2))


@pytest.mark.parametrize("value", [0, -3, 1.5, True, "8"])
def test_a_size_is_a_whole_number_from_one_up(value: object) -> None:
    with pytest.raises(SpecError, match="not a size"):
        Stride(4, 8, value)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="not a size"):
        VideoShape(value, 8, 8)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="not a size"):
        LatentShape(4, value, 8)  # type: ignore[arg-type]
