import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinema import media
from kinema.cli.main import main
from kinema.generate.pipeline import Pipeline

FAST = ("--steps", "1", "--size", "32x32", "--device", "cpu", "--dtype", "float32")


@pytest.fixture
def edit(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `kinema edit` on the tiny model, in a folder that holds a.mp4, which says what it shows, b.mp4, one.png."""
    monkeypatch.chdir(tmp_path)
    record = {
        "spec": {"prompt": "a red ball rolls"}, "version": "0", "weights": "0", "device": "cpu", "dtype": "float32"
    }  # fmt: skip
    frames = np.random.default_rng(0).integers(0, 256, (2, 13, 32, 32, 3), dtype=np.uint8)
    media.write_video("a.mp4", [frames[0]], 8, {"kinema": json.dumps(record)})
    media.write_video("b.mp4", [frames[1]], 8)
    media.write_video("one.png", [frames[0, 0]], 8)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["edit", *words, "--model", str(tiny_model)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


EDITS: list[tuple[tuple[str, ...], str, int]] = [
    (("a.mp4", "--extend", "0.5"), "a-extend.mp4", 17),
    (("a.mp4", "--extend-back", "1"), "a-extend.mp4", 21),
    (("a.mp4", "--loop", "0.5"), "a-loop.mp4", 17),
    (("a.mp4", "--remix", "--prompt", "a blue box falls", "--strength", "0.5"), "a-remix.mp4", 13),
    (("a.mp4", "--vary"), "a-vary.mp4", 13),
    (("a.mp4", "--replace", "0.5-1"), "a-replace.mp4", 13),
    (("a.mp4", "--replace", "1-", "--box", "0,0,16,16"), "a-replace.mp4", 13),
    (("a.mp4", "--mask", "one.png"), "a-replace.mp4", 13),
    (("a.mp4", "--blend", "b.mp4", "--over", "0.5"), "a-blend.mp4", 22),
    (("--prompt", "a ball", "--key", "one.png@0", "--key", "one.png@1", "--seconds", "1.5"),
     "a-ball-key-frames.mp4", 13),
    (("--prompt", "a ball", "--card", "1", "it stops", "--card-image", "one.png@0", "--seconds", "2"),
     "a-ball-storyboard.mp4", 17),
]  # fmt: skip


@pytest.mark.parametrize(("words", "name", "frames"), EDITS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_edit_is_one_flag(edit: Any, words: tuple[str, ...], name: str, frames: int) -> None:
    code, out, err = edit(*words, *FAST)
    assert (code, out) == (0, ""), err
    assert media.probe(name).frames == frames
    assert f"{name}  32x32, {frames} frames at 8 per second" in err


def test_an_edit_is_made_again_from_its_file(edit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    edit("a.mp4", "--extend", "0.5", "--out", "one.mp4", "--no-marks", *FAST)
    assert main(["generate", "--from", "one.mp4", "--out", "two.mp4", "--device", "cpu", "--no-marks"]) == 0
    assert "may differ" not in capsys.readouterr().err
    assert Path("one.mp4").read_bytes() == Path("two.mp4").read_bytes()


def test_takes_are_counted(edit: Any) -> None:
    assert edit("a.mp4", "--vary", "--count", "2", "--out", "take.mp4", *FAST)[0] == 0
    assert Path("take-1.mp4").read_bytes() != Path("take-2.mp4").read_bytes()


def test_joining_needs_no_model(edit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pipeline, "of", None)
    code, out, _ = edit("a.mp4:0-0.5", "--join", "b.mp4:1-", "--join", "a.mp4", "--json")
    assert code == 0
    assert json.loads(out)["videos"][0]["path"] == "a-join.mp4"
    assert media.probe("a-join.mp4").frames == 4 + 5 + 13


def test_a_dry_run_makes_nothing(edit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pipeline, "of", None)
    before = sorted(tmp_path.iterdir())
    code, out, _ = edit("a.mp4", "--extend", "0.5", "--dry-run", "--json", *FAST)
    assert code == 0
    plan = json.loads(out)
    assert plan["spec"]["edit"]["kind"] == "extend"
    assert plan["spec"]["prompt"] == "a red ball rolls"
    assert plan["estimate"]["flops"] > 1e6
    assert edit("a.mp4", "--join", "b.mp4", "--dry-run")[0] == 0
    assert sorted(tmp_path.iterdir()) == before


def test_an_edit_is_sampled_as_it_is_told(edit: Any) -> None:
    flags = ("--negative", "blue", "--solver", "euler", "--shift", "2", "--step-cache", "0.1")
    code, out, err = edit("a.mp4", "--loop", "1", *flags, "--dry-run", "--json", *FAST)
    assert code == 0, err
    wanted = {"negative": "blue", "solver": "euler", "shift": 2.0, "step_cache": 0.1}
    assert {name: json.loads(out)["spec"][name] for name in wanted} == wanted


def test_another_pace_is_warned_of(edit: Any) -> None:
    clip = media.read_video("b.mp4").frames
    media.write_video("fast.mp4", [clip], 24)
    _, _, err = edit("fast.mp4", "--vary", "--prompt", "a ball", "--dry-run", *FAST)
    assert "fast.mp4 plays 24 frames per second and the model was trained at 8" in err


BAD: list[tuple[tuple[str, ...], int, str]] = [
    ((), 2, "no edit is named; give one of --extend, --extend-back"),
    (("a.mp4",), 2, "no edit is named"),
    (("a.mp4", "--extend", "1", "--loop", "1"), 2, "--extend and --loop are two edits; give one"),
    (("--extend", "1"), 2, "--extend needs a video"),
    (("a.mp4", "--key", "one.png@0"), 2, "--key makes a new video"),
    (("--prompt", "x", "--key", "one.png"), 2, "names no time; it takes FILE@S"),
    (("a.mp4", "--extend", "1", "--strength", "0.5"), 2, "--strength does nothing beside --extend"),
    (("a.mp4", "--vary", "--over", "1"), 2, "--over does nothing beside --vary"),
    (("b.mp4", "--extend", "1"), 2, "b.mp4 does not say what it shows; give --prompt"),
    (("missing.mp4", "--extend", "1"), 4, "missing.mp4 does not exist"),
    (("a.mp4", "--extend", "0.7"), 2, "use 0.5 or 1 s"),
    (("a.mp4", "--extend", "1", "--seconds", "2"), 2, "takes its length from the video"),
    (("a.mp4", "--replace", "1"), 2, "no span of time; it takes START-END"),
    (("a.mp4", "--box", "1,2,3"), 2, "left, top, right and bottom"),
    (("a.mp4", "--box", "8,8,8,8"), 2, "is empty"),
    (("a.mp4", "--remix", "--strength", "2"), 2, "strength=2 does not fit"),
    (("a.mp4", "--remix", "--fit", "zoom"), 2, "use crop, pad or stretch"),
    (("a.mp4", "--vary", "--count", "0"), 2, "count=0"),
    (("a.mp4", "--vary", "--out", "x.avi"), 4, "no format for the ending"),
    (("a.mp4", "--join", "b.mp4:2-9"), 2, "beyond b.mp4, which has 13 frames"),
]


@pytest.mark.parametrize(
    ("words", "code", "message"), BAD, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_bad_input_is_refused_in_one_line_before_any_work(
    edit: Any, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, message: str
) -> None:
    monkeypatch.setattr(Pipeline, "of", None)
    outcome = edit(*words)
    assert outcome[:2] == (code, ""), outcome
    lines = outcome[2].strip().splitlines()
    assert len(lines) == 1
    assert re.search(message, lines[0]), lines[0]
