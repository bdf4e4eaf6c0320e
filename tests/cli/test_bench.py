import functools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kinema.cli.main import main
from kinema.evaluate import bench

FAST = ("--frames", "5", "--size", "32x32", "--steps", "1", "--rounds", "1", "--device", "cpu", "--dtype", "float32")


def test_one_side_alone_is_measured_beside_what_is_possible(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "peak_bytes", lambda *_: 1_000_000)
    monkeypatch.setattr(bench, "compare", functools.cache(bench.compare))  # measured once, shown in both ways
    assert main(["bench", str(tiny_model), "--alone", *FAST, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["sides"]) == ["Kinema"]
    assert list(found["sides"]["Kinema"]["stages_s"]) == ["text", "denoise", "decode"] == list(found["floors"])
    assert found["largest_error"] is None
    assert main(["bench", str(tiny_model), "--alone", *FAST]) == 0
    table = capsys.readouterr().out
    assert re.search(r"denoise.*s \((compute|memory)\).*%", table)
    assert "end to end" in table


def test_a_stream_is_measured(tiny_causal_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(tiny_causal_model), "--stream", "2", "--size", "32x32", "--steps", "1", "--device", "cpu"]
    assert main(["bench", *words]) == 0
    shown = capsys.readouterr().out
    for row in ("write keys and values", "first frame", "steady state", "peak memory"):
        assert row in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rounds", "0"), "rounds=0"),
        (("--preset", "longlive"), "give --stream N"),
        (("--stream", "2", "--frames", "5"), "--frames does nothing beside it"),
        (("--frames", "6", "--alone"), "frames=6 does not fit"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    tiny_causal_model: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert main(["bench", str(tiny_causal_model), *words, "--device", "cpu"]) == 2
    assert message in capsys.readouterr().err


def test_a_dry_run_measures_nothing(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "compare", None)
    assert main(["bench", str(tiny_model), "--dry-run", *FAST]) == 0
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (shown["frames"], shown["steps"]) == (5, 1)


@pytest.mark.slow
def test_the_benchmark_for_a_gpu_runs_at_toy_size() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "wan_gpu.py"
    words = [sys.executable, str(script), "--toy", "--steps", "1", "--blocks", "2"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for row in ("text", "denoise", "decode", "encode", "write keys and values", "first frame", "steady state"):
        assert f"| {row} |" in done.stdout
