import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from kinema.errors import MediaError, SpecError
from kinema.media import (
    LiveWriter,
    PipeWriter,
    check_live,
    check_pipe,
    half_blocks,
    partial_of,
    probe,
    read_metadata,
    read_video,
)


def _chunks(count: int, frames: int = 4) -> list[np.ndarray]:
    """Chunks of grey frames, each a little brighter than the one before."""
    levels = np.arange(count * frames, dtype=np.uint8) * 5 + 20
    clip = np.broadcast_to(levels[:, None, None, None], (count * frames, 32, 48, 3))
    return list(np.split(clip, count))


def _write(path: Path, chunks: list[np.ndarray]) -> None:
    with LiveWriter(path, 8) as writer:
        for chunk in chunks:
            writer.write(chunk)


def test_a_stream_is_a_video_once_it_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    with LiveWriter(path, 8, {"kinema": "{}"}) as writer:
        for chunk in _chunks(5):
            writer.write(chunk)
        assert not path.exists()
    assert not partial_of(path).exists()
    info = probe(path)
    assert (info.width, info.height, info.frames, info.fps) == (48, 32, 20, 8.0)
    clip = read_video(path)
    assert np.abs(clip.frames.astype(int) - np.concatenate(_chunks(5))).max() <= 3
    assert read_metadata(path)["kinema"] == "{}"


def test_the_times_of_the_frames_run_on_from_chunk_to_chunk(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    with LiveWriter(path, 30000 / 1001) as writer:
        for chunk in _chunks(4, frames=3):
            writer.write(chunk)
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([index * 1001 / 30000 for index in range(12)])


def test_a_key_frame_amid_a_chunk_begins_no_fragment_of_its_own(tmp_path: Path) -> None:
    chunks = np.random.default_rng(0).integers(0, 256, (3, 4, 32, 48, 3), dtype=np.uint8)  # nothing like the one before
    _write(tmp_path / "x.mp4", list(chunks))
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert [frame.time for frame in container.decode(video=0)] == [index / 8 for index in range(12)]


def test_after_every_chunk_the_file_can_be_played(tmp_path: Path) -> None:
    with LiveWriter(tmp_path / "x.mp4", 8) as writer:
        for count, chunk in enumerate(_chunks(3), start=1):
            writer.write(chunk)
            copy = tmp_path / f"{count}.mp4"
            copy.write_bytes(partial_of(tmp_path / "x.mp4").read_bytes())
            assert len(read_video(copy).frames) == 4 * count


def test_a_stream_that_is_killed_leaves_what_was_made(tmp_path: Path) -> None:
    code = (
        "import numpy as np, sys, time, pathlib\n"
        "from kinema.media import LiveWriter\n"
        "with LiveWriter(pathlib.Path(sys.argv[1]), 8) as writer:\n"
        "    for _ in range(3): writer.write(np.full((4, 32, 32, 3), 99, np.uint8))\n"
        "    print('written', flush=True); time.sleep(600)\n"
    )
    path = tmp_path / "x.mp4"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    assert not path.exists()
    partial_of(path).rename(tmp_path / "rest.mp4")
    assert len(read_video(tmp_path / "rest.mp4").frames) == 12


def test_a_stream_that_fails_keeps_its_part_under_its_partial_name(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="do not fit into"):
        _write(tmp_path / "x.mp4", [_chunks(1)[0], np.zeros((1, 16, 16, 3), np.uint8)])
    assert [path.name for path in tmp_path.iterdir()] == ["x.mp4.partial"]


def test_a_stream_without_frames_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="there is no frame"), LiveWriter(tmp_path / "x.mp4", 8):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        _write(tmp_path / name, _chunks(3))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("kind", ["y4m", "mp4"])
def test_what_comes_out_of_a_pipe_can_be_played(kind: str) -> None:
    pipe = io.BytesIO()
    writer = PipeWriter(pipe, 8, kind)
    for chunk in _chunks(3):
        writer.write(chunk)
    with av.open(io.BytesIO(pipe.getvalue())) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 8
    assert np.abs(np.stack(frames).astype(int) - np.concatenate(_chunks(3))).max() <= 3


def test_bare_frames_are_bare() -> None:
    pipe = io.BytesIO()
    PipeWriter(pipe, 8, "rgb").write(_chunks(1)[0])
    assert pipe.getvalue() == _chunks(1)[0].tobytes()


def test_what_a_stream_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"a stream is written as .mp4; use x.mp4, or - for a pipe"):
        check_live(tmp_path / "x.gif")
    partial_of(tmp_path / "x.mp4").touch()
    with pytest.raises(MediaError, match="left of a stream that was stopped"):
        check_live(tmp_path / "x.mp4")
    check_live(tmp_path / "x.mp4", overwrite=True)
    with pytest.raises(SpecError, match="use y4m, mp4, rgb"):
        check_pipe("avi")
    with pytest.raises(SpecError, match="width=33 is odd"), LiveWriter(tmp_path / "y.mp4", 8) as writer:
        writer.write(np.zeros((1, 32, 33, 3), np.uint8))


def test_a_terminal_shows_two_pixels_in_a_cell_and_keeps_proportions() -> None:
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[:16] = (255, 0, 0)
    lines = half_blocks(frame, 20, 24).splitlines()
    assert len(lines) == 5  # 20 columns by 10 pixels
    assert lines[0].count("▀") == 20
    assert "38;2;255;0;0;48;2;255;0;0m" in lines[0]
    assert "38;2;0;0;0;48;2;0;0;0m" in lines[4]
    assert len(half_blocks(frame, 200, 4).splitlines()) == 4
