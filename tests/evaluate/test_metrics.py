import math

import numpy as np
import pytest

from kinema.errors import DataError
from kinema.evaluate.metrics import (
    bootstrap_interval,
    colour_statistics,
    flicker,
    is_permanent,
    mean_over_frames,
    motion_statistics,
    psnr,
    sharpness,
    ssim,
)


def _noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=(3, 24, 32, 3), dtype=np.uint8)


def test_psnr_of_a_constant_error_is_the_textbook_value() -> None:
    dark = np.full((2, 4, 4, 3), 100, dtype=np.uint8)
    assert psnr(dark, dark + np.uint8(5)) == pytest.approx(20 * math.log10(255 / 5))
    assert psnr(dark, dark) == math.inf


def test_ssim_is_one_for_equal_clips_and_near_zero_for_unrelated_noise() -> None:
    assert ssim(_noise(), _noise()) == pytest.approx(1.0)
    assert abs(ssim(_noise(0), _noise(1))) < 0.1


def test_ssim_of_two_flat_pictures_is_its_brightness_term() -> None:
    a, b = (np.full((1, 16, 16, 3), level, dtype=np.uint8) for level in (100, 150))
    c1 = (0.01 * 255) ** 2
    assert ssim(a, b) == pytest.approx((2 * 100 * 150 + c1) / (100**2 + 150**2 + c1))


def test_ssim_weighs_a_pixel_by_its_place_in_the_window() -> None:
    a = np.full((1, 11, 11, 3), 128, dtype=np.uint8)
    centre, corner = a.copy(), a.copy()
    centre[0, 5, 5], corner[0, 0, 0] = 255, 255
    assert ssim(a, centre) < 0.1
    assert ssim(a, corner) > 0.99


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_fidelity_refuses_clips_of_different_shapes(metric: object) -> None:
    with pytest.raises(DataError, match="give equal shapes"):
        metric(_noise(), _noise()[:2])  # type: ignore[operator]


def test_ssim_and_sharpness_refuse_frames_smaller_than_their_window() -> None:
    tiny = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    with pytest.raises(DataError, match="11x11"):
        ssim(tiny, tiny)
    with pytest.raises(DataError, match="3x3"):
        sharpness(tiny)


def test_flicker_is_one_when_still_and_zero_when_black_and_white_alternate() -> None:
    frames = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    assert flicker(frames) == 1.0
    frames[1::2] = 255
    assert flicker(frames) == 0.0
    with pytest.raises(DataError, match="at least 2"):
        flicker(frames[:1])


def test_sharpness_is_zero_on_a_ramp_known_on_a_checkerboard_and_falls_with_blur() -> None:
    ramp = np.broadcast_to(np.arange(0, 240, 10, dtype=np.uint8)[None, None, :, None], (1, 16, 24, 3))
    assert sharpness(ramp) == pytest.approx(0.0, abs=1e-12)
    board = np.where(np.indices((18, 18)).sum(axis=0) % 2, 10, 0).astype(np.uint8)
    frames = np.broadcast_to(board[None, :, :, None], (1, 18, 18, 3))
    assert sharpness(frames) == pytest.approx(40.0**2)
    noise = _noise()
    blurred = ((noise[:, 1:].astype(int) + noise[:, :-1]) // 2).astype(np.uint8)
    assert sharpness(blurred) < sharpness(noise)


def test_colour_statistics_of_grey_and_of_pure_red() -> None:
    grey = colour_statistics(np.full((1, 4, 4, 3), 51, dtype=np.uint8))
    assert (grey.saturation, grey.contrast) == (0.0, pytest.approx(0.0, abs=1e-12))
    assert grey.brightness == pytest.approx(0.2)
    assert grey.colourfulness == pytest.approx(0.0)
    red = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    red[..., 0] = 255
    statistics = colour_statistics(red)
    assert statistics.saturation == 1.0
    assert statistics.colourfulness == pytest.approx(0.3 * math.hypot(255, 127.5))


def test_motion_statistics_count_speed_in_heights_per_second_and_skip_unseen_frames() -> None:
    moving = np.stack([np.arange(5) * 0.1, np.zeros(5)], axis=1)
    hidden = moving.copy()
    hidden[2] = np.nan
    still = np.zeros((5, 2))
    statistics = motion_statistics([[still, moving], [hidden], [still], []], fps=8.0)
    assert statistics.mean_speed == pytest.approx((0.8 + 0.8) / 4)
    assert statistics.dynamic_degree == 0.5
    assert motion_statistics([], fps=8.0).dynamic_degree == 0.0


def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    source = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        groups = source.random((60, 1)) < 0.7
        interval = bootstrap_interval(groups.astype(float).tolist(), resamples=400, seed=trial)
        hits += interval.low <= 0.7 <= interval.high
    assert 0.88 <= hits / 200 <= 0.995


def test_bootstrap_interval_resamples_groups_not_values() -> None:
    alike = [[1.0] * 10, [0.0] * 10] * 10
    apart = [[value] for group in alike for value in group]
    wide, narrow = bootstrap_interval(alike), bootstrap_interval(apart)
    assert wide.mean == narrow.mean == 0.5
    assert wide.high - wide.low > 2.5 * (narrow.high - narrow.low)
    assert wide.count == 20


def test_bootstrap_interval_is_repeatable_and_survives_emptiness() -> None:
    groups = [[0.0, 1.0], [1.0], []]
    assert bootstrap_interval(groups, seed=3) == bootstrap_interval(groups, seed=3)
    assert bootstrap_interval(groups).mean == pytest.approx(2 / 3)
    assert math.isnan(bootstrap_interval([[], []]).mean)


def test_mean_over_frames_averages_frame_by_frame() -> None:
    a = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    b = a.copy()
    b[0], b[1] = 5, 10
    assert mean_over_frames(psnr, a, b) == pytest.approx(20 * math.log10(255 / 5) / 2 + 20 * math.log10(255 / 10) / 2)


def _track(*places):
    return np.array([(np.nan, np.nan) if place is None else place for place in places], dtype=np.float64)


def test_objects_last_that_are_hidden_meanwhile_or_cross_the_border():
    middle, border = (0.5, 0.5), (0.02, 0.5)
    assert is_permanent([_track(*[middle] * 6)])
    assert is_permanent([_track(middle, None, None, None, middle, middle)])
    assert is_permanent([_track(None, middle, middle, middle, middle, None)])
    assert is_permanent([_track(None, None, None, border, middle, middle)])
    assert is_permanent([_track(middle, middle, (0.5, 0.97), None, None, None)])
    assert is_permanent([])


def test_objects_do_not_last_that_appear_vanish_or_change_their_colour():
    middle = (0.5, 0.5)
    appears, vanishes = _track(None, None, None, *[middle] * 3), _track(*[middle] * 3, None, None, None)
    assert not is_permanent([appears])
    assert not is_permanent([vanishes])
    assert not is_permanent([_track(*[middle] * 6), vanishes])
    assert not is_permanent([_track(*[None] * 6)])
    wide = _track(middle, middle, (0.95, 0.5), None, None, None)
    assert is_permanent([wide])
    assert not is_permanent([wide], aspect=16 / 9)
