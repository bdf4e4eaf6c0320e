from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from kinema.data import frames
from kinema.data.frames import Picture, iter_pictures, pick_pictures
from kinema.data.key_frames import pictures_from
from kinema.data.probe import probe_file
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


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("aspect", [Fraction(16, 11), Fraction(2, 3)])
def test_a_picture_is_shown_with_square_pixels_and_upright(
    make_shot: Callable[..., Frame], write_anamorphic: Callable[..., Path], tmp_path: Path, aspect: Fraction, turns: int
) -> None:
    shown = make_shot(1, 12, height=96, width=128, grain=32)
    path = write_anamorphic(tmp_path / "a.mp4", shown, aspect, turns)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        frame = next(file.decode(stream))
        coded = round((96, 128)[turns % 2 == 0] / aspect), (128, 96)[turns % 2 == 0]
        assert (stream.sample_aspect_ratio, frame.rotation % 360) == (aspect, 90 * turns)
        assert (frame.width, frame.height) == coded
    facts = probe_file(path)
    for pictures in (list(iter_pictures(path)), list(pictures_from(path, 0.0))):
        whole = np.stack([picture.rgb() for picture in pictures])
        assert whole.shape == (12, facts["height"], facts["width"], 3) == shown.shape
        assert np.abs(whole.astype(int) - shown).mean() < 6
        assert pictures[0].rgb(64).shape == (48, 64, 3)
