"""What is to be told to webhook endpoints: written with the change that it tells of, sent until it has arrived."""

import json
import random
import uuid
from dataclasses import dataclass

import sqlalchemy as sa

from kinema.serve.store import DELIVERIES, JOBS, WEBHOOKS, Store

EVENT_TYPES = ("video.completed", "video.failed", "video.cancelled")
"""What an endpoint can hear of."""

RETRY_S = (5.0, 60.0, 300.0, 1800.0, 7200.0, 18000.0, 28800.0, 28800.0)
"""Waits between the tries, a day in all; each is drawn from 80 to 120 % of this."""

CLAIM_S = 60.0
"""A delivery that was taken but not settled, because its sender died, is sent again after this."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message on its way to one endpoint."""

    id: str
    body: str
    url: str
    secrets: tuple[str, ...]
    """What it is signed with: the endpoint's secret, and the one before for a day after a change."""
    attempt: int


def announce(db: sa.Connection, job_id: str, kind: str, at: float) -> None:
    """Put a message for every endpoint that wants it into the outbox, in the transaction that makes it true."""
    job = db.execute(sa.select(JOBS.c.owner, JOBS.c.request).where(JOBS.c.id == job_id)).one()
    callback_url = json.loads(job.request).get("callback_url")
    wanted = sa.select(WEBHOOKS.c.id, WEBHOOKS.c.event_types, WEBHOOKS.c.url)
    for row in db.execute(wanted.where(WEBHOOKS.c.owner == job.owner, WEBHOOKS.c.is_disabled.is_(False))).all():
        is_for_callbacks = not row.url
        if kind in json.loads(row.event_types) and (callback_url or not is_for_callbacks):
            _add(db, row.id, kind, {"id": job_id}, at, callback_url if is_for_callbacks else None)


def _add(db: sa.Connection, endpoint_id: str, kind: str, data: dict[str, str], at: float, url: str | None) -> None:
    db.execute(
        DELIVERIES.insert().values(
            id=f"whd_{uuid.uuid4().hex}", endpoint_id=endpoint_id, type=kind, body=message_body(kind, data, at),
            status="waiting", created_at=at, next_at=at, url=url,
        )
    )  # fmt: skip


def message_body(kind: str, data: dict[str, str], at: float) -> str:
    """The text of a message, as OpenAI writes it."""
    event = {"object": "event", "id": f"evt_{uuid.uuid4().hex}", "type": kind, "created_at": int(at), "data": data}
    return json.dumps(event, separators=(",", ":"))


def claim_due(store: Store, now: float, limit: int = 16) -> list[Message]:
    """Take messages whose time has come; nobody else gets them for a minute."""
    due = sa.and_(DELIVERIES.c.status == "waiting", DELIVERIES.c.next_at <= now)
    with store.read() as db:  # nothing is written while there is nothing to do
        if db.execute(sa.select(DELIVERIES.c.seq).where(due).limit(1)).first() is None:
            return []
    secret = (WEBHOOKS.c.secret, WEBHOOKS.c.old_secret, WEBHOOKS.c.old_until)
    query = (
        sa.select(DELIVERIES, WEBHOOKS.c.url.label("place"), *secret)
        .join(WEBHOOKS, WEBHOOKS.c.id == DELIVERIES.c.endpoint_id)
        .where(due)
        .order_by(DELIVERIES.c.next_at)
        .limit(limit)
        .with_for_update(skip_locked=True, of=DELIVERIES)
    )
    with store.write() as db:
        rows = db.execute(query).all()
        for row in rows:
            taken = DELIVERIES.update().where(DELIVERIES.c.seq == row.seq)
            db.execute(taken.values(next_at=now + CLAIM_S, attempt=row.attempt + 1))
    return [
        Message(
            id=row.id, body=row.body, url=row.url or row.place, attempt=row.attempt + 1,
            secrets=secrets_of(row.secret, row.old_secret, row.old_until, now),
        )
        for row in rows
    ]  # fmt: skip


def secrets_of(secret: str, old: str | None, old_until: float | None, now: float) -> tuple[str, ...]:
    """The secrets that a message is signed with."""
    return (secret, old) if old is not None and old_until is not None and now < old_until else (secret,)


def settle(store: Store, message: Message, http_status: int | None, error: str | None, now: float) -> None:
    """Write down how a try went: delivered by any 2xx, ended by 410, else tried again until the tries are used up."""
    values: dict[str, object] = {"http_status": http_status, "error": error}
    if http_status is not None and 200 <= http_status < 300:
        values |= {"status": "delivered", "ended_at": now}
    elif http_status == 410 or message.attempt > len(RETRY_S):
        values |= {"status": "failed", "ended_at": now}
    else:
        values["next_at"] = now + RETRY_S[message.attempt - 1] * random.uniform(0.8, 1.2)
    mine = sa.and_(DELIVERIES.c.id == message.id, DELIVERIES.c.attempt == message.attempt)
    with store.write() as db:
        db.execute(DELIVERIES.update().where(mine, DELIVERIES.c.status == "waiting").values(**values))
        if http_status == 410:
            # the address of one job that is gone says nothing about those of others
            gone_with_it = sa.and_(DELIVERIES.c.id == message.id, DELIVERIES.c.url.is_(None))
            of = sa.select(DELIVERIES.c.endpoint_id).where(gone_with_it).scalar_subquery()
            db.execute(WEBHOOKS.update().where(WEBHOOKS.c.id == of).values(is_disabled=True))
            waiting = sa.and_(DELIVERIES.c.endpoint_id == of, DELIVERIES.c.status == "waiting")
            gone = {"status": "failed", "ended_at": now, "error": "the endpoint is gone"}
            db.execute(DELIVERIES.update().where(waiting).values(**gone))


def prune(store: Store, before: float) -> None:
    """Forget messages that ended long ago."""
    with store.write() as db:
        db.execute(DELIVERIES.delete().where(DELIVERIES.c.ended_at < before))
