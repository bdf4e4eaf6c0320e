from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from kinema.data import transcode
from kinema.data.cut import Cutter
from kinema.data.frames import iter_pictures
from kinema.data.key_frames import pictures_from, stands_alone
from kinema.data.transcode import Span
from kinema.media import Frame

RATE = 10


def encode(path: Path, film: Frame, parameters: str) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=RATE, options={"x264-params": parameters + ":scenecut=0"})
        stream.width, stream.height, stream.pix_fmt = film.shape[2], film.shape[1], "yuv420p"
        for picture in film:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def film(make_shot: Callable[..., Frame]) -> Frame:
    return make_shot(1, 120, height=36, width=64)


@pytest.mark.parametrize(
    ("name", "open_gop", "alone"), [("a.mp4", 0, 6), ("a.ts", 0, 6), ("a.mp4", 1, 1), ("a.ts", 1, 1)]
)
def test_a_key_frame_that_later_pictures_may_look_past_does_not_stand_alone(
    film: Frame, tmp_path: Path, name: str, open_gop: int, alone: int
) -> None:
    path = encode(tmp_path / name, film, f"keyint=20:min-keyint=20:open-gop={open_gop}")
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        extradata = stream.codec_context.extradata or b""
        keys = [bytes(packet) for packet in file.demux(stream) if packet.is_keyframe and packet.size]
    assert len(keys) == 6
    assert sum(stands_alone("h264", extradata, key) for key in keys) == alone


def test_pictures_from_a_time_on_are_those_of_a_whole_pass(film: Frame, tmp_path: Path) -> None:
    path = encode(tmp_path / "film.mp4", film, "keyint=20:min-keyint=20")
    whole = [(picture.time_s, picture.rgb().tobytes()) for picture in iter_pictures(path)]
    for first in (0, 40, 55):
        found = pictures_from(path, whole[first][0])
        assert [(picture.time_s, picture.rgb().tobytes()) for picture in found] == whole[first:]


@pytest.mark.parametrize("open_gop", [0, 1])
def test_a_clip_late_in_a_file_is_cut_without_decoding_all_before_it_where_that_is_safe(
    film: Frame, tmp_path: Path, open_gop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / "film.mp4", film, f"keyint=20:min-keyint=20:open-gop={open_gop}")
    spans = [Span(first, last, first / RATE, last / RATE) for first, last in ((3, 17), (75, 99), (101, 120))]
    decoded = []

    def counted(path: Any) -> Iterator[Any]:
        for picture in iter_pictures(path):
            decoded.append(picture.index)
            yield picture

    monkeypatch.setattr(transcode, "iter_pictures", counted)
    clips = {}
    for way, least in (("jump", transcode._WORTH_A_JUMP), ("pass", 1000)):
        decoded.clear()
        monkeypatch.setattr(transcode, "_WORTH_A_JUMP", least)
        (tmp_path / way).mkdir()
        with Cutter(path, tmp_path / way) as cutter:
            clips[way] = [target.read_bytes() for _, target, _ in cutter.cut(spans)]
        assert max(decoded) == (16 if way == "jump" and not open_gop else 119)
    assert clips["jump"] == clips["pass"]
