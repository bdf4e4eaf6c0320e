from collections.abc import Callable

import cv2
import numpy as np
import pytest

from kinema.data.dedup import DedupConfig, cluster, distance, hash_pictures
from kinema.media import Frame

LIMIT = DedupConfig().max_bits


def hashes(frames: Frame) -> np.ndarray:
    return hash_pictures(list(frames))[0]


def logo(frames: Frame) -> Frame:
    marked = frames.copy()
    for frame in marked:
        cv2.putText(frame, "tv", (96, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
    return marked


COPIES: dict[str, Callable[[Frame], Frame]] = {
    "scaled": lambda frames: np.stack([cv2.resize(each, (96, 54), interpolation=cv2.INTER_AREA) for each in frames]),
    "cropped": lambda frames: frames[:, 2:-2, 3:-3],
    "logo": logo,
    "darker": lambda frames: (frames * 0.8).astype(np.uint8),
    "noisy": lambda frames: np.clip(
        frames.astype(int) + np.random.default_rng(0).integers(-15, 16, frames.shape), 0, 255
    ).astype(np.uint8),
    "trimmed": lambda frames: frames[2:-2],
    "faster": lambda frames: frames[np.round(np.arange(12) * 1.25).astype(int)],
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_near_and_another_clip_is_far(make_shot: Callable[..., Frame], kind: str) -> None:
    original = make_shot(1, 16, speed=4)
    assert distance(hashes(original), hashes(COPIES[kind](original))) <= LIMIT
    assert distance(hashes(original), hashes(make_shot(2, 16, speed=4))) > LIMIT + 6


def clip(name: str, frames: Frame, width: int) -> dict[str, object]:
    values, detail = hash_pictures(list(frames))
    facts = {"start_s": 0.0, "end_s": 4.0, "width": width, "height": width // 2, "sharpness": 9.0, "num_bytes": 999}
    return {"clip_id": name, "video_hash": [int(each) for each in values.ravel()], "hash_detail": detail, **facts}


def test_the_largest_copy_stands_for_its_cluster(make_shot: Callable[..., Frame]) -> None:
    one, other = make_shot(1, 12), make_shot(2, 12)
    clips = [clip("a1", one, 64), clip("b2", COPIES["noisy"](one), 128), clip("c3", other, 64)]
    assert cluster(clips, DedupConfig()) == {"a1": "b2", "b2": "b2", "c3": "c3"}


def test_flat_clips_are_not_each_others_copies() -> None:
    clips = [clip(name, np.full((6, 72, 128, 3), level, np.uint8), 64) for name, level in (("a1", 90), ("b2", 91))]
    assert cluster(clips, DedupConfig()) == {"a1": "a1", "b2": "b2"}
