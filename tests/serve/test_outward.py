import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.serve.receiver import Receiver

from kinema.errors import SpecError
from kinema.serve.outward import Outward, Unreachable

HERE = Outward(allowed=("127.0.0.0/8",), timeout_s=5.0, max_bytes=1000)


@pytest.fixture
def there() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
     "255.255.255.255", "[::1]", "[::]", "[fe80::1]", "[fd00::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]",
     "[2002:7f00:1::]", "2130706433", "0x7f.1", "017700000001", "localhost"],
)  # fmt: skip
def test_no_private_address_is_reached_however_it_is_written(host: str) -> None:
    with pytest.raises((SpecError, Unreachable)) as refused:
        Outward().resolve(f"https://{host}/hook")
    assert "not a public address" in str(refused.value) or "no machine" in str(refused.value)


def test_a_name_that_means_a_private_address_too_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*addresses: str) -> Any:
        return lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 443)) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve("93.184.216.34", "10.0.0.1"))
    with pytest.raises(SpecError, match="not a public address"):
        Outward().resolve("https://example.com/")
    monkeypatch.setattr(socket, "getaddrinfo", resolve("93.184.216.34"))
    assert Outward().resolve("https://example.com/")[1:] == ("93.184.216.34", 443)
    with pytest.raises(SpecError, match="https:"):
        Outward().resolve("http://example.com/")


@pytest.mark.parametrize(
    "url", ["ftp://a.example/", "https://", "https://me:pw@a.example/", "https://a.example:0/", "https://a.example:x/",
            "file:///etc/passwd", "https://a.example/\r\nhost: b", "https://[::1/", "hook"],
)  # fmt: skip
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(SpecError, match="url"):
        Outward().resolve(url)


def test_the_connection_goes_to_the_address_that_was_checked(there: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def resolve(host: str, port: int, **_: Any) -> Any:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("kinema.serve.outward.socket.getaddrinfo", resolve)
    monkeypatch.setattr("kinema.serve.outward.socket.create_connection", _connect_without_names)
    answer = HERE.request("GET", there.url.replace("127.0.0.1", "a.example") + "/x?y=1")
    assert (answer.status, asked, there.requests[0][0]) == (200, ["a.example"], "/x?y=1")
    assert there.requests[0][1]["host"].startswith("a.example")


def _connect_without_names(address: tuple[str, int], timeout: float) -> socket.socket:
    plain = socket.socket()
    plain.settimeout(timeout)
    plain.connect(address)
    return plain


def test_a_redirect_is_an_answer_and_not_followed(there: Receiver) -> None:
    there.answers, there.headers = [302], {"location": "http://169.254.169.254/"}
    assert HERE.request("GET", there.url).status == 302
    assert len(there.requests) == 1


def test_too_much_and_too_slow_are_given_up(there: Receiver) -> None:
    there.body = bytes(1001)
    with pytest.raises(Unreachable, match="larger than 1000 bytes"):
        HERE.request("GET", there.url)
    assert HERE.request("GET", there.url, read=False).status == 200
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = threading.Event()

        def drip() -> None:
            client, _ = listening.accept()
            with client:
                client.sendall(b"HTTP/1.1 200 OK\r\n")
                while not done.wait(0.05):
                    try:
                        client.sendall(b"a: b\r\n")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        slow = Outward(allowed=("127.0.0.0/8",), timeout_s=0.5)
        with pytest.raises(Unreachable):
            slow.request("GET", f"http://127.0.0.1:{listening.getsockname()[1]}/")
        assert time.monotonic() - began < 30  # it ends, although each line comes in time
        done.set()
        thread.join()


def test_nobody_there_is_said(there: Receiver) -> None:
    there.close()
    with pytest.raises(Unreachable, match="cannot be reached"):
        HERE.request("GET", there.url)


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(SpecError, match=r"10\.0\.0\.0/8"):
        Outward(allowed=("10.0.0.1/8x",))
