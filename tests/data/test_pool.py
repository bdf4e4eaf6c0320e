import os
import time

import pytest

from kinema.data.pool import Limits, check_failures, run_all, run_threads
from kinema.errors import DataError, MediaError


def work(item: str) -> str:
    if item == "bad":
        raise MediaError("bad is no video")
    if item == "crash":
        os._exit(9)
    if item == "stall":
        time.sleep(60)
    if item == "disk":
        raise OSError(28, "No space left on device")
    if item == "bug":
        raise ZeroDivisionError("by zero")
    if item == "large":
        return str(len(bytearray(3 * 2**30)))
    return item.upper()


ENDS = {
    "a": ("done", None, 1),
    "bad": ("refused", "bad is no video", 1),
    "disk": ("failed", "[Errno 28] No space left on device", 3),
    "bug": ("set apart", "ZeroDivisionError: by zero", 3),
}


@pytest.mark.parametrize("workers", [0, 1])
def test_every_item_ends_with_a_true_reason(workers: int) -> None:
    found = dict(run_all(work, ENDS, Limits(workers=workers)))
    assert {item: (end.status, end.reason, end.attempts) for item, end in found.items()} == ENDS


def test_a_crash_a_stall_and_a_glutton_cost_only_themselves() -> None:
    limits = Limits(workers=1, seconds=1.0, memory_gb=2.0)
    found = dict(run_all(work, ["crash", "a", "large", "stall"], limits))
    assert {item: (end.status, end.attempts) for item, end in found.items()} == {
        "crash": ("set apart", 3), "a": ("done", 1), "large": ("set apart", 3), "stall": ("set apart", 3)
    }  # fmt: skip
    assert found["crash"].reason == "its process died (9)"
    assert found["stall"].reason == "it took more than 1 s"
    assert "memory" in str(found["large"].reason)


def test_threads_give_the_same_ends() -> None:
    found = dict(run_threads(work, ["a", "bad"], 2))
    assert (found["a"].value, found["bad"].status) == ("A", "refused")


def test_the_share_of_failures_is_limited() -> None:
    check_failures(9, 1, 0.1)
    check_failures(0, 0, 0.0)
    with pytest.raises(DataError, match="2 of 10 items failed"):
        check_failures(8, 2, 0.1)
