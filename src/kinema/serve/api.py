"""What every route of the API needs: the desk, the queue, and who asks."""

from dataclasses import dataclass

from fastapi import Request

from kinema.serve.artefacts import Artefacts
from kinema.serve.faults import Fault
from kinema.serve.jobs import Jobs
from kinema.serve.keys import Key, KeyRing
from kinema.serve.moderation import PolicyFile
from kinema.serve.requests import Desk
from kinema.serve.settings import ServeSettings
from kinema.serve.store import Store


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


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks."""

    owner: str
    """Name under which new videos are kept."""
    sees: str | None
    """Whose videos are there for them; None for all, where no keys are needed."""
    key: Key | None


def api_of(request: Request) -> Api:
    """The server that a request came to."""
    api: Api = request.app.state.api
    return api


def caller_of(request: Request) -> Caller:
    """Who asks, by their key. Raises Fault for a key that is missing, wrong, or may not do this."""
    keys = api_of(request).keys
    if not keys.keys:
        return Caller(owner="", sees=None, key=None)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    key = keys.find(token.strip()) if scheme.lower() == "bearer" else None
    if key is None:
        message = "this server wants an API key: Authorization: Bearer sk-..."
        raise Fault(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})
    if request.method not in ("GET", "HEAD") and not key.can_write:
        raise Fault(403, f"the key {key.name!r} may look, but not change anything", code="insufficient_permissions")
    return Caller(owner=key.name, sees=key.name, key=key)
