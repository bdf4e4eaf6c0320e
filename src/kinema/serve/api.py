"""What every route of the API needs: the desk, the queue, and who asks."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from kinema.serve.artefacts import Artefacts
from kinema.serve.faults import Fault
from kinema.serve.files import Files
from kinema.serve.jobs import Jobs
from kinema.serve.keys import Key, KeyRing
from kinema.serve.links import Links
from kinema.serve.moderation import PolicyFile
from kinema.serve.requests import Desk
from kinema.serve.settings import ServeSettings
from kinema.serve.store import Store
from kinema.serve.tally import Tally
from kinema.serve.throttle import RATE, Throttle

T = TypeVar("T")

WRONG_KEYS_PER_MINUTE = 60
"""More from one address are not looked at: keys cannot be guessed anyway, but the log stays readable."""


@dataclass(frozen=True, kw_only=True)
class Api:
    """The parts of a running server that its routes use."""

    settings: ServeSettings
    store: Store
    artefacts: Artefacts
    jobs: Jobs
    desk: Desk
    keys: KeyRing
    policy: PolicyFile
    files: Files
    links: Links
    tally: Tally
    throttle: Throttle

    async def look(self, question: Callable[[], T]) -> T:
        """Ask the database something short: in place where it is a file, which answers before a thread would wake up.

        PostgreSQL may be a network away, so a thread waits for it.
        """
        return question() if self.store.answers_at_once else await run_in_threadpool(question)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks."""

    owner: str
    """Name under which new videos are kept."""
    sees: str | None
    """Whose videos are there for them; None for all, where no keys are needed."""
    key: Key | None


async def api_of(request: Request) -> Api:
    """The server that a request came to; it and `caller_of` wait for nothing, and are no threads' work."""
    return _api(request)


def key_of(request: Request) -> Key | None:
    """The key that a request brings; None where none is needed. Raises Fault without a good one, or for too many."""
    api, host = _api(request), request.client.host if request.client else ""
    keys = api.keys
    if not keys.keys:
        _require_pace(request, f"host {host}", api.settings.limits.calls_per_minute)
        return None
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    key = keys.find(token.strip()) if scheme.lower() == "bearer" else None
    if key is None:
        _require_pace(request, f"stranger {host}", WRONG_KEYS_PER_MINUTE)
        message = "this server wants an API key: Authorization: Bearer sk-..."
        raise Fault(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})
    _require_pace(request, f"key {key.name}", key.limits.calls_per_minute)
    return key


async def caller_of(request: Request) -> Caller:
    """Who asks, by their key. Raises Fault for a key that is missing, wrong, or may not do this."""
    return caller_by_key(request)


def caller_by_key(request: Request) -> Caller:
    """The same, for those who are in a thread already."""
    key = key_of(request)
    if key is None:
        return Caller(owner="", sees=None, key=None)
    if request.method not in ("GET", "HEAD") and not key.can_write:
        raise Fault(403, f"the key {key.name!r} may look, but not change anything", code="insufficient_permissions")
    return Caller(owner=key.name, sees=key.name, key=key)


def _api(request: Request) -> Api:
    api: Api = request.app.state.api
    return api


def _require_pace(request: Request, name: str, per_minute: int | None) -> None:
    """Raise Fault for somebody who calls too often."""
    if per_minute is None:
        return
    wait_s, request.scope[RATE] = _api(request).throttle.take(name, per_minute)
    if wait_s:
        headers = {"retry-after": f"{math.ceil(wait_s)}", "retry-after-ms": f"{1000 * wait_s:.0f}"}
        message = f"{per_minute} requests a minute are the limit; try again in {wait_s:.1f} s"
        raise Fault(429, message, code="rate_limit_exceeded", headers=headers)
