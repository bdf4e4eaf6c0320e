import json
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinema import media
from kinema.cli.main import main
from kinema.generate.pipeline import Pipeline
from kinema.generate.record import METADATA_KEY
from kinema.generate.stream import Stream

PROMPT = "a red ball rolls"
FAST = ("--steps", "1", "--size", "32x32", "--device", "cpu", "--dtype", "float32")


@pytest.fixture
def make(
    tiny_causal_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Any:
    """Runs `kinema stream` on the tiny causal model in an empty folder; gives exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, model: str = str(tiny_causal_model)) -> tuple[int, bytes, str]:
        code = main(["stream", PROMPT, *words, "--model", model])
        captured = capsysbinary.readouterr()
        return code, captured.out, captured.err.decode()

    return run


@pytest.fixture
def stop_after_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presses Ctrl-C when the third block has come out."""
    following = Stream.__next__

    def counted(self: Stream) -> np.ndarray:
        frames = following(self)
        if self.num_frames >= 9:
            signal.raise_signal(signal.SIGINT)
        return frames

    monkeypatch.setattr(Stream, "__next__", counted)


def test_a_stream_with_a_length_becomes_a_file(make: Any) -> None:
    code, out, err = make(*FAST, "--seconds", "2", "--out", "x.mp4")
    assert (code, out) == (0, b"")
    assert "x.mp4: 2.0 s of video, the first frame after" in err
    assert media.probe("x.mp4").frames == 17
    assert json.loads(media.read_metadata("x.mp4")[METADATA_KEY])["spec"]["frames"] == 17
    assert "aigc" in media.read_metadata("x.mp4")


@pytest.mark.usefixtures("stop_after_three")
def test_ctrl_c_is_the_end_of_a_stream_without_end(make: Any) -> None:
    before = signal.getsignal(signal.SIGINT)
    code, out, _ = make(*FAST, "--out", "x.mp4", "--json")
    assert code == 0
    numbers = json.loads(out)
    assert (numbers["frames"], numbers["seconds"], numbers["spec"]["frames"]) == (9, 1.0, None)
    assert numbers["first_frame_s"] > 0
    assert media.probe("x.mp4").frames == 9
    assert json.loads(media.read_metadata("x.mp4")[METADATA_KEY])["spec"]["frames"] is None
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.usefixtures("stop_after_three")
def test_ctrl_c_before_the_end_that_was_asked_for_leaves_a_part(make: Any, tmp_path: Path) -> None:
    code, _, err = make(*FAST, "--seconds", "60", "--out", "x.mp4")
    assert code == 6
    assert err.strip() == "kinema: stopped after 1.0 s of 60; they are in x.mp4.partial"
    assert [path.name for path in tmp_path.iterdir()] == ["x.mp4.partial"]
    (tmp_path / "x.mp4.partial").rename("part.mp4")
    assert len(media.read_video("part.mp4").frames) == 9


def test_a_pipe_gets_y4m_and_nothing_else(make: Any) -> None:
    _, out, _ = make(*FAST, "--seconds", "1", "--out", "-")
    header, _, rest = out.partition(b"\n")
    assert header.startswith(b"YUV4MPEG2 W32 H32 F8:1 ")
    assert len(rest) == 9 * (len(b"FRAME\n") + 32 * 32 * 3 // 2)
    bare = make(*FAST, "--seconds", "1", "--out", "-", "--format", "rgb")[1]
    assert len(bare) == 9 * 32 * 32 * 3


def test_a_terminal_shows_the_frames(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "11")
    code, out, _ = make(*FAST, "--seconds", "0.5", "--fps", "8")
    assert code == 0
    frames = out.decode().split("\x1b[H")[1:]
    assert len(frames) == 5
    assert all(frame.count("▀") == 20 * 10 for frame in frames)
    assert out.decode().endswith("\x1b[?25h")


def test_a_picture_of_other_proportions_comes_in_as_asked(make: Any) -> None:
    columns = np.linspace(0, 255, 64, dtype=np.uint8)
    media.write_video("wide.png", [np.broadcast_to(columns[None, :, None], (32, 64, 3))], 1)
    firsts = {}
    for fit in ("crop", "pad", "stretch"):
        code, out, err = make(*FAST, "--seconds", "0.5", "--out", f"{fit}.mp4", "--image", "wide.png", "--fit", fit)
        assert (code, out) == (0, b""), err
        assert json.loads(media.read_metadata(f"{fit}.mp4")[METADATA_KEY])["spec"]["fit"] == fit
        firsts[fit] = next(media.iter_frames(f"{fit}.mp4")).tobytes()
    assert len(set(firsts.values())) == 3


def test_timed_prompts_change_what_follows(make: Any) -> None:
    make(*FAST, "--seconds", "2", "--out", "one.mp4", "--no-marks")
    make(*FAST, "--seconds", "2", "--out", "two.mp4", "--no-marks", "--at", "1", "a blue box falls")
    one, two = (media.read_video(name).frames for name in ("one.mp4", "two.mp4"))
    assert np.array_equal(one[:9], two[:9])
    assert not np.array_equal(one[9:], two[9:])


def test_what_is_typed_is_said_to_the_stream(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    said = []
    monkeypatch.setattr(Stream, "say", lambda _, prompt: said.append(prompt))
    monkeypatch.setattr(sys, "stdin", io.StringIO("a blue box falls\n\n  it stops \n"))
    make(*FAST, "--seconds", "2", "--out", "x.mp4", "--listen")
    assert said == ["a blue box falls", "it stops"]


def test_a_dry_run_shows_how_the_model_looks_back_and_makes_nothing(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pipeline, "of", None)
    code, out, _ = make(*FAST, "--dry-run", "--json", "--preset", "longlive")
    assert code == 0
    plan = json.loads(out)
    assert plan["looking_back"] == {
        "block": 3, "sink": 3, "window": 12, "positions": "relative", "context_noise": 0.0
    }  # fmt: skip
    assert plan["spec"]["frames"] is None
    assert plan["estimate"]["flops"] > 1e6
    assert "window  12" in make(*FAST, "--dry-run", "--preset", "longlive")[1].decode()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "no terminal to draw in; give --out FILE.mp4, or --out -"),
        (("--out", "x.gif"), 4, "a stream is written as .mp4; use x.mp4"),
        (("--out", "nowhere/x.mp4"), 4, "folder nowhere does not exist"),
        (("--out", "there.mp4"), 4, "there.mp4 exists"),
        (("--out", "left.mp4"), 4, "left of a stream that was stopped"),
        (("--out", "-", "--format", "avi"), 2, "use y4m, mp4, rgb"),
        (("--out", "x.mp4", "--format", "rgb"), 2, "is for standard output"),
        (("--out", "-", "--json"), 2, "both write to standard output"),
        (("--out", "x.mp4", "--seconds", "0.7"), 2, "seconds=0.7 does not fit"),
        (("--out", "x.mp4", "--preset", "longliv"), 2, "did you mean 'longlive'"),
        (("--out", "x.mp4", "--image", "wide.png"), 2, "other proportions than the video's .* crop, pad or stretch"),
        (("--out", "x.mp4", "--image", "wide.png", "--fit", "zoom"), 2, "fit='zoom' does not fit; use crop, pad or"),
        (("--out", "x.mp4", "--size", "30x32"), 2, "width=30 does not fit"),
        (("--out", "x.mp4", "--at", "1", "b", "--at", "0.5", "c"), 2, "in their order"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_any_work(
    make: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.setattr(Pipeline, "of", None)
    (tmp_path / "there.mp4").write_text("mine")
    (tmp_path / "left.mp4.partial").write_text("mine")
    media.write_video("wide.png", [np.full((32, 64, 3), 90, np.uint8)], 1)
    outcome = make(*words)
    assert outcome[:2] == (code, b"")
    assert re.search(message, outcome[2]), outcome[2]
    assert len(outcome[2].strip().splitlines()) == 1


def test_a_model_that_makes_all_frames_at_once_is_refused(make: Any, tiny_model: Path) -> None:
    code, _, err = make("--out", "x.mp4", model=str(tiny_model))
    assert code == 2
    assert "makes all frames at once; stream a causal model" in err


def test_without_a_model_it_is_the_causal_one_that_ships_or_a_word_on_how_to_get_one(
    tiny_causal_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kinema.model.folder.SHIPPED", tmp_path / "none")
    assert main(["stream", PROMPT, "--dry-run"]) == 2
    assert "a stream needs a causal model (none ships with this installation; kinema train" in capsys.readouterr().err
    shutil.copytree(tiny_causal_model, tmp_path / "shipped" / "small-causal")
    monkeypatch.setattr("kinema.model.folder.SHIPPED", tmp_path / "shipped")
    assert main(["stream", PROMPT, "--dry-run", "--json", "--seconds", "2", *FAST]) == 0
    assert json.loads(capsys.readouterr().out)["spec"]["model"] == "small-causal"
