import json

import pytest

from kinema.cli.main import main
from kinema.media import probe, read_image

SMALL = ["--frames", "5", "--fps", "8", "--size", "24x16", "--samples", "1"]


def test_render_writes_a_folder_and_goes_on_with_it(tmp_path, capsys):
    out = tmp_path / "clips"
    assert main(["world", "render", str(out), "--count", "2", *SMALL]) == 0
    assert "2 clips, 2 new" in capsys.readouterr().out
    assert main(["world", "render", str(out), "--count", "3", *SMALL]) == 0
    assert "3 clips, 1 new, 2 were there" in capsys.readouterr().out
    lines = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    assert all((out / line["file_name"]).exists() for line in lines)


def test_show_draws_a_sheet_and_prints_the_captions(tmp_path, capsys):
    out = tmp_path / "sheet.png"
    assert main(["world", "show", "--out", str(out), "--count", "3", "--columns", "2", *SMALL]) == 0
    assert read_image(out).shape == (3 * 16 + 2 * 2, 2 * 24 + 2, 3)
    printed = capsys.readouterr().out
    assert printed.count("seed ") == 3
    assert len(printed.splitlines()) == 3 * 4 + 1


def test_show_plays_clips_side_by_side(tmp_path):
    out = tmp_path / "sheet.gif"
    assert main(["world", "show", "--out", str(out), "--count", "2", *SMALL]) == 0
    info = probe(out)
    assert (info.width, info.height, info.frames) == (2 * 24 + 2, 16, 5)


def test_world_alone_says_what_there_is(capsys):
    assert main(["world"]) == 0
    assert "render" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rendr"], "did you mean 'render'?"),
        (["show", "--split", "heldout"], "did you mean 'held_out'?"),
        (["show", "--size", "64"], "it takes WIDTHxHEIGHT"),
        (["show", "--frames", "3"], "use 9 or more"),
        (["show", "--count", "0"], "use 1 or more"),
        (["show", "--columns", "0"], "a row holds 1 or more"),
        (["show", "--count", "two"], "a whole number"),
        (["render", "clips", "--format", "avi"], "use .mp4"),
        (["render", "clips", "--size", "65x64"], "use 66x64"),
    ],
)
def test_mistakes_get_one_line_that_helps(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["world", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not any(tmp_path.iterdir())


def test_an_existing_sheet_is_kept_unless_forced(tmp_path, capsys):
    out = tmp_path / "sheet.png"
    out.write_bytes(b"mine")
    assert main(["world", "show", "--out", str(out), "--count", "1", *SMALL]) == 4
    assert "--force" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"
    assert main(["world", "show", "--out", str(out), "--count", "1", "--force", *SMALL]) == 0
    assert out.read_bytes() != b"mine"
