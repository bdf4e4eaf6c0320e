import io
import logging

import pytest
from rich.console import Console

from kinema.cli.progress import RunProgress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that only the test moves."""
    now = [1000.0]
    monkeypatch.setattr("kinema.cli.progress.time.monotonic", lambda: now[0])
    return now


def log_of(moves, clock):
    """What a log holds after reports `(seconds, stage, done, total, numbers)`."""
    file = io.StringIO()
    with RunProgress(Console(file=file, width=80)) as watch:
        for seconds, *report in moves:
            clock[0] += seconds
            watch(*report)
    return file.getvalue().splitlines()


def test_a_log_has_a_line_a_minute_and_one_for_each_stage_that_is_over(clock):
    moves = [
        (0, "latents", 0, 10),
        (5, "latents", 10, 10),
        (0, "flow", 100, 1000),
        (30, "flow", 200, 1000, {"loss": 0.5}),
        (30, "flow", 300, 1000, {"loss": 0.25, "gradient_norm": 3.0}),
        (30, "flow", 1000, 1000, {"validation_loss": 0.125}),
    ]
    assert log_of(moves, clock) == [
        "latents: 0 of 10",
        "latents: 10 of 10, took 5 s",
        "flow: 100 of 1000",
        "flow: 300 of 1000, 4 min to go, loss 0.25",
        "flow: 1000 of 1000, took 90 s, loss 0.25  validation loss 0.125",
    ]


def test_a_stage_that_was_stopped_has_no_last_line(clock):
    file = io.StringIO()
    watch = RunProgress(Console(file=file))
    watch.__enter__()
    watch("flow", 0, 10)
    watch.__exit__(KeyboardInterrupt)
    assert file.getvalue() == "flow: 0 of 10\n"


def test_the_parts_of_a_stage_are_counted_as_they_are_used(clock):
    file = io.StringIO()
    with RunProgress(Console(file=file, width=80)) as watch:
        for part in watch.over("videos", "abcd", 4):
            clock[0] += 30
            file.write(f"{part}\n")
    assert file.getvalue().splitlines() == [
        "videos: 0 of 4",
        "a",
        "b",
        "videos: 2 of 4, 60 s to go",
        "c",
        "d",
        "videos: 4 of 4",
        "videos: 4 of 4, took 2 min",
    ]


def test_quiet_is_quiet(clock, monkeypatch):
    monkeypatch.setattr("kinema.cli.progress.logger.isEnabledFor", lambda level: level > logging.WARNING)
    assert log_of([(0, "flow", 0, 10), (99, "flow", 10, 10)], clock) == []


@pytest.mark.parametrize(("seconds", "said"), [(61, "61 s"), (1800, "30 min"), (11160, "3 h 06 min")])
def test_a_wait_is_said_in_few_words(clock, seconds, said):
    lines = log_of([(0, "flow", 0, 100), (seconds, "flow", 50, 100)], clock)
    assert lines[1:] == [f"flow: 50 of 100, {said} to go", f"flow: 50 of 100, took {said}"]


def test_a_terminal_shows_a_bar(clock):
    file = io.StringIO()
    with RunProgress(Console(file=file, force_terminal=True, width=80)) as watch:
        watch("flow", 25, 100, {"loss": 0.5})
        watch._bars.refresh()
    assert "25/100" in file.getvalue()
    assert "loss 0.5" in file.getvalue()
