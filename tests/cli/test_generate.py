import dataclasses
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinema
from kinema import media
from kinema.cli.main import main
from kinema.errors import how_to_install
from kinema.generate.pipeline import Pipeline
from kinema.generate.record import METADATA_KEY, Record
from kinema.generate.vocabulary import Vocabulary

PROMPT = "a red ball rolls"
FAST = ("--steps", "2", "--frames", "5", "--size", "32x32", "--device", "cpu", "--dtype", "float32")


@pytest.fixture
def make(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `kinema generate` on the tiny model in an empty folder; gives exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, prompt: str | None = PROMPT, model: str = str(tiny_model)) -> tuple[int, str, str]:
        arguments = ["generate", *([] if prompt is None else [prompt]), *words]
        if "--from" not in words:
            arguments += ["--model", model]
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes reading weights and generating an error, for what must be refused before."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr(Pipeline, "of", refuse)
    monkeypatch.setattr(Pipeline, "stream", refuse)


def test_a_prompt_becomes_a_file_named_after_it(make: Any) -> None:
    code, out, err = make(*FAST)
    assert code == 0
    assert out == ""
    assert "a-red-ball-rolls.mp4  32x32, 5 frames at 8 per second" in err
    assert "kinema generate --from a-red-ball-rolls.mp4" in err
    assert media.probe("a-red-ball-rolls.mp4").frames == 5


def test_a_name_with_brackets_and_spaces_is_shown_as_it_is(make: Any) -> None:
    _, _, err = make(*FAST, "--out", "[red] ball.mp4")
    assert "[red] ball.mp4  32x32" in err
    assert "kinema generate --from '[red] ball.mp4'" in err


def test_quiet_says_nothing_where_nothing_is_wrong(make: Any) -> None:
    assert make(*FAST, "--quiet") == (0, "", "")
    assert Path("a-red-ball-rolls.mp4").exists()


def test_a_picture_of_other_proportions_comes_in_as_asked(make: Any) -> None:
    media.write_video("wide.png", [np.full((32, 64, 3), 90, np.uint8)], 1)
    command = (*FAST, "--image", "wide.png", "--out", "video.gif", "--fit", "crop")
    assert make(*command)[0] == 0
    assert Record.from_metadata(media.read_metadata("video.gif"), "video.gif").spec.fit == "crop"


def test_a_second_video_of_a_prompt_takes_another_name(make: Any) -> None:
    make(*FAST)
    first = Path("a-red-ball-rolls.mp4").read_bytes()
    assert make(*FAST, "--seed", "1")[0] == 0
    assert Path("a-red-ball-rolls.mp4").read_bytes() == first
    assert Path("a-red-ball-rolls-2.mp4").read_bytes() != first


@pytest.mark.parametrize("ending", ["mp4", "webm", "gif", "webp", "png"])
def test_the_same_command_makes_the_same_bytes_and_from_makes_them_again(make: Any, ending: str) -> None:
    """Without a signature, the file to the byte."""
    fast = (*FAST, "--frames", "1") if ending == "png" else FAST
    assert make(*fast, "--seed", "3", "--no-marks", "--out", f"one.{ending}")[0] == 0
    assert make(*fast, "--seed", "3", "--no-marks", "--out", f"two.{ending}")[0] == 0
    again = ("--from", f"one.{ending}", "--out", f"again.{ending}", "--device", "cpu", "--no-marks")
    code, _, err = make(*again, prompt=None)
    assert code == 0
    assert "may differ" not in err
    one = Path(f"one.{ending}").read_bytes()
    assert Path(f"two.{ending}").read_bytes() == one
    assert Path(f"again.{ending}").read_bytes() == one


