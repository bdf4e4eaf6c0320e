"""`/health`, `/ready`, `/metrics`: for whoever watches the server."""

from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from kinema.serve.api import Api
from kinema.serve.api_videos import ApiIs
from kinema.serve.store import JOBS, WORKERS

router = APIRouter(tags=["health"])

_STATUSES = ("queued", "running", "completed", "failed", "cancelled")


@router.get("/health")
def health() -> dict[str, str]:
    """Say that the process is there."""
    return {"status": "ok"}


@router.get("/ready")
def ready(api: ApiIs) -> Response:
    """Say whether a worker with loaded weights is there to make videos."""
    count = num_workers(api)
    return JSONResponse({"status": "ready" if count else "no worker", "workers": count}, 200 if count else 503)


@router.get("/metrics")
def metrics(api: ApiIs) -> Response:
    """The figures of the queue, in the text format of Prometheus."""
    counts = api.jobs.counts()
    with api.store.read() as db:
        done = sa.select(
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(JOBS.c.run_s), 0.0),
            sa.func.coalesce(sa.func.sum(JOBS.c.video_s), 0.0),
        ).where(JOBS.c.status == "completed")
        finished, run_s, video_s = db.execute(done).one()
        oldest = sa.select(sa.func.min(JOBS.c.created_at)).where(JOBS.c.status == "queued")
        since = db.execute(oldest).scalar()
        lost = sa.select(sa.func.count()).where(JOBS.c.error_code == "worker_lost")
        poison = db.execute(lost).scalar_one()
    waited = max(0.0, api.jobs.clock() - since) if since else 0.0
    jobs = {f'{{status="{status}"}}': counts.get(status, 0) for status in _STATUSES}
    text = [
        *_family("kinema_jobs", "gauge", "Jobs that are kept, by status.", jobs),
        *_family("kinema_jobs_poison", "gauge", "Jobs set apart because their workers died.", {"": poison}),
        *_family("kinema_workers", "gauge", "Workers that are alive.", {"": num_workers(api)}),
        *_family("kinema_queue_wait_seconds", "gauge", "How long the oldest job has waited.", {"": waited}),
        *_family("kinema_generation_seconds_sum", "gauge", "Time spent on finished jobs.", {"": run_s}),
        *_family("kinema_generation_seconds_count", "gauge", "Finished jobs that are kept.", {"": finished}),
        *_family("kinema_video_seconds", "gauge", "Length of the finished videos that are kept.", {"": video_s}),
    ]
    return PlainTextResponse("\n".join(text) + "\n", media_type="text/plain; version=0.0.4")


def _family(name: str, kind: str, about: str, values: dict[str, Any]) -> list[str]:
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}", *(f"{name}{label} {v}" for label, v in values.items())]


def num_workers(api: Api) -> int:
    """How many workers have said lately that they are there."""
    alive = WORKERS.c.seen_at > api.jobs.clock() - api.settings.queue.lease_s
    with api.store.read() as db:
        return int(db.execute(sa.select(sa.func.count()).select_from(WORKERS).where(alive)).scalar_one())
