import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from kinema.data.pool import Limits, check_failures, run_all, run_threads
from kinema.errors import DataError, SpecError

# The items are expressions and the work is `eval`, which every child process finds without importing this file.
BAD = "(_ for _ in ()).throw(__import__('kinema.errors', fromlist=['x']).MediaError('bad is no video'))"
DISK = "(_ for _ in ()).throw(OSError(28, 'No space left on device'))"
CRASH = "__import__('os')._exit(9)"
STALL = "__import__('time').sleep(600)"
LARGE = "len(bytearray(3 * 2**30))"

ENDS = {
    "'a'.upper()": ("done", "A", None, 1),
    BAD: ("refused", None, "bad is no video", 1),
    DISK: ("failed", None, "[Errno 28] No space left on device", 3),
    "1 / 0": ("set apart", None, "ZeroDivisionError: division by zero", 3),
}


@pytest.mark.parametrize("workers", [0, 1])
def test_every_item_ends_with_a_true_reason(workers: int) -> None:
    found = dict(run_all(eval, ENDS, Limits(workers=workers)))
    assert {item: (end.status, end.value, end.reason, end.attempts) for item, end in found.items()} == ENDS


PARTS = "iter([1, 2])"
HALF = f"(each if each < 3 else {BAD} for each in (1, 2, 3))"
DYING = f"(each if each < 3 else {CRASH} for each in (1, 2, 3))"


@pytest.mark.parametrize("workers", [0, 1])
def test_parts_come_one_by_one_before_the_end_that_says_what_they_are_worth(workers: int) -> None:
    found = list(run_all(eval, [PARTS, HALF, "4"], Limits(workers=workers)))
    assert [(item, end.status, end.value) for item, end in found] == [
        (PARTS, "part", 1), (PARTS, "part", 2), (PARTS, "done", None),
        (HALF, "part", 1), (HALF, "part", 2), (HALF, "refused", None), ("4", "done", 4),
    ]  # fmt: skip


def test_each_attempt_gives_its_parts_anew() -> None:
    found = list(run_all(eval, [DYING], Limits(workers=1)))
    assert [(end.status, end.value, end.attempts) for _, end in found] == [
        *(("part", value, attempt) for attempt in (1, 2, 3) for value in (1, 2)), ("set apart", None, 3)
    ]  # fmt: skip


def test_a_crash_a_stall_and_a_glutton_cost_only_themselves() -> None:
    limits = Limits(workers=1, seconds=1.0, memory_gb=2.0)
    found = dict(run_all(eval, [CRASH, "1 + 1", LARGE, STALL], limits))
    assert {item: (end.status, end.attempts) for item, end in found.items()} == {
        CRASH: ("set apart", 3), "1 + 1": ("done", 1), LARGE: ("set apart", 3), STALL: ("set apart", 3)
    }  # fmt: skip
    assert found[CRASH].reason == "its process died (9)"
    assert found[STALL].reason == "it took more than 1 s"
    assert "memory" in str(found[LARGE].reason)


def test_threads_give_the_same_ends() -> None:
    found = dict(run_threads(eval, ["'a'.upper()", BAD], 2))
    assert (found["'a'.upper()"].value, found[BAD].status) == ("A", "refused")


def test_the_share_of_failures_is_limited() -> None:
    check_failures(9, 1, 0.1)
    check_failures(0, 0, 0.0)
    with pytest.raises(DataError, match=r"2 of 10 items failed.* allows, such as: the disk is full; "):
        check_failures(8, 2, 0.1, "the disk is full")


def test_children_end_with_the_process_that_started_them_in_the_middle_of_an_item(tmp_path: Path) -> None:
    code = (
        "import sys; from kinema.data.pool import Limits, run_all\n"
        "if __name__ == '__main__': list(run_all(eval, [sys.argv[1]], Limits(workers=1)))"
    )
    (tmp_path / "run.py").write_text(code)
    note = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(__import__('os').getpid()))"
    run = subprocess.Popen([sys.executable, tmp_path / "run.py", f"[{note}, __import__('time').sleep(600)]"])
    pid = Path(tmp_path / "pid")
    while not pid.exists() or not pid.read_text():
        assert run.poll() is None
        time.sleep(0.02)
    run.kill()
    run.wait()
    while Path(f"/proc/{pid.read_text()}").exists():  # the test would hang, as its child did
        time.sleep(0.02)


def test_an_item_is_not_blamed_when_no_process_can_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    here_alone = types.ModuleType("here_alone")  # children cannot import it, as little as a library without room

    def work(item: str) -> str:
        return item

    work.__module__, work.__qualname__ = "here_alone", "work"
    here_alone.work = work  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "here_alone", here_alone)
    ((_, ended),) = run_all(work, ["x"], Limits(workers=1, memory_gb=4.0))
    assert (ended.status, ended.attempts) == ("failed", 3)
    assert ended.reason == "no process can begin (1); is limits.memory_gb=4 too little?"


@pytest.mark.parametrize(
    "wrong", [{"workers": -1}, {"seconds": 0.0}, {"memory_gb": -1.0}, {"per_second": float("nan")}, {"min_free_gb": -1}]
)
def test_limits_under_which_nothing_could_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=f"limits.{next(iter(wrong))}=.*; it is"):
        Limits(**wrong)  # type: ignore[arg-type]  # of whichever field


def test_a_missing_file_is_named_also_where_the_error_has_no_name_for_it() -> None:
    missing = "(_ for _ in ()).throw(FileNotFoundError('https://host/a.mp4'))"
    ((_, ended),) = run_all(eval, [missing], Limits(workers=0))
    assert ended.reason == "https://host/a.mp4 does not exist"