@pytest.mark.parametrize("ending", ["mp4", "webm", "gif", "webp"])
def test_marked_files_are_the_same_but_for_their_signatures(
    make: Any, ending: str, unsigned: Callable[[str], bytes]
) -> None:
    assert make(*FAST, "--seed", "3", "--out", f"one.{ending}")[0] == 0
    code, _, err = make("--from", f"one.{ending}", "--out", f"again.{ending}", "--device", "cpu", prompt=None)
    assert code == 0
    assert "may differ" not in err
    assert unsigned(f"again.{ending}") == unsigned(f"one.{ending}")
    assert Path(f"again.{ending}").stat().st_size == Path(f"one.{ending}").stat().st_size
    is_signed = Path(f"again.{ending}").read_bytes() != Path(f"one.{ending}").read_bytes()
    assert is_signed == (ending != "webm")


@pytest.mark.usefixtures("no_work")
def test_a_file_made_again_has_the_format_that_it_had(make: Any, tiny_model: Path) -> None:
    spec = kinema.VideoSpec(prompt=PROMPT, model=str(tiny_model), frames=5, width=32, height=32)
    clip, picture = (np.zeros((count, 32, 32, 3), np.uint8) for count in (5, 1))
    for name, frames in (("one.gif", clip), ("one.webm", clip), ("one.png", picture)):
        spec = dataclasses.replace(spec, frames=len(frames))
        record = Record.of(spec, folder=None, device="cpu", dtype="float32")
        media.write_video(name, frames, 8, record.to_metadata())

    def outputs(*words: str) -> Any:
        return json.loads(make(*words, "--dry-run", "--json", prompt=None)[1])["outputs"]

    assert outputs("--from", "one.gif") == ["a-red-ball-rolls.gif"]
    assert outputs("--from", "one.webm", "--count", "2") == ["a-red-ball-rolls.webm", "a-red-ball-rolls-2.webm"]
    assert outputs("--from", "one.png") == ["a-red-ball-rolls.png"]
    assert outputs("--from", "one.gif", "--frames", "1") == ["a-red-ball-rolls.png"]
    assert outputs("--from", "one.png", "--frames", "5") == ["a-red-ball-rolls.mp4"]
    assert outputs("--from", "one.gif", "--out", "x.webp") == ["x.webp"]


def test_from_says_that_a_file_without_marks_will_get_them(make: Any) -> None:
    make(*FAST, "--no-marks", "--out", "one.mp4")
    _, _, err = make("--from", "one.mp4", "--dry-run", prompt=None)
    assert "made without marks; add --no-marks" in err


def test_a_label_stays_when_a_file_is_made_again(make: Any, unsigned: Callable[[str], bytes]) -> None:
    assert make(*FAST, "--size", "64x64", "--label", "cn", "--out", "one.mp4")[0] == 0
    assert make("--from", "one.mp4", "--out", "again.mp4", "--device", "cpu", prompt=None)[0] == 0
    assert unsigned("again.mp4") == unsigned("one.mp4")
    assert make(*FAST, "--size", "64x64", "--out", "plain.mp4")[0] == 0
    assert unsigned("plain.mp4") != unsigned("one.mp4")


