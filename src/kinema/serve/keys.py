"""API keys: who asks, what they may, and how much."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from kinema.errors import SpecError
from kinema.serve.settings import Limits


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key; only its hash is kept."""

    name: str
    """Who it belongs to: the owner of every video made with it."""
    sha256: str
    priority: int = 0
    """Added to the priority of its jobs."""
    limits: Limits = field(default_factory=Limits)
    can_write: bool = True
    """False: it may look, but not make, change or delete."""


@dataclass(frozen=True, kw_only=True)
class KeyRing:
    """All keys of a server; with none, nobody needs one."""

    keys: tuple[Key, ...] = ()

    def __post_init__(self) -> None:
        """Refuse two keys of one name: they would own each other's videos."""
        names = [key.name for key in self.keys]
        if len(set(names)) < len(names):
            raise SpecError("two keys have the same name; give each a name of its own")

    def find(self, token: str) -> Key | None:
        """The key that a token is, or None."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        return next((key for key in self.keys if hmac.compare_digest(key.sha256, digest)), None)


def make_key(name: str) -> tuple[str, Key]:
    """A new token, which is told once, and the key that recognises it."""
    token = f"sk-kinema-{secrets.token_urlsafe(32)}"
    return token, Key(name=name, sha256=hashlib.sha256(token.encode()).hexdigest())
