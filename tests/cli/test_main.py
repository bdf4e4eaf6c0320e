import errno
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import kinema
from kinema import errors
from kinema.cli import main as cli
from kinema.errors import how_to_install


def fake(monkeypatch: pytest.MonkeyPatch, outcome: BaseException | int) -> list[list[str]]:
    """Replace the command `generate`; returns the arguments of each call."""
    calls: list[list[str]] = []

    def run(argv: Sequence[str]) -> int:
        calls.append(list(argv))
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(cli, "_find", lambda name: run if name == "generate" else None)
    return calls


def python(*words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    assert cli.main(argv) == 0
    text = capsys.readouterr().out
    for name, (_, summary) in cli.COMMANDS.items():
        assert f"  {name}" in text
        assert summary in text


def test_help_and_version_need_no_torch_and_no_parser() -> None:
    code = (
        "import sys; from kinema.cli.main import main; main(['--help']); main(['--version']); "
        "print(sorted({'torch', 'numpy', 'av', 'tyro', 'rich', 'transformers'} & set(sys.modules)))"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "[]"


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"kinema {kinema.__version__}\n"


def test_a_mistyped_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["genrate", "x"]) == 2
    assert capsys.readouterr().err.startswith("kinema: unknown command 'genrate'; did you mean 'generate'? known: ")


def test_a_prompt_without_a_command_is_told_where_to_go(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["a red ball"]) == 2
    assert "kinema generate 'a red ball'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (errors.SpecError("frames=18; use 17"), 2, "frames=18; use 17"),
        (errors.CheckpointError("a.safetensors: NaN"), 3, "a.safetensors: NaN"),
        (errors.MediaError("x.mp4 exists"), 4, "x.mp4 exists"),
        (errors.DataError("empty"), 5, "empty"),
        (errors.JobNotFound("job 7"), 6, "job 7"),
        (errors.DeviceMemoryError("too large"), 7, "too large"),
        (errors.DirectorError("no answer"), 8, "no answer"),
        (errors.KinemaError("other"), 1, "other"),
        (
            errors.SpecError("a/b could not be fetched (no network\n  Try again.)"),
            2,
            "a/b could not be fetched (no network Try again.)",
        ),
        (MemoryError(), 7, "out of memory; ask for fewer frames or a smaller size"),
        (KeyboardInterrupt(), 130, "stopped; no unfinished file is left under its final name"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a.mp4"),
            4,
            "a.mp4: the disk is full; nothing was left under the final name",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "a.mp4"), 4, "a.mp4: Permission denied"),
        (
            ModuleNotFoundError("no mujoco", name="mujoco.viewer"),
            1,
            f"this command needs mujoco, which is not installed; {how_to_install('world')}",
        ),
    ],
)
def test_each_failure_is_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    fake(monkeypatch, error)
    assert cli.main(["generate", "x"]) == code
    assert capsys.readouterr() == ("", f"kinema: {line}\n")


def test_every_error_class_has_an_exit_code() -> None:
    listed = [kind for kind, _ in cli.EXIT_CODES]
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.KinemaError) and error is not errors.KinemaError:
            first = next(kind for kind in listed if issubclass(error, kind))
            assert first is not errors.KinemaError, f"{error.__name__} falls through to the last row"


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    calls = fake(monkeypatch, errors.SpecError("bad"))
    assert cli.main(["generate", "x", "--debug"]) == 2
    text = capsys.readouterr().err
    assert text.startswith("Traceback")
    assert text.endswith("kinema: bad\n")
    assert calls == [["x"]]


def test_a_bug_and_a_missing_module_of_our_own_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for bug in (ZeroDivisionError("bug"), ModuleNotFoundError("no numpy", name="numpy")):
        fake(monkeypatch, bug)
        with pytest.raises(type(bug)):
            cli.main(["generate"])


def test_switches_are_taken_out_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake(monkeypatch, 0)
    assert cli.main(["-v", "generate", "--quiet", "a ball", "--steps", "3", "--", "--debug"]) == 0
    assert calls == [["a ball", "--steps", "3", "--", "--debug"]]


def test_the_exit_code_of_the_command_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, 9)
    assert cli.main(["generate"]) == 9


def test_a_closed_pipe_ends_quietly() -> None:
    command = f"'{sys.executable}' -m kinema.cli.main --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_mistake_never_shows_a_traceback() -> None:
    for words in (["generate", ""], ["generate", "a ball", "--steps", "0"], ["nothing"]):
        done = python("-m", "kinema.cli.main", *words)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith("kinema: ")
        assert done.stderr.count("\n") == 1


STOPPED = """
import os, signal, sys, time
import numpy as np
from kinema.cli import main as cli
from kinema.media import write_video

def frames():
    yield np.zeros((4, 32, 32, 3), np.uint8)
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    time.sleep(float(sys.argv[3]))
    yield np.zeros((4, 32, 32, 3), np.uint8)

def run(argv):
    write_video(argv[0], frames(), 8)
    return 0

cli._find = lambda name: run
sys.exit(cli.main(["generate", sys.argv[1]]))
"""


@pytest.mark.parametrize(
    ("name", "code", "line"), [("SIGINT", 130, "kinema: stopped"), ("SIGTERM", 143, ""), ("SIGHUP", 129, "")]
)
def test_stopping_half_way_leaves_no_file(tmp_path: Path, name: str, code: int, line: str) -> None:
    done = python("-c", STOPPED, f"{tmp_path}/clip.mp4", name, "30")
    assert done.returncode == code
    assert done.stderr.startswith(line)
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_under_nohup_a_closed_terminal_changes_nothing(tmp_path: Path) -> None:
    ignoring = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{STOPPED}"
    assert python("-c", ignoring, f"{tmp_path}/clip.mp4", "SIGHUP", "0").returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_whoever_calls_it_keeps_their_own_way_to_stop() -> None:
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    assert (cli.main(["--version"]), cli.main(["no-such-command"])) == (0, 2)
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.parametrize("name", ["", *cli.COMMANDS])
def test_the_help_is_the_one_that_was_agreed(golden: Any, name: str) -> None:
    environment = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    done = python("-m", "kinema.cli.main", *([name] if name else []), "--help", environment=environment)
    assert done.returncode == 0, done.stderr
    text = "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"
    golden.check(f"help/{name or 'kinema'}.txt", text)
