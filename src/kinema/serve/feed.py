"""What happens to all videos of one owner, as one stream that goes on where its reader stopped."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import sqlalchemy as sa
from fastapi import Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from kinema.serve.events import KEEP_ALIVE_S, LOOK_S
from kinema.serve.job import Event
from kinema.serve.store import EVENTS, JOBS, Store

MOST = 500
"""Events of one look; a reader that was away for long gets the rest with the next looks."""


class Feed:
    """The events of the videos that one caller sees (`owner=None`: of all), in the order in which they came."""

    def __init__(self, store: Store, owner: str | None) -> None:
        self._store = store
        self._owner = owner

    def newest(self) -> int:
        """The number of the newest event there is, whoever's; 0 where there is none."""
        with self._store.read() as db:
            return int(db.execute(sa.select(sa.func.coalesce(sa.func.max(EVENTS.c.seq), 0))).scalar_one())

    def after(self, seq: int, limit: int = MOST) -> list[Event]:
        """The events after number `seq`, oldest first, `limit` at most."""
        query = self._mine().where(EVENTS.c.seq > seq).order_by(EVENTS.c.seq).limit(limit)
        with self._store.read() as db:
            return [_event(row) for row in db.execute(query)]

    def previews(self) -> list[Event]:
        """The last preview of every video that is being made."""
        newest = (
            sa.select(sa.func.max(EVENTS.c.seq))
            .join(JOBS, JOBS.c.id == EVENTS.c.job_id)
            .where(EVENTS.c.type == "video.preview", JOBS.c.status == "running")
            .group_by(EVENTS.c.job_id)
        )
        with self._store.read() as db:
            return [_event(row) for row in db.execute(self._mine().where(EVENTS.c.seq.in_(newest)))]

    def _mine(self) -> Any:
        query = sa.select(EVENTS).join(JOBS, JOBS.c.id == EVENTS.c.job_id)
        return query if self._owner is None else query.where(JOBS.c.owner == self._owner)


def stream_feed(feed: Feed, after: int | None, is_stopping: Callable[[], bool] = lambda: False) -> Response:
    """Send the events after the one numbered `after` as they come, until the server stops; without it, from now on.

    The first thing sent is an empty event with the number to go on from. A reader that then asks for the videos
    themselves misses nothing; previews of what is being made follow at once, without a number, as they are no news.
    """
    return StreamingResponse(
        _follow(feed, after, is_stopping),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _follow(feed: Feed, after: int | None, is_stopping: Callable[[], bool]) -> AsyncIterator[str]:
    at = await run_in_threadpool(feed.newest) if after is None else after
    yield f"retry: 1000\nid: {at}\n\n"
    for event in await run_in_threadpool(feed.previews):
        yield _told(event, numbered=False)
    spoke_at = time.monotonic()
    while not is_stopping():
        for event in await run_in_threadpool(feed.after, at):
            yield _told(event)
            at, spoke_at = event.seq, time.monotonic()
        if time.monotonic() - spoke_at > KEEP_ALIVE_S:
            yield ": still here\n\n"
            spoke_at = time.monotonic()
        await asyncio.sleep(LOOK_S)


def _told(event: Event, *, numbered: bool = True) -> str:
    data = json.dumps({"id": event.job_id, "type": event.type, "at": event.at, **event.data}, ensure_ascii=False)
    number = f"id: {event.seq}\n" if numbered else ""
    return f"{number}event: {event.type}\ndata: {data}\n\n"


def _event(row: Any) -> Event:
    return Event(seq=row.seq, job_id=row.job_id, type=row.type, at=row.at, data=json.loads(row.data))
