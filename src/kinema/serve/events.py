"""What happens to a video, as server-sent events that can be read again from any point."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

from fastapi import Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from kinema.errors import JobNotFound
from kinema.serve.job import Event, Job
from kinema.serve.jobs import Jobs

LOOK_S = 0.25
KEEP_ALIVE_S = 15.0


def stream_events(jobs: Jobs, job_id: str, after: int) -> Response:
    """Send the events of a job after the one numbered `after`, as they come, until it has ended."""
    return StreamingResponse(
        _follow(jobs, job_id, after),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def watch(jobs: Jobs, job_id: str, after: int = 0) -> AsyncIterator[tuple[Job, list[Event]]]:
    """Look at a job and at what is new about it, again and again until it has ended; nothing once it is gone."""
    while True:
        try:
            job = await run_in_threadpool(jobs.get, job_id)
            events = await run_in_threadpool(jobs.events, job_id, None, after)
        except JobNotFound:
            return
        after = events[-1].seq if events else after
        yield job, events
        if job.has_ended:  # looked at before the events were read, so they hold its end
            return
        await asyncio.sleep(LOOK_S)


async def _follow(jobs: Jobs, job_id: str, after: int) -> AsyncIterator[str]:
    spoke_at = time.monotonic()
    yield "retry: 1000\n\n"
    async for _, events in watch(jobs, job_id, after):
        for event in events:
            data = json.dumps({"id": job_id, "type": event.type, "at": event.at, **event.data}, ensure_ascii=False)
            yield f"id: {event.seq}\nevent: {event.type}\ndata: {data}\n\n"
            spoke_at = time.monotonic()
        if time.monotonic() - spoke_at > KEEP_ALIVE_S:
            yield ": still here\n\n"
            spoke_at = time.monotonic()
