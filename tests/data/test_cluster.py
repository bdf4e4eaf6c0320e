from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from kinema.data import cluster
from kinema.data.cluster import Clusters
from kinema.data.dedup import DedupConfig, Hashes, hash_pictures, match
from kinema.media import Frame

Clip = tuple[dict[str, Any], Hashes]


def clip(name: str, frames: Frame, width: int) -> Clip:
    hashes, detail = hash_pictures(list(frames))
    return row(name, width, detail), hashes


def row(name: str, width: int = 64, detail: float = 30.0) -> dict[str, Any]:
    facts = {"start_s": 0.0, "end_s": 4.0, "width": width, "height": width // 2, "sharpness": 9.0, "num_bytes": 999}
    return {"clip_id": name, "hash_detail": detail, **facts}


def clusters(clips: list[Clip]) -> dict[str, str]:
    with Clusters(DedupConfig(), clips) as found:
        return dict(found)


def noisy(frames: Frame) -> Frame:
    noise = np.random.default_rng(0).integers(-15, 16, frames.shape)
    return np.clip(frames.astype(int) + noise, 0, 255).astype(np.uint8)


def test_the_largest_copy_stands_for_its_cluster(make_shot: Callable[..., Frame]) -> None:
    one, other = make_shot(1, 12), make_shot(2, 12)
    clips = [clip("a1", one, 64), clip("b2", noisy(one), 128), clip("c3", other, 64)]
    assert clusters(clips) == {"a1": "b2", "b2": "b2", "c3": "c3"}


def test_flat_clips_are_not_each_others_copies() -> None:
    clips = [clip(name, np.full((6, 72, 128, 3), level, np.uint8), 64) for name, level in (("a1", 90), ("b2", 91))]
    assert clusters(clips) == {"a1": "a1", "b2": "b2"}


def test_of_no_clips_nothing_is_made() -> None:
    assert clusters([]) == {}
    with Clusters(DedupConfig(), [(row("b2"), np.zeros((1, 4), np.uint64))]) as found:
        assert found.get("a1") is None
        assert found.get("c3") is None


def made_up(count: int, copies: int, moments: int, seed: int = 0) -> Iterator[Clip]:
    """`count` clips of hashes drawn by lot, each `copies` times with a few bits changed and its ends trimmed."""
    chance = np.random.default_rng(seed)
    for number in range(count):
        original = chance.integers(0, 2**64, (moments, 4), dtype=np.uint64)
        for copy in range(copies):
            changed = chance.random((moments, 4, 64)) < 2 / 64
            bits = np.packbits(changed, axis=-1).view(np.uint64)[..., 0]
            first = int(chance.integers(0, 2))
            yield row(f"{number:05x}{copy:05x}"), (original ^ bits)[first : moments - first]


@pytest.mark.parametrize("at_once", [1 << 19, 500])
def test_groups_are_linked_by_all_pairs_that_match(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_SORTED", at_once)
    monkeypatch.setattr(cluster, "_READ", at_once // 3)
    clips = list(made_up(30, 3, 8))
    chance = np.random.default_rng(1)
    chance.shuffle(clips)
    found = clusters(clips)
    for one, hashes in clips:
        for other, others in clips:
            same = found[one["clip_id"]] == found[other["clip_id"]]
            assert same == (one["clip_id"][:5] == other["clip_id"][:5])
            assert same or not match(hashes, others, DedupConfig())


def test_a_clip_repeated_a_thousand_times_is_compared_about_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def counted(one: Hashes, other: Hashes, config: DedupConfig) -> bool:
        nonlocal looks
        looks += 1
        return match(one, other, config)

    monkeypatch.setattr(cluster, "match", counted)
    opening = np.random.default_rng(1).integers(0, 2**64, (1, 4), dtype=np.uint64)
    clips = [(facts, np.concatenate([opening, hashes])) for facts, hashes in made_up(4, 500, 8)]
    found = clusters(clips)
    assert {name[:5] for name in found.values()} == {f"{number:05x}" for number in range(4)}
    assert len(set(found.values())) == 4
    assert len(clips) - 4 <= looks < 3 * len(clips)
