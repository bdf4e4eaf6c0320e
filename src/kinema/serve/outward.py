"""Requests to addresses that strangers name: public ones only, no redirects, bounded in time and size.

The name is resolved once, every address is checked, and the connection goes to the address that was checked: a name
that means another machine a moment later changes nothing.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from kinema.errors import JobError, SpecError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TRANSLATED = tuple(ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
"""Ranges of IPv6 that carry an address of IPv4, which may be a private one."""


class Unreachable(JobError):  # noqa: N818 - an outcome, not a fault
    """There was no whole answer within the limits."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    media_type: str
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Outward:
    """How far requests may go."""

    allowed: tuple[str, ...] = ()
    """Networks, such as 10.0.0.0/8, that may be reached although they are private, also without TLS."""
    timeout_s: float = 15.0
    """For all of it, from the first packet to the last."""
    max_bytes: int = 2**16
    """Longest body that is read."""
    _networks: tuple[Network, ...] = field(init=False, default=(), repr=False)

    def __post_init__(self) -> None:
        """Read the networks. Raises SpecError."""
        try:
            networks = tuple(ipaddress.ip_network(text) for text in self.allowed)
        except ValueError as error:
            raise SpecError(f"a network is {error}; give one such as 10.0.0.0/8 or 127.0.0.1/32") from None
        object.__setattr__(self, "_networks", networks)

    def require_fit(self, url: str) -> SplitResult:
        """Take a URL apart, or say what is wrong with it, as far as that shows without asking for its name."""
        if any(not "!" <= sign <= "~" for sign in url):
            raise SpecError("url has characters that a URL cannot have; write them as %XX")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise SpecError(f"url {url!r} cannot be read; give one such as https://example.com/hook") from None
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username is not None or port == 0:
            raise SpecError(f"url {url!r} is not reached from here; give one such as https://example.com/hook")
        return parts

    def resolve(self, url: str) -> tuple[SplitResult, str, int]:
        """The parts of a URL, and the address and port to connect to. Raises SpecError for what must not be reached."""
        parts = self.require_fit(url)
        host, port = parts.hostname or "", parts.port or {"https": 443, "http": 80}[parts.scheme]
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise Unreachable(f"there is no machine called {host!r}") from None
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        named = [self._is_allowed(address) for address in addresses]
        if not all(known or _is_public(address) for known, address in zip(named, addresses, strict=True)):
            raise SpecError(f"url leads to {host}, which is not a public address; the operator can allow its network")
        if parts.scheme == "http" and not all(named):
            raise SpecError("url begins with http:, which anybody on the way can read; give one with https:")
        return parts, str(addresses[0]), port

    def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        read: bool = True,
    ) -> Answer:
        """Send a request and read the answer, or only its status; a redirect is an answer, not followed.

        Raises SpecError for what must not be reached, Unreachable for no answer, one too slow or one too large.
        """
        parts, address, port = self.resolve(url)
        host = parts.hostname or ""
        try:
            connection = self._connect(parts.scheme, host, address, port)
        except OSError as error:
            raise Unreachable(f"{host} cannot be reached: {error.strerror or error}") from None
        is_late = threading.Event()
        clock = threading.Timer(self.timeout_s, _cut, [connection.sock, is_late])
        clock.daemon = True
        clock.start()
        try:
            path = parts.path or "/"
            connection.request(method, f"{path}?{parts.query}" if parts.query else path, body, headers or {})
            answer = connection.getresponse()
            kind = answer.headers.get_content_type()
            content = answer.read(self.max_bytes + 1) if read else b""
            whole = not is_late.is_set() and (not read or answer.length in (None, 0))
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{host} gave no answer: {type(error).__name__}") from None
        finally:
            clock.cancel()
            connection.close()
        if len(content) > self.max_bytes:
            raise Unreachable(f"the answer of {host} is larger than {self.max_bytes} bytes")
        if not whole:
            raise Unreachable(f"the answer of {host} broke off, or took longer than {self.timeout_s:g} s")
        return Answer(status=answer.status, media_type=kind, body=content)

    def _connect(self, scheme: str, host: str, address: str, port: int) -> http.client.HTTPConnection:
        plain = socket.create_connection((address, port), self.timeout_s)
        connection = http.client.HTTPConnection(host, port, timeout=self.timeout_s)
        if scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=self.timeout_s)
            try:
                plain = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
            except OSError:
                plain.close()
                raise
        connection.sock = plain
        return connection

    def _is_allowed(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return _is_public(address.ipv4_mapped)
        if any(address in network for network in _TRANSLATED):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _cut(plain: socket.socket, is_late: threading.Event) -> None:
    is_late.set()  # before what the reader takes for an end
    with contextlib.suppress(OSError):
        plain.shutdown(socket.SHUT_RDWR)
