import os
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from kinema.errors import MediaError
from kinema.media import Frame, iter_frames, probe, read_image, read_metadata, read_video, write_video


@pytest.mark.parametrize("name", ["gone.mp4", "gone.png"])
@pytest.mark.parametrize("read", [probe, read_video, read_metadata, read_image])
def test_a_missing_file_is_named(tmp_path: Path, name: str, read: object) -> None:
    assert callable(read)
    with pytest.raises(MediaError, match=f"{name} does not exist"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["pipe.mp4", "pipe.png"])
@pytest.mark.parametrize("read", [probe, read_video, read_metadata, read_image])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str, read: object) -> None:
    assert callable(read)
    os.mkfifo(tmp_path / name)
    with pytest.raises(MediaError, match=f"{name} is a pipe, a socket or a device; give the name of a file"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["text.mp4", "text.webm", "text.gif", "text.png"])
def test_a_file_that_is_something_else_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("this is no video", encoding="utf-8")
    with pytest.raises(MediaError, match=name):
        read_video(tmp_path / name)


@pytest.mark.parametrize("read", [probe, read_video])
def test_a_video_of_an_unknown_codec_is_an_error(tmp_path: Path, clip: Frame, read: object) -> None:
    assert callable(read)
    write_video(tmp_path / "clip.mp4", clip, 8)
    data = (tmp_path / "clip.mp4").read_bytes()
    (tmp_path / "clip.mp4").write_bytes(data.replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzZ"))
    with pytest.raises(MediaError, match=r"clip\.mp4 holds video in a format that cannot be read"):
        read(tmp_path / "clip.mp4")


def test_a_truncated_picture_is_an_error(tmp_path: Path, clip: Frame) -> None:
    write_video(tmp_path / "one.png", clip[0], 8)
    data = (tmp_path / "one.png").read_bytes()
    (tmp_path / "one.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError, match=r"one\.png cannot be read as a picture"):
        read_image(tmp_path / "one.png")


def test_a_truncated_video_is_an_error(tmp_path: Path, clip: Frame) -> None:
    write_video(tmp_path / "clip.mp4", clip, 8)
    data = (tmp_path / "clip.mp4").read_bytes()
    (tmp_path / "clip.mp4").write_bytes(data[:900])
    with pytest.raises(MediaError, match=r"clip\.mp4"):
        read_video(tmp_path / "clip.mp4")


def test_a_file_with_sound_only_holds_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match="holds no video"):
        probe(path)


def test_frames_come_one_by_one(tmp_path: Path, clip: Frame) -> None:
    write_video(tmp_path / "clip.mp4", clip, 8)
    frames = iter_frames(tmp_path / "clip.mp4")
    first = next(frames)
    assert first.shape == clip[0].shape
    assert np.array_equal(np.stack([first, *frames]), read_video(tmp_path / "clip.mp4").frames)


def test_a_foreign_gif_is_sampled_evenly(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    pictures[0].save(
        tmp_path / "x.gif", save_all=True, append_images=pictures[1:], duration=[140, 260, 200], comment=b"by hand"
    )
    video = read_video(tmp_path / "x.gif")
    assert video.fps == pytest.approx(5)
    assert [tuple(frame[0, 0]) for frame in video.frames] == [(255, 0, 0), (0, 128, 0), (0, 0, 255)]
    assert read_metadata(tmp_path / "x.gif") == {"comment": "by hand"}


def test_pictures_stand_upright_and_transparency_is_white(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    Image.new("RGB", (20, 10), "red").save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (20, 10, 3)
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert np.array_equal(read_image(tmp_path / "clear.png"), np.full((4, 4, 3), 255, np.uint8))


def test_grey_of_16_bits_keeps_its_range(tmp_path: Path) -> None:
    grey = np.array([[0, 257 * 100, 65535]], np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png")[0, :, 0].tolist() == [0, 100, 255]


def test_a_still_picture_has_no_rate(tmp_path: Path, clip: Frame) -> None:
    write_video(tmp_path / "one.png", clip[0], 8)
    info = probe(tmp_path / "one.png")
    assert (info.frames, info.fps, info.codec) == (1, 0.0, "png")
