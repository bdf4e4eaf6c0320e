"""Webhook endpoints: who wants to be told what, where, and how each telling went."""

import base64
import hashlib
import json
import secrets
import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from kinema.errors import JobNotFound, SpecError
from kinema.serve.jobs import Clock
from kinema.serve.outbox import EVENT_TYPES, secrets_of
from kinema.serve.store import DELIVERIES, WEBHOOKS, Store

KEEP_OLD_S = 86400.0


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One endpoint."""

    id: str
    name: str
    url: str
    """Where it is; empty for the one through which jobs call back, each to an address of its own."""
    event_types: tuple[str, ...]
    secret: str
    secrets: tuple[str, ...]
    """What messages are signed with now."""
    is_disabled: bool
    created_at: float
    updated_at: float


class Webhooks:
    """The endpoints in a store; `owner=None` sees everybody's."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def create(self, owner: str, name: str, url: str, event_types: list[str]) -> Endpoint:
        """Add an endpoint, with a secret of its own."""
        now, endpoint_id = self._clock(), f"we_{uuid.uuid4().hex}"
        values = {"name": name, "url": url, "event_types": json.dumps(sorted(set(event_types)))}
        times = {"created_at": now, "updated_at": now}
        with self._store.write() as db:
            db.execute(WEBHOOKS.insert().values(id=endpoint_id, owner=owner, secret=_secret(), **values, **times))
        return self.get(endpoint_id, owner)

    def open_callbacks(self, owner: str) -> None:
        """Add the endpoint through which the jobs of an owner call back, unless it is there: it holds their secret."""
        now = self._clock()
        values = {"name": "callback_url", "url": "", "event_types": json.dumps(EVENT_TYPES), "secret": _secret()}
        times = {"created_at": now, "updated_at": now}
        with self._store.read() as db:
            mine = sa.select(WEBHOOKS.c.seq).where(WEBHOOKS.c.id == callbacks_id(owner))
            if db.execute(mine).first() is not None:
                return
        row = self._store.insert(WEBHOOKS).values(id=callbacks_id(owner), owner=owner, **values, **times)
        with self._store.write() as db:
            db.execute(row.on_conflict_do_nothing(index_elements=["id"]))

    def get(self, endpoint_id: str, owner: str | None) -> Endpoint:
        """Look at an endpoint. Raises JobNotFound."""
        with self._store.read() as db:
            return self._endpoint(self._row(db, endpoint_id, owner))

    def page(self, owner: str | None, after: str | None, limit: int) -> tuple[list[Endpoint], bool]:
        """List endpoints, oldest first; and whether there are more. Raises JobNotFound."""
        query = sa.select(WEBHOOKS).order_by(WEBHOOKS.c.seq).limit(limit + 1)
        if owner is not None:
            query = query.where(WEBHOOKS.c.owner == owner)
        with self._store.read() as db:
            if after is not None:
                query = query.where(WEBHOOKS.c.seq > self._row(db, after, owner).seq)
            found = [self._endpoint(row) for row in db.execute(query)]
        return found[:limit], len(found) > limit

    def update(self, endpoint_id: str, owner: str | None, **changes: Any) -> Endpoint:
        """Change name, url or event types; one that answered "gone" is told things again.

        Raises JobNotFound, and SpecError for the url of the endpoint that has none.
        """
        if "url" in changes and not self.get(endpoint_id, owner).url:
            raise SpecError("url cannot be changed here: each video brings its own as callback_url")
        if "event_types" in changes:
            changes["event_types"] = json.dumps(sorted(set(changes["event_types"])))
        self._change(endpoint_id, owner, is_disabled=False, **changes)
        return self.get(endpoint_id, owner)

    def rotate(self, endpoint_id: str, owner: str | None, *, keep_old: bool) -> Endpoint:
        """Give an endpoint another secret; the old one signs too for a day if it is kept. Raises JobNotFound."""
        before = self.get(endpoint_id, owner)
        old = {"old_secret": before.secret, "old_until": self._clock() + KEEP_OLD_S}
        if not keep_old:
            old = {"old_secret": None, "old_until": None}
        self._change(endpoint_id, owner, secret=_secret(), **old)
        return self.get(endpoint_id, owner)

    def delete(self, endpoint_id: str, owner: str | None) -> None:
        """Remove an endpoint with everything that was to be told to it. Raises JobNotFound."""
        with self._store.write() as db:
            row = self._row(db, endpoint_id, owner)
            db.execute(DELIVERIES.delete().where(DELIVERIES.c.endpoint_id == row.id))
            db.execute(WEBHOOKS.delete().where(WEBHOOKS.c.id == row.id))

    def deliveries(
        self, endpoint_id: str, owner: str | None, after: str | None, limit: int
    ) -> tuple[list[dict[str, Any]], bool]:
        """What was told to an endpoint, newest first; and whether there is more. Raises JobNotFound."""
        with self._store.read() as db:
            self._row(db, endpoint_id, owner)
            query = sa.select(DELIVERIES).where(DELIVERIES.c.endpoint_id == endpoint_id)
            if after is not None:
                query = query.where(DELIVERIES.c.seq < self._delivery(db, endpoint_id, after).seq)
            rows = db.execute(query.order_by(DELIVERIES.c.seq.desc()).limit(limit + 1)).all()
        return [_shown(row) for row in rows[:limit]], len(rows) > limit

    def redeliver(self, endpoint_id: str, delivery_id: str, owner: str | None) -> dict[str, Any]:
        """Send a message again, with all its tries. Raises JobNotFound."""
        now = self._clock()
        with self._store.write() as db:
            self._row(db, endpoint_id, owner)
            row = self._delivery(db, endpoint_id, delivery_id)
            again = {"status": "waiting", "attempt": 0, "next_at": now, "ended_at": None}
            db.execute(DELIVERIES.update().where(DELIVERIES.c.seq == row.seq).values(**again))
            return _shown(self._delivery(db, endpoint_id, delivery_id))

    def _change(self, endpoint_id: str, owner: str | None, **values: Any) -> None:
        with self._store.write() as db:
            row = self._row(db, endpoint_id, owner)
            if any(getattr(row, name) != value for name, value in values.items()):
                changed = WEBHOOKS.update().where(WEBHOOKS.c.id == row.id)
                db.execute(changed.values(updated_at=self._clock(), **values))

    def _row(self, db: sa.Connection, endpoint_id: str, owner: str | None) -> Any:
        query = sa.select(WEBHOOKS).where(WEBHOOKS.c.id == endpoint_id)
        row = db.execute(query if owner is None else query.where(WEBHOOKS.c.owner == owner)).first()
        if row is None:
            raise JobNotFound(f"there is no webhook endpoint {endpoint_id!r}; list them with GET /v1/webhook_endpoints")
        return row

    def _delivery(self, db: sa.Connection, endpoint_id: str, delivery_id: str) -> Any:
        of = sa.and_(DELIVERIES.c.endpoint_id == endpoint_id, DELIVERIES.c.id == delivery_id)
        row = db.execute(sa.select(DELIVERIES).where(of)).first()
        if row is None:
            raise JobNotFound(f"there is no delivery {delivery_id!r} to {endpoint_id}")
        return row

    def _endpoint(self, row: Any) -> Endpoint:
        return Endpoint(
            id=row.id, name=row.name, url=row.url, event_types=tuple(json.loads(row.event_types)), secret=row.secret,
            secrets=secrets_of(row.secret, row.old_secret, row.old_until, self._clock()),
            is_disabled=row.is_disabled, created_at=row.created_at, updated_at=row.updated_at,
        )  # fmt: skip


def callbacks_id(owner: str) -> str:
    """The endpoint through which the jobs of an owner call back."""
    return f"we_{hashlib.sha256(f'callbacks of {owner}'.encode()).hexdigest()[:32]}"


def _secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _shown(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "webhook_endpoint.delivery",
        "webhook_endpoint_id": row.endpoint_id,
        "url": row.url,
        "event": json.loads(row.body),
        "status": row.status,
        "attempts": row.attempt,
        "created_at": int(row.created_at),
        "next_attempt_at": int(row.next_at) if row.status == "waiting" else None,
        "ended_at": int(row.ended_at) if row.ended_at else None,
        "status_code": row.http_status,
        "error": row.error,
    }
