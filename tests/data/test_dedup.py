from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from kinema.data import DataRecipe, Store, run_recipe
from kinema.data.dedup import INSETS, DedupConfig, _hash, distance, hash_pictures, match, unpack
from kinema.data.ingest import Source
from kinema.data.pool import Limits
from kinema.media import Frame, write_video

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


def test_a_match_is_a_distance_within_the_limit(make_shot: Callable[..., Frame]) -> None:
    shots = [hashes(make_shot(seed, length, speed=4)) for seed in (1, 2) for length in (9, 16)]
    shots += [hashes(change(make_shot(1, 16, speed=4))) for change in COPIES.values()]
    chance = np.random.default_rng(0)
    shots += [shots[1] ^ chance.integers(0, 2**bits, shots[1].shape, dtype=np.uint64) for bits in (14, 18, 22)]
    verdicts = [match(one, other, DedupConfig()) for one in shots for other in shots]
    assert verdicts == [distance(one, other) <= LIMIT for one in shots for other in shots]
    assert 0 < sum(verdicts) < len(verdicts)


def test_a_hash_says_which_low_frequencies_are_above_their_median() -> None:
    chance = np.random.default_rng(0)
    for number in range(200):
        gray = chance.integers(0, 1 + number, (80, 100), dtype=np.uint8)
        told = _hash(gray)
        for bits, share in zip(told, INSETS, strict=True):
            rows, columns = round(80 * share), round(100 * share)
            inset = gray[rows : 80 - rows, columns : 100 - columns].astype(np.float64)
            low = cv2.dct(cv2.resize(inset, (32, 32), interpolation=cv2.INTER_AREA))[:9, :9].ravel()[1:65]
            assert int(bits) == int(np.packbits(low > np.median(low)).view(">u8")[0])


@pytest.mark.parametrize("size", [(2, 2), (14, 24), (144, 256)])
def test_a_flat_picture_has_no_frequencies(size: tuple[int, int]) -> None:
    assert not _hash(np.full(size, 77, np.uint8)).any()


@pytest.mark.parametrize("turns", [0, 1])
def test_a_file_of_wide_pixels_and_its_copy_in_square_ones_have_the_same_scores_and_are_one(
    make_shot: Callable[..., Frame], write_anamorphic: Callable[..., Path], tmp_path: Path, turns: int
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    shown = np.ascontiguousarray(np.rot90(make_shot(1, 36, height=256, width=144, grain=16), axes=(1, 2)))  # a tilt
    write_video(videos / "square.mp4", shown, 12)
    write_anamorphic(videos / "wide.mp4", shown, Fraction(2), turns)
    write_video(videos / "other.mp4", make_shot(2, 36, height=144, width=256, grain=16), 12)
    recipe = DataRecipe(sources=(Source(path=str(videos)),), out=tmp_path / "set", limits=Limits(workers=0))
    assert sum(each.failed for each in run_recipe(recipe, ("ingest", "split", "filter", "dedup"))) == 0
    clips = {Path(clip["uri"]).stem: clip for clip in Store(recipe.out).read("clips")}
    wide, square, other = (clips[name] for name in ("wide", "square", "other"))
    assert (wide["width"], wide["height"], wide["cut"]) == (square["width"], square["height"], "transcoded")
    assert wide["camera"] == square["camera"]
    for name in ("motion", "codec_motion"):
        assert wide[name] == pytest.approx(square[name], rel=0.1)
    assert wide["cluster"] == square["cluster"] != other["cluster"]
    assert distance(*(unpack(each["video_hash"]) for each in (wide, square))) < 2
