from collections.abc import Callable

import cv2
import numpy as np

from kinema.data.shots import ShotFinder, Transition
from kinema.media import Frame


def find(frames: Frame) -> list[Transition]:
    finder = ShotFinder()
    for frame in frames:
        finder.add(frame)
    return finder.finish()


def blend(one: Frame, other: Frame, length: int) -> Frame:
    """The end of one shot dissolved into the beginning of the other: `length` pictures are mixed."""
    shares = (np.arange(1, length + 1) / (length + 1))[:, None, None, None]
    mixed = ((1 - shares) * one[-length:] + shares * other[:length]).round().astype(np.uint8)
    return np.concatenate([one[:-length], mixed, other[length:]])


def slow(make_shot: Callable[..., Frame], seed: int, frames: int) -> Frame:
    """A camera that moves by a pixel every fourth frame over large spots."""
    return np.repeat(make_shot(seed, frames // 4 + 1, speed=1, grain=24), 4, axis=0)[:frames]


def test_a_hard_cut_is_found_at_its_frame(make_shot: Callable[..., Frame]) -> None:
    frames = np.concatenate([make_shot(1, 20), make_shot(2, 25), make_shot(3, 20)])
    assert find(frames) == [Transition("cut", 20, 20), Transition("cut", 45, 45)]


def test_one_shot_with_motion_has_no_transition(make_shot: Callable[..., Frame]) -> None:
    assert find(make_shot(1, 80, speed=3)) == []


def test_a_flash_is_no_cut(make_shot: Callable[..., Frame]) -> None:
    frames = make_shot(1, 50, speed=1).copy()
    frames[24:26] = 250
    assert find(frames) == []


def test_a_dissolve_is_found_within_a_few_frames(make_shot: Callable[..., Frame]) -> None:
    for length in (10, 24):
        frames = blend(slow(make_shot, 1, 50), slow(make_shot, 2, 50), length)
        (found,) = find(frames)
        assert found.kind == "gradual"
        assert abs(found.first - (50 - length)) <= 4
        assert abs(found.last - 50) <= 4


def test_a_gesture_or_a_lamp_in_one_scene_is_no_dissolve(make_shot: Callable[..., Frame]) -> None:
    frames = np.repeat(make_shot(1, 1, grain=24), 60, axis=0)
    other = make_shot(2, 1)[0]
    for step, frame in enumerate(frames):
        share = min(1.0, max(0.0, (step - 25) / 10))
        frame[:, :8] = ((1 - share) * frame[:, :8] + share * other[:, :8]).astype(np.uint8)
        frame[:] = np.minimum(255, frame + 12 * share).astype(np.uint8)
    assert find(frames) == []


def test_a_fade_through_black_is_gradual(make_shot: Callable[..., Frame]) -> None:
    black = np.zeros((20, 72, 128, 3), np.uint8)
    faded = blend(blend(slow(make_shot, 1, 40), np.repeat(black, 2, axis=0), 15), slow(make_shot, 2, 40), 15)
    found = find(faded)
    assert [each.kind for each in found] == ["gradual", "gradual"]


def test_a_slow_pan_over_a_gradient_is_no_dissolve() -> None:
    wide = cv2.resize(np.array([[[0, 60, 120], [255, 200, 30]]], np.uint8), (400, 72), interpolation=cv2.INTER_LINEAR)
    frames = np.stack([wide[:, 2 * k : 2 * k + 128] for k in range(120)])
    assert find(frames) == []


def test_the_edge_of_black_belongs_to_a_fade_though_it_looks_like_a_cut() -> None:
    """Where a colour gets lost in black, hue and saturation change as much as at a cut."""
    ground = cv2.resize(np.array([[[90, 30, 20], [20, 60, 30]]], np.uint8), (128, 72), interpolation=cv2.INTER_LINEAR)
    shot = np.repeat(ground[None], 40, axis=0)
    for length in (9, 12, 17):
        film = blend(blend(shot, np.zeros((40, 72, 128, 3), np.uint8), length), shot, length)
        first, second = 40 - length, 80 - 2 * length
        assert find(film) == [Transition("gradual", first, 40), Transition("gradual", second, second + length)]
