from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from kinema.data import frames
from kinema.data.frames import Picture, iter_pictures, pick_pictures
from kinema.media import Frame, write_video


@pytest.fixture
def clip(make_shot: Callable[..., Frame], tmp_path: Any) -> bytes:
    write_video(tmp_path / "a.mp4", make_shot(1, 24), 12)
    return bytes((tmp_path / "a.mp4").read_bytes())


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pictures that were decoded, by their indices."""
    seen: list[int] = []

    def counted(video: bytes) -> Iterator[Picture]:
        for picture in iter_pictures(video):
            seen.append(picture.index)
            yield picture

    monkeypatch.setattr(frames, "iter_pictures", counted)
    return seen


@pytest.mark.parametrize(("told", "passes"), [(24, 1), (30, 2), (0, 2)])
def test_pictures_are_picked_by_their_times_in_one_pass_if_the_packets_tell_them_right(
    clip: bytes, decoded: list[int], monkeypatch: pytest.MonkeyPatch, told: int, passes: int
) -> None:
    if told != 24:
        monkeypatch.setattr(frames, "_packet_times", lambda clip: np.arange(told) / 12)
    picked = pick_pictures(clip, lambda times: [0, len(times) // 2, len(times) - 1], lambda picture: picture.rgb())
    assert list(picked) == [0, 12, 23]
    assert len(decoded) == 24 * passes
    whole = [picture.rgb() for picture in iter_pictures(clip)]
    assert all(np.array_equal(whole[index], picture) for index, picture in picked.items())
