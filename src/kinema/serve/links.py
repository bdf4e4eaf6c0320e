"""Links to files that need no key, for a while: signed by the server, for players and chats that cannot send one."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import urlencode

import sqlalchemy as sa

from kinema.serve.jobs import Clock
from kinema.serve.store import SECRETS, Store

MAX_LINK_S = 7 * 86400.0


class Links:
    """Makes and checks links; all servers of one store share their secret."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._key: bytes | None = None

    def make(self, base_url: str, video_id: str, variant: str, lasts_s: float) -> tuple[str, int]:
        """A link to a file of a video, and the time (seconds since 1970) at which it ends."""
        until = int(self._clock() + lasts_s)
        query = {"variant": variant, "expires": until, "signature": self._sign(video_id, variant, until)}
        return f"{base_url.rstrip('/')}/v1/videos/{video_id}/content?{urlencode(query)}", until

    def is_good(self, video_id: str, query: Mapping[str, str]) -> bool:
        """Whether a request for a file brings a signature for it that has not ended."""
        until, signature = query.get("expires", ""), query.get("signature", "")
        if not (until.isascii() and until.isdecimal() and len(until) < 13) or int(until) < self._clock():
            return False
        good = self._sign(video_id, query.get("variant", "video"), int(until))
        return hmac.compare_digest(good.encode(), signature.encode())

    def _sign(self, video_id: str, variant: str, until: int) -> str:
        if self._key is None:
            self._key = self._shared_key()
        mark = hmac.new(self._key, f"{video_id}\n{variant}\n{until}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(mark).decode().rstrip("=")

    def _shared_key(self) -> bytes:
        query = sa.select(SECRETS.c.value).where(SECRETS.c.name == "links")
        with self._store.read() as db:
            known = db.execute(query).scalar()
        if known is None:
            try:
                with self._store.write() as db:
                    db.execute(SECRETS.insert().values(name="links", value=secrets.token_urlsafe(32)))
            except sa.exc.IntegrityError:
                pass  # another server was faster
            with self._store.read() as db:
                known = db.execute(query).scalar_one()
        return str(known).encode()