def test_what_cannot_be_signed_is_said_in_one_line(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, err = make(*FAST, "--out", "one.webm")
    assert "one.webm will not be signed: its format has no place for it; .mp4 has\n" in err
    monkeypatch.setattr("kinema.provenance.c2pa.is_available", lambda: False)
    _, _, err = make(*FAST, "--out", "one.mp4")
    assert f"one.mp4 will not be signed: c2pa is not installed; {how_to_install('provenance')}\n" in err
    assert media.probe("one.mp4").frames == 5
    assert "will not be signed" not in make(*FAST, "--out", "two.mp4", "--no-marks")[2]


def test_one_frame_is_a_picture(make: Any) -> None:
    assert make(*FAST, "--frames", "1")[0] == 0
    assert media.read_image("a-red-ball-rolls.png").shape == (32, 32, 3)
    assert "Record" not in media.read_metadata("a-red-ball-rolls.png")
    assert Record.from_metadata(media.read_metadata("a-red-ball-rolls.png"), "x").spec.frames == 1


def test_flags_beside_from_change_what_they_name(make: Any) -> None:
    make(*FAST, "--out", "one.mp4")
    assert make("--from", "one.mp4", "--seed", "5", "--seconds", "1", "--out", "two.mp4", prompt=None)[0] == 0
    before, after = (Record.from_metadata(media.read_metadata(name), name).spec for name in ("one.mp4", "two.mp4"))
    assert (before.seed, after.seed) == (0, 5)
    assert (before.frames, after.frames) == (5, 9)
    assert (before.prompt, before.steps, before.width) == (after.prompt, after.steps, after.width)


def test_from_warns_when_the_version_or_the_weights_are_others(make: Any) -> None:
    make(*FAST, "--out", "one.mp4")
    clip = media.read_video("one.mp4")
    metadata = media.read_metadata("one.mp4")
    record = json.loads(metadata[METADATA_KEY])
    record.update(version="0.0.1", weights="0123456789abcdef")
    media.write_video("old.mp4", [clip.frames], clip.fps, {**metadata, METADATA_KEY: json.dumps(record)})
    _, _, err = make("--from", "old.mp4", "--dry-run", prompt=None)
    assert "version of Kinema was '0.0.1'" in err
    assert "fingerprint of the weights was '0123456789abcdef'" in err


def test_from_needs_a_file_that_says_how_it_was_made(make: Any) -> None:
    media.write_video("foreign.mp4", [np.zeros((5, 32, 32, 3), np.uint8)], 8)
    code, _, err = make("--from", "foreign.mp4", prompt=None)
    assert code == 4
    assert "foreign.mp4 does not say how it was made" in err


def test_count_makes_one_file_for_each_seed(make: Any, unsigned: Callable[[str], bytes]) -> None:
    assert make(*FAST, "--seed", "4", "--count", "2", "--out", "take.mp4")[0] == 0
    assert make(*FAST, "--seed", "5", "--out", "alone.mp4")[0] == 0
    assert unsigned("take-2.mp4") == unsigned("alone.mp4")
    assert unsigned("take-1.mp4") != unsigned("take-2.mp4")
    assert not Path("take.mp4").exists()


def test_json_prints_one_object_and_nothing_else(make: Any) -> None:
    code, out, _ = make(*FAST, "--json", "--count", "2", "--out", "take.gif")
    assert code == 0
    videos = json.loads(out)["videos"]
    assert [(video["path"], video["spec"]["seed"]) for video in videos] == [("take-1.gif", 0), ("take-2.gif", 1)]
    assert videos[0]["bytes"] == Path("take-1.gif").stat().st_size


@pytest.mark.usefixtures("no_work")
def test_a_dry_run_shows_the_request_and_its_cost_and_makes_nothing(make: Any, tmp_path: Path) -> None:
    code, out, _ = make(*FAST, "--dry-run", "--json")
    assert code == 0
    plan = json.loads(out)
    assert plan["spec"]["steps"] == 2
    assert plan["outputs"] == ["a-red-ball-rolls.mp4"]
    assert plan["estimate"]["flops"] > 1e6
    assert plan["estimate"]["memory_bytes"] > plan["estimate"]["weight_bytes"] > 1000
    shown = make(*FAST, "--dry-run")[1]
    assert "cost" in shown
    assert "[]" not in shown
    assert len(make(*FAST, "--dry-run", prompt="a ball\n\x1b[31mrolls")[1].splitlines()) == len(shown.splitlines())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_work")
def test_a_dry_run_says_how_it_keeps_to_the_memory_there_is(make: Any) -> None:
    needs = json.loads(make(*FAST, "--dry-run", "--json")[1])["memory"]
    assert needs["limit"] is None
    code, out, _ = make(*FAST, "--memory", "100GB", "--dry-run", "--json")
    plan = json.loads(out)
    assert (code, plan["memory"]["limit"], plan["memory"]["means"]["in_turn"]) == (0, 10**11, "none")
    assert set(plan["memory"]["stages"]) == {"text", "denoise", "decode"}
    assert "decode " in make(*FAST, "--memory", "100GB", "--dry-run")[1]
    code, _, err = make(*FAST, "--memory", "100MB", "--dry-run")
    assert code != 0
    assert "memory=100MB is too little for 5 frames of 32x32" in err
    assert make(*FAST, "--memory", "much")[0] == 2


def test_a_dry_run_of_a_size_that_fits_no_machine_says_what_it_would_take(make: Any) -> None:
    code, out, _ = make(*FAST, "--size", "64000x64000", "--dry-run", "--json")
    assert code == 0
    assert json.loads(out)["estimate"]["memory_bytes"] > 1e11


def test_the_cost_grows_with_steps_guidance_and_size(make: Any) -> None:
    def flops(*words: str) -> int:
        cost: int = json.loads(make(*FAST, *words, "--dry-run", "--json")[1])["estimate"]["flops"]
        return cost

    plain = flops("--guidance", "4")
    assert plain < flops("--guidance", "4", "--steps", "4")
    assert plain > flops("--guidance", "1")
    assert plain < flops("--guidance", "4", "--size", "64x32")
    assert plain < flops("--guidance", "4", "--solver", "heun")


BAD: list[tuple[tuple[str, ...], int, str]] = [
    (("--frames", "6"), 2, "frames=6 does not fit.*use 5 or 9"),
    (("--frames", "5", "--seconds", "1"), 2, "give one of them"),
    (("--seconds", "0.7"), 2, "seconds=0.7 does not fit"),
    (("--size", "30x32"), 2, "width=30 does not fit.*use .* or 32"),
    (("--size", "big"), 2, "WIDTHxHEIGHT, such as"),
    (("--fps", "0"), 2, "fps=0 does not fit"),
    (("--fps", "0.0001"), 2, "fps=0.0001 does not fit.*from 0.01"),
    (("--seconds", "1e308", "--fps", "1000"), 2, "seconds=1e.308 does not fit"),
    (("--frames", "1000001"), 2, "frames=1000001.*to 1000000"),
    (("--size", "1000000x64"), 2, "width=1000000.*to 65536"),
    (("--negative", "a\0b"), 2, "negative.*no text in UTF-8"),
    (("--steps", "0"), 2, "steps=0"),
    (("--steps", "many"), 2, "--steps is 'many'; it takes a whole number"),
    (("--seed", "-1"), 2, "seed=-1"),
    (("--count", "0"), 2, "count=0"),
    (("--count", "1000000000"), 2, "count=1000000000.*from 1 to 10000"),
    (("--seed", str(2**63 - 1), "--count", "2"), 2, "seed=9223372036854775808"),
    (("--solver", "unipcc"), 2, "did you mean 'unipc'"),
    (("--label", "eur"), 2, "unknown label 'eur'.*did you mean 'eu'"),
    (("--label", "cn"), 2, "32x32 is too small for the label 'cn'.*use .* or more"),
    (("--dtype", "bfloat"), 2, "did you mean 'bfloat16'"),
    (("--device", "gpu"), 2, "cuda"),
    (("--image", "missing.png"), 4, "missing.png does not exist"),
    (("--image", "notes.txt"), 4, "notes.txt"),
    (("--image", "."), 4, r"\. is a folder; give the name of a file$"),
    (("--image", "pipe.png"), 4, "pipe.png is a pipe, a socket or a device"),
    (("--out", "link.mp4"), 4, "link.mp4 is a link to nowhere.mp4, which does not exist"),
    (("--from", "."), 4, r"\. is a folder; give the name of a file$"),
    (("--out", "."), 4, r"\. is a folder; give the name of a file$"),
    (("--negative", "red " * 60), 2, "the negative prompt has [0-9]+ tokens"),
    (("--image", "wide.png"), 2, "other proportions.*use size"),
    (("--image", "wide.png", "--fit", "zoom"), 2, "fit='zoom' does not fit; use crop, pad or stretch"),
    (("--image", "square.png", "--frames", "1"), 2, "nothing to generate"),
    (("--out", "x.avi"), 4, "no format for the ending '.avi'.*mp4"),
    (("--out", "x"), 4, "no format for the ending ''"),
    (("--out", "x.png"), 2, "one frame, not"),
    (("--out", "nowhere/x.mp4"), 4, "folder nowhere does not exist"),
    (("--out", "there.mp4"), 4, "there.mp4 exists.*--force"),
    (("--out", "folder.mp4"), 4, "is a folder"),
    (("--fps", "60", "--out", "x.gif"), 2, "gif"),
    (("--from", "missing.mp4"), 4, "missing.mp4 does not exist"),
]


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("words", "code", "message"), BAD, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_bad_input_is_refused_in_one_line_before_any_work(
    make: Any, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "there.mp4").write_text("mine")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "link.mp4").symlink_to("nowhere.mp4")
    os.mkfifo(tmp_path / "pipe.png")
    media.write_video("wide.png", [np.zeros((32, 64, 3), np.uint8)], 1)
    media.write_video("square.png", [np.zeros((32, 32, 3), np.uint8)], 1)
    _refused(make(*words), code, message)
    assert (tmp_path / "there.mp4").read_text() == "mine"


