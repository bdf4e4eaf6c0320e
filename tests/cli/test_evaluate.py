import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from kinema.cli.main import main
from kinema.evaluate import adherence, drift, fidelity, given, report, suite, switch
from kinema.generate.pipeline import Pipeline


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes generating an error, for what must be refused before."""

    def refuse(*_: object) -> None:
        raise AssertionError("work was begun")

    defaults = SimpleNamespace(frames=5, fps=8.0, height=32, width=32)
    model = SimpleNamespace(defaults=defaults, reads_frames=True, causal=None)
    monkeypatch.setattr(Pipeline, "load", lambda _: SimpleNamespace(model=model, device=SimpleNamespace(type="cpu")))
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


def test_a_log_says_how_far_each_part_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def using(number: int) -> Callable[..., list[int]]:
        return lambda *parts, **_: list(parts[number])

    monkeypatch.setattr(suite, "time_one_video", lambda *_: 1.0)
    monkeypatch.setattr(suite, "answer_cases", lambda _, cases, num_seeds, workers: iter(cases * num_seeds))
    monkeypatch.setattr(suite, "true_clips", lambda _, seeds: iter(seeds))
    monkeypatch.setattr(fidelity, "measure_fidelity", using(1))
    monkeypatch.setattr(adherence, "observe_truth", using(0))
    monkeypatch.setattr(given, "measure_given", using(1))

    def measure_drift(
        _: object, cases: list[int], num_seeds: int, seconds: float, on_video: Callable[[], None]
    ) -> object:
        return [on_video() for _ in cases * num_seeds]

    def measure_switch(_: object, pairs: list[int], num_seeds: int, on_video: Callable[[], None]) -> object:
        return [on_video() for _ in pairs * num_seeds]

    monkeypatch.setattr(drift, "measure_drift", measure_drift)
    monkeypatch.setattr(switch, "make_switches", lambda number, _: [0] * number)
    monkeypatch.setattr(switch, "measure_switch", measure_switch)
    monkeypatch.setattr(drift, "require_stream", lambda _: None)

    def build(answers: list[int], *measured: object) -> dict[str, int]:
        lists = (answers, *(each for each in measured if isinstance(each, list)))
        return {"counted": sum(map(len, lists))}

    monkeypatch.setattr(report, "build_report", build)
    monkeypatch.setattr(report, "write_report", lambda _, answers, folder: folder / "index.html")
    words = ["--prompts", "2", "--seeds", "2", "--clips", "5", "--given", "4", "--long", "9", "--json"]
    assert main(["evaluate", "mini", *words, "--out", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert captured.out == '{"counted": 52}\n'
    assert re.sub(r"took .*", "took", captured.err).splitlines() == [
        "generating: 0 of 6", "generating: 6 of 6, took",
        "autoencoder: 0 of 5", "autoencoder: 5 of 5, took",
        "parser: 0 of 5", "parser: 5 of 5, took",
        "given frames: 0 of 4", "given frames: 4 of 4, took",
        "long videos: 0 of 16", "long videos: 16 of 16, took",
        "changed prompts: 0 of 16", "changed prompts: 16 of 16, took",
        f"Look at {tmp_path}/out/index.html",
    ]  # fmt: skip
