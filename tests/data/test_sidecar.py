import json
from pathlib import Path

import pytest

from kinema.data.sidecar import read_sidecars
from kinema.errors import DataError


@pytest.mark.parametrize(
    ("name", "content", "captions"),
    [
        ("a.txt", "a red\nball\n", ["a red ball"]),
        ("a.json", '{"caption": "one"}', ["one"]),
        ("a.json", '{"captions": ["one", "two"]}', ["one", "two"]),
        ("a.json", '"bare"', ["bare"]),
        ("metadata.jsonl", '{"file_name": "b.mp4", "text": "no"}\n{"file_name": "a.mp4", "text": "yes"}\n', ["yes"]),
        ("captions.csv", "file,caption\na.mp4,\"with, comma\"\n", ["with, comma"]),
        ("metadata.json", '[{"path": "a.mp4", "prompt": "p"}]', ["p"]),
        ("metadata.jsonl", '{"file_name": "b.mp4", "text": "no"}', []),
    ],
)  # fmt: skip
def test_captions_that_people_wrote_are_found(tmp_path: Path, name: str, content: str, captions: list[str]) -> None:
    (tmp_path / name).write_text(content)
    assert read_sidecars(tmp_path / "a.mp4") == captions


def test_a_list_of_the_folder_above_names_videos_by_their_folder(tmp_path: Path) -> None:
    """The layout of Hugging Face's folders of videos; a list beside the video comes first."""
    video = tmp_path / "videos" / "a.mp4"
    video.parent.mkdir()
    rows = [{"file_name": "a.mp4", "text": "another"}, {"file_name": "videos/a.mp4", "text": "above"}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read_sidecars(video) == ["above"]
    (video.parent / "captions.json").write_text(json.dumps(rows))
    assert read_sidecars(video) == ["another"]
    (video.parent / "captions.json").write_text(json.dumps([{"file_name": "a.mp4", "text": "changed since"}]))
    assert read_sidecars(video) == ["changed since"]


def test_subtitles_belong_to_the_clip_that_shows_them(tmp_path: Path) -> None:
    first = "1\n00:00:01,000 --> 00:00:03,000\n<i>first</i>\nline\n\n"
    cues = first + "2\n00:00:03,500 --> 00:00:06,000\nsecond\n"
    (tmp_path / "a.srt").write_bytes(cues.replace("\n", "\r\n").encode())
    assert read_sidecars(tmp_path / "a.mp4") == ["first line second"]
    assert read_sidecars(tmp_path / "a.mp4", (0.0, 4.0)) == ["first line"]
    assert read_sidecars(tmp_path / "a.mp4", (4.0, 9.0)) == ["second"]


def test_a_broken_sidecar_names_the_video(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"caption": "x"})[:-3])
    with pytest.raises(DataError, match=r"a\.mp4"):
        read_sidecars(tmp_path / "a.mp4")


def test_a_name_beside_which_no_longer_one_can_stand_has_no_captions(tmp_path: Path) -> None:
    video = tmp_path / ("x" * 251 + ".mp4")
    video.touch()
    assert read_sidecars(video) == []
