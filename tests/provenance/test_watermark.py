import math
from collections.abc import Iterator

import numpy as np
import pytest

from kinema.errors import SpecError
from kinema.media import Frame, iter_frames, write_video
from kinema.provenance import watermark
from kinema.provenance.watermark import THRESHOLD, detect, embed

from .conftest import ATTACKS, encoded, world_clip

MARK = 0xC0FFEE42


def marked(frames: Frame, mark: int = MARK) -> Frame:
    return np.concatenate(list(embed([frames], mark)))


def psnr_db(one: Frame, other: Frame) -> float:
    return 10 * math.log10(255**2 / float(np.mean((one.astype(np.float64) - other) ** 2)))


@pytest.mark.parametrize("side", [64, 192])
def test_a_mark_costs_no_more_than_forty_decibels(clips: dict[int, list[Frame]], side: int) -> None:
    for clip in clips[side]:
        assert psnr_db(clip, marked(clip)) >= 40


@pytest.mark.parametrize("ending", ["mp4", "webm", "webp"])
def test_a_clip_of_the_demo_world_carries_its_mark_in_every_format(
    clips: dict[int, list[Frame]], tmp_path: object, ending: str
) -> None:
    for i, clip in enumerate(clips[64][:3]):
        path = f"{tmp_path}/{i}.{ending}"
        write_video(path, embed([clip], MARK + i), 8)
        found = detect(iter_frames(path))
        assert found is not None
        assert found.payload == MARK + i


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_mark_of_a_larger_clip_withstands(clips: dict[int, list[Frame]], attack: str) -> None:
    for clip in clips[192]:
        found = detect([ATTACKS[attack](encoded(marked(clip)))])
        assert found is not None
        assert found.payload == MARK


def test_the_mark_of_a_small_clip_withstands_half_the_size(clips: dict[int, list[Frame]]) -> None:
    found = [detect([ATTACKS["half size"](encoded(marked(clip)))]) for clip in clips[64]]
    assert sum(each is not None and each.payload == MARK for each in found) >= 4


def test_no_mark_is_found_where_there_is_none(clips: dict[int, list[Frame]]) -> None:
    for clip in [*clips[64], *clips[192]]:
        found = detect([clip])
        assert found is not None
        assert not found.is_marked
        assert found.payload is None


def test_another_key_finds_nothing(clips: dict[int, list[Frame]]) -> None:
    found = detect([marked(clips[64][0])], b"another key")
    assert found is not None
    assert not found.is_marked


def test_chance_stays_below_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hoeffding: one code reaches t in at most exp(-t^2/2) of all keys, on pictures as unlike noise as any."""
    picture = np.zeros((64, 64), dtype=np.float32)
    picture[:, 20:] += 90
    picture[11:41, :] += np.arange(64) % 7 * 20
    weighed = watermark._weigh(watermark._transform(picture, 8)).ravel()
    keys = [watermark._keyed(8, b"%d" % i).signs for i in range(4000)]
    statistics = np.array([signs @ weighed for signs in keys]) / np.linalg.norm(weighed)
    assert abs(statistics.mean()) < 0.06
    assert 0.9 < statistics.std() < 1.1
    for t in (1.5, 2.0, 2.5, 3.0):
        assert (statistics >= t).mean() <= math.exp(-(t**2) / 2)
    assert 2**40 * len(watermark.GRIDS) * math.exp(-(THRESHOLD**2) / 2) == pytest.approx(1e-6)


def test_marking_in_chunks_gives_the_same_frames(clips: dict[int, list[Frame]]) -> None:
    clip = clips[64][1]
    whole = marked(clip)
    assert (np.concatenate(list(embed(iter([clip[:1], clip[1:6], clip[6:]]), MARK))) == whole).all()
    assert (np.stack(list(embed(iter(clip), MARK))) == whole).all()


def test_frames_come_out_as_they_come_in() -> None:
    taken = 0

    def frames() -> Iterator[Frame]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield np.full((64, 64, 3), 128, dtype=np.uint8)

    stream = embed(frames(), MARK)
    assert next(stream).shape == (64, 64, 3)
    assert taken == 1


def test_a_chunk_without_frames_passes() -> None:
    empty = np.zeros((0, 64, 64, 3), dtype=np.uint8)
    assert [chunk.shape for chunk in embed([empty], MARK)] == [(0, 64, 64, 3)]
    assert detect([empty]) is None


def test_the_last_mark_is_the_one_that_is_read() -> None:
    """An extension marks again what its first part carried."""
    clip = world_clip(3, frames=33)
    before = marked(clip[:17], 0x11111111)
    found = detect([encoded(marked(np.concatenate([before, clip[17:]]), 0x2468ACE0))])
    assert found is not None
    assert found.payload == 0x2468ACE0


@pytest.mark.parametrize("shape", [(30, 46), (101, 333), (16, 16), (480, 24)])
def test_any_size_takes_a_mark(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (3, *shape, 3)).astype(np.uint8)
    assert marked(noise).shape == noise.shape
    assert psnr_db(noise, marked(noise)) >= 40


@pytest.mark.parametrize("mark", [-1, 2**32])
def test_a_mark_of_more_than_32_bits_is_refused_before_any_frame(mark: int) -> None:
    with pytest.raises(SpecError, match="takes a whole number from 0 to 4294967295"):
        embed([], mark)
