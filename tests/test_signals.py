import signal
import threading
from collections.abc import Iterator

import pytest

from kinema import signals
from kinema.signals import HANGUP, ending_signals, handling


@pytest.fixture(autouse=True)
def _hangup_as_it_was() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_a_closed_terminal_ends_a_process_unless_it_is_to_outlive_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ending_signals() == (signal.SIGINT, signal.SIGTERM, HANGUP)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert ending_signals() == (signal.SIGINT, signal.SIGTERM)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    monkeypatch.setattr(signals, "HANGUP", None)  # as on Windows
    assert ending_signals() == (signal.SIGINT, signal.SIGTERM)


def test_a_handler_takes_signals_in_its_block_only() -> None:
    heard: list[int] = []
    with handling([signal.SIGHUP], lambda number, _: heard.append(number)):
        signal.raise_signal(signal.SIGHUP)
    assert heard == [signal.SIGHUP]
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_what_is_not_pythons_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    with handling([signal.SIGHUP], lambda *_: None):
        monkeypatch.undo()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_other_threads_change_nothing() -> None:
    seen = []

    def work() -> None:
        with handling([signal.SIGHUP], lambda *_: None):
            seen.append(signal.getsignal(signal.SIGHUP))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]
