from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kinema.data import shots
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


def show_one_scene(old: NDArray[np.float32], new: NDArray[np.float32]) -> bool:
    one, other = old - old.mean(), new - new.mean()
    spreads = float(np.linalg.norm(one)), float(np.linalg.norm(other))
    return float(one @ other) > shots._ALIKE * spreads[0] * spreads[1] and min(spreads) > 0.7 * max(spreads)


def misfit_by_all_rules(frames: NDArray[np.float32], start: int, end: int) -> float | None:
    """What is said of a blend, every rule being looked at one by one, whatever the others say."""
    old, new = frames[start], frames[end]
    across = new - old
    length = float(across @ across)
    size, pace = (length / len(across)) ** 0.5, 1 / (end - start)
    around = old - frames[start - shots._CONTEXT], frames[end + shots._CONTEXT] - new
    between = frames[start + 1 : end] - old
    shares = between @ across / length
    left = between - shares[:, None] * across
    off = float(np.sqrt(np.mean(left * left, axis=1)).max()) / size
    uneven = float(np.abs(shares - np.arange(1, end - start) / (end - start)).max())
    fits = [
        size >= shots._FAR,
        max(abs(float(step @ across)) for step in around) / length <= shots._OUTSIDE * shots._CONTEXT * pace,
        max(float(step @ step) for step in around) <= 0.25 * length,
        uneven <= shots._UNEVEN,
        float(np.diff(shares, prepend=0.0, append=1.0).max()) <= max(0.34, 4 * pace),
        off <= shots._OFF_BLEND,
        not show_one_scene(old, new),
    ]
    return uneven + 0.3 * off if all(fits) else None


def test_a_blend_is_told_early_as_all_rules_tell_it(make_shot: Callable[..., Frame]) -> None:
    parts = [slow(make_shot, seed, 40) for seed in (1, 2, 3)] + [make_shot(4, 40, speed=6)]
    film = blend(blend(parts[0], parts[1], 9), blend(parts[2], parts[3], 21), 15)
    film = np.clip(film + np.random.default_rng(0).normal(0, 6, film.shape), 0, 255).astype(np.uint8)
    rows = np.stack([cv2.resize(frame, shots._THUMBNAIL, interpolation=cv2.INTER_AREA).ravel() for frame in film])
    frames = rows.astype(np.float32)
    products, means = shots._inner(frames)
    exact = frames.astype(np.float64) - 128
    assert (products == exact @ exact.T).all()
    sizes = np.diag(products)
    due = np.arange(len(frames) - shots._CONTEXT)
    looks = shots._worth_a_look(sizes[:, None] + sizes - 2 * products, products, means, due)
    misfits = {look: shots._misfit(frames, *look) for look in looks}
    told, wanted = [], []
    for length in shots.LENGTHS:
        for start in range(shots._CONTEXT, len(frames) - length - shots._CONTEXT):
            told.append(misfits.get((start, start + length)))
            wanted.append(misfit_by_all_rules(frames, start, start + length))
    assert told == pytest.approx(wanted)
    assert 5 < sum(each is not None for each in told) < len(looks) < len(told) / 4
