"""What goes wrong on the way to an answer."""

import logging
import socket
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x"], ids=["json", "form"])
def test_a_client_that_goes_away_amid_its_request_is_no_bug(
    serve: Callable[..., Any], caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level(logging.INFO, "kinema.serve.app")
    address = urllib.parse.urlsplit(serve().url)
    with socket.create_connection((str(address.hostname), int(address.port or 0))) as connection:
        head = f"POST /v1/videos HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head.encode() + b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na red')
        time.sleep(0.2)
    deadline = time.monotonic() + 20
    while "POST /v1/videos ->" not in caplog.text:
        assert time.monotonic() < deadline, caplog.text
        time.sleep(0.02)
    assert "failed by a bug" not in caplog.text
    assert "POST /v1/videos -> 400" in caplog.text