def _refused(outcome: tuple[int, str, str], code: int, message: str) -> None:
    import re

    assert outcome[0] == code
    assert outcome[1] == ""
    lines = outcome[2].strip().splitlines()
    assert len(lines) == 1
    assert re.search(message, lines[0]), lines[0]


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("prompt", ["", "  \n", None])
def test_an_empty_prompt_is_refused(make: Any, prompt: str | None) -> None:
    _refused(make(prompt=prompt), 2, "prompt is empty")


@pytest.mark.usefixtures("no_work")
def test_a_prompt_over_the_limit_is_refused_with_its_count(make: Any) -> None:
    _refused(make(prompt="ball " * 2000), 2, r"\d{4}.*tokens")


@pytest.mark.usefixtures("no_work")
def test_words_that_the_model_has_never_seen_are_named_in_a_warning(
    make: Any, tiny_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model, tmp_path / "taught")
    Vocabulary.from_captions(["a red ball rolls"], {"shapes": ("ball",)}).save(tmp_path / "taught")
    code, _, err = make("--dry-run", prompt="a red dragon rolls", model="taught")
    assert code == 0
    assert err == "kinema: warning: the model has never seen 'dragon' - it knows shapes: ball\n"
    assert make("--dry-run", model="taught")[2] == ""


@pytest.mark.usefixtures("no_work")
def test_an_unknown_model_is_answered_with_the_nearest(make: Any) -> None:
    _refused(make(model="minni"), 2, "did you mean 'mini'")


def test_a_broken_model_folder_is_named(make: Any, tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "broken")
    weights = next((tmp_path / "broken" / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    code, out, err = make(*FAST, model="broken")
    assert (code, out) == (3, "")
    assert weights.name in err
    assert list(tmp_path.glob("*.mp4*")) == []


def test_force_replaces_the_output(make: Any, tmp_path: Path) -> None:
    (tmp_path / "there.mp4").write_text("mine")
    assert make(*FAST, "--out", "there.mp4", "--force")[0] == 0
    assert media.probe("there.mp4").frames == 5


@pytest.mark.parametrize(
    ("failure", "code"), [(KeyboardInterrupt(), 130), (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.mp4"), 4)]
)
def test_an_interrupted_generation_leaves_nothing_behind(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, code: int
) -> None:
    whole = Pipeline.stream

    def stream(*arguments: Any, **options: Any) -> Any:
        yield next(iter(whole(*arguments, **options)))
        raise failure

    monkeypatch.setattr(Pipeline, "stream", stream)
    outcome = make(*FAST, "--out", "x.mp4")
    assert outcome[0] == code
    assert len(outcome[2].strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
