from collections.abc import Callable

import cv2
import numpy as np
import pytest

from kinema.data.filter import KeepConfig, drop_reason
from kinema.data.scores import _quantile, find_bars, measure
from kinema.media import Frame


def scores(frames: Frame, fps: float = 4.0) -> dict[str, object]:
    return measure(list(frames), [k / fps for k in range(len(frames))])


def row(frames: Frame) -> dict[str, object]:
    height, width = frames.shape[1:3]
    facts = {
        "split_reason": None,
        "filter_status": "done",
        "hdr": False,
        "damaged_frames": 0,
        "num_frames": len(frames),
    }
    return {**facts, "width": width, "height": height, **scores(frames)}


@pytest.mark.parametrize(("speed", "camera"), [(3, "pan right"), (-3, "pan left"), (0, "static")])
def test_the_camera_is_named_by_what_it_does(make_shot: Callable[..., Frame], speed: int, camera: str) -> None:
    frames = make_shot(1, 8, speed=abs(speed) or 1)
    frames = np.repeat(frames[:1], 8, axis=0) if speed == 0 else frames[:: 1 if speed > 0 else -1]
    assert scores(frames)["camera"] == camera


@pytest.mark.parametrize("speed", [1, 4, 12])
def test_motion_is_as_fast_as_the_pictures_move(make_shot: Callable[..., Frame], speed: int) -> None:
    found = scores(make_shot(5, 8, speed=speed))["motion"]
    assert found == pytest.approx(speed / 128 * 4, rel=0.1)


@pytest.mark.parametrize("size", [(8, 8), (15, 120), (16, 16)])
def test_tiny_pictures_have_scores(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, *size, 3), dtype=np.uint8)
    assert scores(noise)["camera"] is not None


def test_a_zoom_is_told_from_a_tilt(make_shot: Callable[..., Frame]) -> None:
    base = make_shot(5, 1, height=144, width=256)[0]
    zoom = []
    for k in range(8):
        half_height, half_width = round(72 / 1.05**k), round(128 / 1.05**k)
        inner = base[72 - half_height : 72 + half_height, 128 - half_width : 128 + half_width]
        zoom.append(cv2.resize(inner, (128, 72), interpolation=cv2.INTER_AREA))
    assert scores(np.stack(zoom))["camera"] == "zoom in"
    tilt = np.stack([base[4 * k : 72 + 4 * k, :128] for k in range(8)])
    assert scores(tilt)["camera"] == "tilt down"


def test_bars_are_measured_and_cut_not_dropped(make_shot: Callable[..., Frame]) -> None:
    frames = make_shot(1, 8, speed=5).copy()
    frames[:, :9] = frames[:, -9:] = 5
    crop = find_bars(list(frames))
    assert (crop.left, crop.right) == (0, 0)
    assert 9 <= crop.top * 72 <= 11
    assert crop.apply(frames).shape[1] in (50, 51, 52)
    assert drop_reason(row(frames), KeepConfig(min_side=32)) is None
    assert "shorter side" in str(drop_reason(row(frames), KeepConfig(min_side=60)))


def test_a_dark_scene_has_no_bars(make_shot: Callable[..., Frame]) -> None:
    assert find_bars(list(make_shot(1, 6) // 12)).top == 0


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda frames: frames // 40, "black share"),
        (lambda frames: np.repeat(frames[:1], len(frames), axis=0), "frozen share"),
        (lambda frames: np.stack([cv2.GaussianBlur(each, (0, 0), 25) for each in frames]), "sharpness"),
        (lambda frames: (frames * np.array([1.0, 0.4] * 4)[:, None, None, None]).astype(np.uint8), "flicker"),
        (lambda frames: np.where(frames.mean(axis=3, keepdims=True) > 110, 255, 0 * frames), "clipped"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_clip_is_its_reason(
    make_shot: Callable[..., Frame], spoil: Callable[[Frame], Frame], reason: str
) -> None:
    frames = make_shot(1, 8, speed=5)
    assert drop_reason(row(frames), KeepConfig()) is None
    assert str(drop_reason(row(spoil(frames)), KeepConfig(max_flicker=0.05))).startswith(reason)


def with_words(frames: Frame) -> Frame:
    marked = frames.copy()
    for frame in marked:
        for color, pen in (((0, 0, 0), 5), ((255, 255, 255), 2)):
            cv2.putText(frame, "KINEMA TV 24", (10, 130), cv2.FONT_HERSHEY_SIMPLEX, 0.7, color, pen)
    return marked


def test_a_still_mark_and_overlaid_text_are_seen_and_only_they(make_shot: Callable[..., Frame]) -> None:
    frames = make_shot(1, 12, height=144, width=256, speed=6)
    plain, marked = scores(frames), scores(with_words(frames))
    keep = KeepConfig()
    for score, most in (("watermark_share", keep.max_watermark), ("text_share", keep.max_text)):
        assert float(str(plain[score])) <= most < float(str(marked[score]))


def test_before_a_camera_that_stands_still_no_mark_is_claimed(make_shot: Callable[..., Frame]) -> None:
    frames = with_words(np.repeat(make_shot(1, 1, height=144, width=256), 12, axis=0))
    frames[:, 40:80, 100:140] = np.arange(12, dtype=np.uint8)[:, None, None, None] * 20
    assert scores(frames)["watermark_share"] == 0


@pytest.mark.parametrize(("count", "share"), [(4, 0.5), (7, 0.5), (7, 0.75), (12, 0.75), (5, 1.0)])
def test_a_quantile_is_that_of_numpy(count: int, share: float) -> None:
    values = np.random.default_rng(0).integers(-900, 900, (count, 2, 50), dtype=np.int16)
    np.testing.assert_allclose(_quantile(values, share), np.quantile(values, share, axis=0), rtol=1e-6)
