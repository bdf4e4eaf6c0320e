import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kinema.errors import MediaError, SpecError
from kinema.media import ENDINGS, Frame, VideoWriter, check_output, probe, read_metadata, read_video, write_video

CLIP_ENDINGS = [ending for ending in ENDINGS if ending != ".png"]


def frames_for(ending: str, clip: Frame) -> Frame:
    return clip[:1] if ending == ".png" else clip


def decibels(a: Frame, b: Frame) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.square(a.astype(float) - b).mean())))


@pytest.mark.parametrize("ending", CLIP_ENDINGS)
def test_a_clip_comes_back_as_it_went_in(tmp_path: Path, clip: Frame, ending: str) -> None:
    path = tmp_path / f"clip{ending}"
    write_video(path, clip, 8)
    video = read_video(path)
    assert video.frames.shape == clip.shape
    assert video.fps == 8
    assert decibels(video.frames, clip) > 35
    info = probe(path)
    assert (info.width, info.height, info.frames, info.fps) == (64, 48, 17, 8)


def test_a_png_is_exact(tmp_path: Path, clip: Frame) -> None:
    write_video(tmp_path / "one.png", clip[0], 8)
    assert np.array_equal(read_video(tmp_path / "one.png").frames, clip[:1])


@pytest.mark.parametrize("fps", [7.5, 24, 30000 / 1001])
@pytest.mark.parametrize("ending", CLIP_ENDINGS)
def test_rates_survive(tmp_path: Path, clip: Frame, ending: str, fps: float) -> None:
    write_video(tmp_path / f"clip{ending}", clip, fps)
    video = read_video(tmp_path / f"clip{ending}")
    assert video.fps == pytest.approx(fps, rel=1e-4)
    assert len(video.frames) == len(clip)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_long_request_survives_as_metadata(tmp_path: Path, clip: Frame, ending: str) -> None:
    request = json.dumps({"prompt": 'é 漢 \\ " ; = # \n' * 120, "note": "x" * 4096}, ensure_ascii=False)
    write_video(tmp_path / f"clip{ending}", frames_for(ending, clip), 8, {"comment": request, "Title": "a; b=c"})
    assert read_metadata(tmp_path / f"clip{ending}") == {"comment": request, "title": "a; b=c"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_clip_gives_the_same_bytes_however_it_is_cut(tmp_path: Path, clip: Frame, ending: str) -> None:
    clip = frames_for(ending, clip)
    write_video(tmp_path / f"a{ending}", clip, 8, {"comment": "x"})
    write_video(tmp_path / f"b{ending}", [clip[:1], *clip[1:3], clip[3:]], 8, {"comment": "x"})
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


DIGESTS = """
import hashlib, sys
from pathlib import Path
import numpy as np
from kinema.media import ENDINGS, write_video
for height, width in ((48, 64), (50, 66)):
    rows, columns = np.mgrid[0:height, 0:width]
    light = [np.exp(-((columns - 10 - 3 * i) ** 2 + (rows - height / 2) ** 2) / 120) for i in range(17)]
    clip = np.stack([np.stack([200 * each, 30 + 100 * rows / height, 60 + 0 * rows], axis=-1) for each in light])
    for ending in ENDINGS:
        path = Path(sys.argv[1]) / f"clip{ending}"
        write_video(path, clip.astype(np.uint8)[: 1 if ending == ".png" else 17], 8)
        print(height, ending, hashlib.sha256(path.read_bytes()).hexdigest())
"""


def test_the_bytes_do_not_depend_on_what_memory_held_before(tmp_path: Path) -> None:
    digests = set()
    for filled_with in ("0", "1", "170"):  # glibc fills what it hands out with the complement of this byte
        environment = {**os.environ, "MALLOC_PERTURB_": filled_with}
        command = [sys.executable, "-c", DIGESTS, str(tmp_path)]
        digests.add(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
    assert len(digests) == 1


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40), (255, 255, 255), (9, 9, 9)])
@pytest.mark.parametrize("ending", [".mp4", ".webm"])
def test_flat_colours_survive_video_coding(tmp_path: Path, ending: str, colour: tuple[int, int, int]) -> None:
    frames = np.broadcast_to(np.array(colour, np.uint8), (3, 32, 32, 3))
    write_video(tmp_path / f"flat{ending}", frames, 8)
    assert np.abs(read_video(tmp_path / f"flat{ending}").frames.astype(int) - frames).max() <= 2


