import json

import numpy as np
import pytest

from kinema.config import from_dict
from kinema.errors import DataError, SpecError
from kinema.media import read_image, read_video
from kinema.world import dataset
from kinema.world.dataset import ClipFormat, iter_clips, write_folder
from kinema.world.scene import Scene, is_held_out

SMALL = {"num_frames": 5, "fps": 8.0, "height": 16, "width": 24, "samples": 1}
FORM = ClipFormat(**SMALL)


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_clip_has_frames_a_scene_and_captions_of_three_lengths():
    (clip,) = iter_clips([4], **SMALL)
    assert clip.frames.shape == (5, 16, 24, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.frames.std() > 5
    assert clip.scene == FORM.scene(4)
    assert clip.scene.seconds == 0.5
    assert len({caption.text for caption in clip.captions}) == 3


def test_worker_processes_do_not_change_the_clips():
    seeds = range(18)
    alone = list(iter_clips(seeds, workers=1, **SMALL))
    shared = list(iter_clips(seeds, workers=2, **SMALL))
    for one, other in zip(alone, shared, strict=True):
        assert one.scene == other.scene
        assert one.captions == other.captions
        assert np.abs(one.frames.astype(int) - other.frames).max() <= 1


def test_splits_show_what_they_promise():
    assert not any(is_held_out(clip.scene) for clip in iter_clips(range(4), split="train", **SMALL))
    assert all(is_held_out(clip.scene) for clip in iter_clips(range(4), split="held_out", **SMALL))


def test_a_folder_holds_clips_and_their_metadata(tmp_path):
    assert write_folder(tmp_path / "clips", 3, FORM, first_seed=10) == 3
    lines = lines_of(tmp_path / "clips")
    assert [line["seed"] for line in lines] == [10, 11, 12]
    for line in lines:
        video = read_video(tmp_path / "clips" / line["file_name"])
        assert video.frames.shape == (5, 16, 24, 3)
        assert video.fps == line["fps"] == 8.0
        assert from_dict(Scene, line["scene"]) == FORM.scene(line["seed"])
        assert line["text"] in line["captions"]
    expected = next(iter_clips([11], **SMALL)).frames
    assert np.abs(read_video(tmp_path / "clips" / lines[1]["file_name"]).frames.astype(int) - expected).mean() < 10


def test_a_folder_goes_on_where_it_was_stopped_and_grows(tmp_path, monkeypatch):
    write_folder(tmp_path / "whole", 4, FORM)
    real, written = dataset.write_video, []

    def stop_at_the_third(path, frames, fps, metadata):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path.name)
        real(path, frames, fps, metadata)

    monkeypatch.setattr(dataset, "write_video", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "cut", 3, FORM)
    assert not (tmp_path / "cut" / "metadata.jsonl").exists()
    assert {path.name for path in (tmp_path / "cut").iterdir()} == {"world.json", *written}
    monkeypatch.setattr(dataset, "write_video", real)
    heard = []
    assert write_folder(tmp_path / "cut", 4, FORM, on_clip=lambda done, total: heard.append((done, total))) == 2
    assert heard == [(3, 4), (4, 4)]
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == names
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    assert write_folder(tmp_path / "cut", 4, FORM) == 0


def test_one_frame_makes_pictures(tmp_path):
    write_folder(tmp_path, 1, ClipFormat(num_frames=1, height=17, width=24), ending=".png")
    assert read_image(tmp_path / lines_of(tmp_path)[0]["file_name"]).shape == (17, 24, 3)


def test_a_folder_with_something_else_is_refused(tmp_path):
    write_folder(tmp_path / "clips", 2, FORM)
    with pytest.raises(DataError, match="first_seed 0, not 7"):
        write_folder(tmp_path / "clips", 2, FORM, first_seed=7)
    with pytest.raises(DataError, match="ask for 2 or more"):
        write_folder(tmp_path / "clips", 1, FORM)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match=r"already holds letter\.txt"):
        write_folder(tmp_path / "home", 1, FORM)
    with pytest.raises(DataError, match="is a file"):
        write_folder(tmp_path / "home" / "letter.txt", 1, FORM)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": 2.0}, "use 4 or more"),
        ({"fps": float("nan")}, "use 4 or more"),
        ({"num_frames": 4}, "use 5 or more"),
        ({"num_frames": 0}, "use 5 or more"),
        ({"height": 8}, "use 16 to 2048"),
        ({"width": 9000}, "use 16 to 2048"),
        ({"samples": 3}, "use 1, 4, 9 or 16"),
    ],
)
def test_a_format_that_cannot_show_the_world_is_refused(change, message):
    with pytest.raises(SpecError, match=message):
        ClipFormat(**{**SMALL, **change})


@pytest.mark.parametrize(
    ("change", "ending", "count", "message"),
    [
        ({"width": 25}, ".mp4", 1, "use 26x16"),
        ({}, ".png", 1, "a png holds one frame"),
        ({}, ".avi", 1, "no format that clips are written in"),
        ({}, ".mp4", 0, "use 1 or more"),
    ],
)
def test_files_that_cannot_be_written_are_refused_before_any_work(tmp_path, change, ending, count, message):
    with pytest.raises(SpecError, match=message):
        write_folder(tmp_path / "clips", count, ClipFormat(**{**SMALL, **change}), ending=ending)
    assert not (tmp_path / "clips").exists()


def test_no_workers_are_refused():
    with pytest.raises(SpecError, match="use 1"):
        iter_clips([1], workers=0, **SMALL)
