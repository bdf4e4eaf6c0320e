import signal

import pytest
import uvicorn
from fastapi import FastAPI

from kinema.serve.server import Server

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whatever_asks_a_process_to_end_stops_the_server_and_is_passed_on(number: int) -> None:
    heard: list[int] = []
    before = signal.signal(number, lambda number, _: heard.append(number))
    try:
        app = FastAPI()
        server = Server(app, uvicorn.Config(app))
        with server.capture_signals():
            signal.raise_signal(number)
            assert (server.should_exit, heard) == (True, [])
        assert heard == [number]
    finally:
        signal.signal(number, before)