def test_an_mp4_starts_before_it_is_loaded_whole(tmp_path: Path, clip: Frame) -> None:
    write_video(tmp_path / "clip.mp4", clip, 8)
    data = (tmp_path / "clip.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert probe(tmp_path / "clip.mp4").codec == "h264"


@pytest.mark.parametrize("ending", [".mp4", ".webm"])
def test_odd_sides_name_the_nearest_even_ones(tmp_path: Path, ending: str) -> None:
    with pytest.raises(SpecError, match="width=33 is odd, which mp4 and webm cannot hold; use 32 or 34"):
        write_video(tmp_path / f"odd{ending}", np.zeros((1, 32, 33, 3), np.uint8), 8)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stop", [ValueError("mid"), KeyboardInterrupt(), SystemExit(143)])
@pytest.mark.parametrize("ending", CLIP_ENDINGS)
def test_nothing_is_left_when_the_frames_stop_half_way(
    tmp_path: Path, clip: Frame, ending: str, stop: BaseException
) -> None:
    def frames() -> Iterator[Frame]:
        yield clip[:5]
        raise stop

    with pytest.raises(type(stop)):
        write_video(tmp_path / f"clip{ending}", frames(), 8)
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_when_a_new_one_fails(tmp_path: Path, clip: Frame) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, clip, 8)
    before = path.read_bytes()
    with pytest.raises(SpecError, match="does not fit into a clip of 64x48"):
        write_video(path, [clip, clip[:, :, :32]], 8)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


FULL_DISK = """
import resource, signal, sys
import numpy as np
from kinema.media import write_video
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
noise = np.random.default_rng(0).integers(0, 255, (int(sys.argv[2]), 96, 96, 3), dtype=np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
try:
    write_video(sys.argv[1], noise, 8)
except OSError as error:
    print(error.errno, error.filename)
"""


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_finds_no_room_is_an_os_error_and_leaves_nothing(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"clip{ending}"
    count = "1" if ending == ".png" else "24"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path), count], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{errno.EFBIG} {path}"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_its_error_number(tmp_path: Path, clip: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_video(tmp_path / "clip.mp4", clip, 8)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []


def test_no_frame_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="there is no frame"):
        write_video(tmp_path / "clip.mp4", [], 8)
    assert list(tmp_path.iterdir()) == []


def test_a_second_frame_does_not_fit_a_png(tmp_path: Path, clip: Frame) -> None:
    with pytest.raises(SpecError, match="a png holds one frame"):
        write_video(tmp_path / "clip.png", clip, 8)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("frames", [np.zeros((2, 8, 8, 3)), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8)])
def test_frames_are_uint8_rgb(tmp_path: Path, frames: Frame) -> None:
    with pytest.raises(SpecError, match="they must be uint8"):
        write_video(tmp_path / "clip.mp4", [frames], 8)


@pytest.mark.parametrize(
    ("name", "fps"), [("a.mp4", 0), ("a.mp4", 1e-9), ("a.mp4", float("nan")), ("a.mp4", 1001), ("a.gif", 60)]
)
def test_a_rate_that_does_not_fit_is_refused(tmp_path: Path, name: str, fps: float) -> None:
    with pytest.raises(SpecError, match="fps="):
        VideoWriter(tmp_path / name, fps)


def test_an_output_that_could_not_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "old.mp4").write_bytes(b"old")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "link.mp4").symlink_to("elsewhere.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, message in [
        ("clip.avi", r"no format for the ending '.avi'; use one of .mp4, .webm"),
        ("clip", "no format for the ending ''"),
        ("missing/clip.mp4", "does not exist; make it first"),
        ("folder.mp4", "is a folder"),
        ("old.mp4", "exists; choose another name, or replace it with --force"),
        ("link.mp4", "is a link to elsewhere.mp4, which does not exist; give that name, or replace the link"),
        ("pipe.mp4", "is a pipe, a socket or a device; give the name of a file"),
    ]:
        with pytest.raises(MediaError, match=message):
            check_output(tmp_path / name)
    with pytest.raises(MediaError, match="is a pipe"):
        check_output(tmp_path / "pipe.mp4", overwrite=True)
    check_output(tmp_path / "old.mp4", overwrite=True)
    check_output(tmp_path / "link.mp4", overwrite=True)
    check_output(tmp_path / "new.MP4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.mp4", "link.mp4", "old.mp4", "pipe.mp4"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path, clip: Frame) -> None:
    (tmp_path / "mine.png").write_text("mine")
    for target in ("mine.png", "nowhere.png"):
        (tmp_path / "link.png").unlink(missing_ok=True)
        (tmp_path / "link.png").symlink_to(target)
        write_video(tmp_path / "link.png", clip[0], 8)
        assert not (tmp_path / "link.png").is_symlink()
        assert probe(tmp_path / "link.png").frames == 1
    assert (tmp_path / "mine.png").read_text() == "mine"
    assert not (tmp_path / "nowhere.png").exists()


@pytest.mark.parametrize("name", ["x" * 300 + ".mp4", "x" * 248 + ".mp4", "a\0b.mp4"])
def test_a_name_that_no_file_can_have_is_refused_before_any_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(MediaError, match=r"cannot be written: (File name too long|embedded null byte)"):
        check_output(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that takes no file from anybody")
def test_a_folder_that_takes_no_file_is_refused_whatever_its_permissions_say() -> None:
    with pytest.raises(MediaError, match="cannot be written"):
        check_output("/proc/self/clip.mp4")


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(MediaError, match="no permission"):
        check_output(tmp_path / "clip.mp4")


def test_a_folder_that_is_gone_is_a_media_error(tmp_path: Path, clip: Frame) -> None:
    for ending in ENDINGS:
        with pytest.raises(MediaError, match="cannot be written"):
            write_video(tmp_path / "gone" / f"clip{ending}", clip[:1], 8)
