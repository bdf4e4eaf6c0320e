from pathlib import Path
from types import SimpleNamespace

import pytest

from kinema.cli.main import main
from kinema.evaluate import suite
from kinema.generate.pipeline import Pipeline


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes generating an error, for what must be refused before."""

    def refuse(*_: object) -> None:
        raise AssertionError("work was begun")

    defaults = SimpleNamespace(frames=5, fps=8.0)
    monkeypatch.setattr(Pipeline, "load", lambda _: SimpleNamespace(model=SimpleNamespace(defaults=defaults)))
    monkeypatch.setattr(suite, "time_one_video", refuse)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--prompts", "0"], 2, "prompts=0 measures nothing; use 1 or more"),
        (["--seeds", "-1"], 2, "seeds=-1 measures nothing; use 1 or more"),
        (["--long", "0"], 2, "long=0 does not fit; give the seconds of a long video, such as 60"),
        (["--given", "-1"], 2, "given=-1 does not fit; use 0 to leave that out, or more"),
        (["--out", "file"], 4, "file: File exists"),
        (["--out", "file/in"], 4, "file/in: Not a directory"),
    ],
)
def test_what_cannot_be_measured_or_written_is_refused_before_any_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    assert main(["evaluate", "mini", *words]) == code
    assert capsys.readouterr().err == f"kinema: {message}\n"
