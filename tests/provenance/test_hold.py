import signal
import threading

import pytest

from kinema.provenance.hold import hold_signals


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def number(request):
    """A signal whose handler raises, as those of the command line do."""

    def stop(*_):
        raise KeyboardInterrupt

    before = signal.signal(request.param, stop)
    yield request.param
    signal.signal(request.param, before)


def test_a_signal_waits_for_the_end_of_the_block(number):
    before, done = signal.getsignal(number), []

    def work():
        with hold_signals():
            signal.raise_signal(number)
            signal.raise_signal(number)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all of it"]
    assert signal.getsignal(number) is before


def test_a_signal_is_heard_though_the_block_fails(number):
    def fail():
        with hold_signals():
            signal.raise_signal(number)
            raise ValueError("of the block")

    with pytest.raises(KeyboardInterrupt) as stop:
        fail()
    assert isinstance(stop.value.__context__, ValueError)


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with hold_signals():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_hold_nothing():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with hold_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
