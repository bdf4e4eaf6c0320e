"""Everything that Prometheus can read about a server: its queue, its workers, its requests."""

from collections.abc import Mapping

import sqlalchemy as sa

from kinema.serve.figures import read_figures
from kinema.serve.jobs import Jobs
from kinema.serve.store import DELIVERIES, JOBS, WORKERS, Store
from kinema.serve.tally import Tally, shown

ABOUT = {
    "kinema_http_request_seconds": "How long requests took, until their answer began.",
    "kinema_moderation_total": "Prompts by what the policy decided.",
}
"""What a server counts by itself, as long as it runs."""

_FIGURES = {
    "queue_wait_seconds": ("kinema_job_wait_seconds", "model", "How long finished jobs had waited."),
    "generation_seconds": ("kinema_generation_seconds", "model", "How long finished jobs took, once started."),
    "stage_seconds": ("kinema_stage_seconds", "stage", "How long the stages of finished jobs took."),
    "denoise_step_seconds": ("kinema_denoise_step_seconds", "model", "How long a step of denoising took."),
    "cancel_latency_seconds": ("kinema_cancel_latency_seconds", "", "From the wish to the end of cancelled jobs."),
    "video_seconds": ("kinema_video_seconds", "model", "Length of the finished videos."),
}
_STATUSES = ("queued", "running", "completed", "failed", "cancelled")


def metrics_text(store: Store, jobs: Jobs, tally: Tally) -> str:
    """All metrics, in the text format of Prometheus."""
    counts = jobs.counts()
    with store.read() as db:
        oldest = db.execute(sa.select(sa.func.min(JOBS.c.created_at)).where(JOBS.c.status == "queued")).scalar()
        lost = sa.select(sa.func.count()).where(JOBS.c.error_code == "worker_lost")
        poison = db.execute(lost).scalar_one()
        sent = sa.select(DELIVERIES.c.status, sa.func.count()).group_by(DELIVERIES.c.status)
        deliveries = {row[0]: row[1] for row in db.execute(sent)}
        stored = db.execute(sa.select(sa.func.coalesce(sa.func.sum(JOBS.c.stored_bytes), 0))).scalar_one()
    waited = max(0.0, jobs.clock() - oldest) if oldest else 0.0
    lines = [
        *_gauges("kinema_jobs", "Jobs that are kept, by status.", {s: counts.get(s, 0) for s in _STATUSES}, "status"),
        *_gauges("kinema_jobs_poison", "Jobs set apart because their workers died.", {"": poison}),
        *_gauges("kinema_workers", "Workers that are alive.", {"": num_workers(store, jobs)}),
        *_gauges("kinema_queue_wait_seconds", "How long the oldest job has waited.", {"": waited}),
        *_gauges("kinema_stored_bytes", "Size of the files that are kept.", {"": int(stored)}),
        *_gauges("kinema_webhook_deliveries", "Messages to webhooks that are kept, by status.",
                 {s: deliveries.get(s, 0) for s in ("waiting", "delivered", "failed")}, "status"),
        *_job_figures(store),
        *tally.lines(ABOUT),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def num_workers(store: Store, jobs: Jobs) -> int:
    """How many workers have been heard of lately."""
    alive = WORKERS.c.seen_at > jobs.clock() - jobs.settings.lease_s
    with store.read() as db:
        return int(db.execute(sa.select(sa.func.count()).select_from(WORKERS).where(alive)).scalar_one())


def _job_figures(store: Store) -> list[str]:
    known = read_figures(store)
    lines: list[str] = []
    for kind, (name, label, about) in _FIGURES.items():
        rows = [figure for figure in known if figure.name == kind]
        lines += [f"# HELP {name} {about}", f"# TYPE {name} summary"] if rows else []
        for row in rows:
            labels = shown(((label, row.label),)) if label else ""
            lines += [f"{name}_count{labels} {row.count}", f"{name}_sum{labels} {row.total:.6f}"]
    peaks = {row.label: row.most for row in known if row.name == "memory_peak_bytes"}
    return lines + (
        _gauges("kinema_memory_peak_bytes", "The most memory of a worker.", peaks, "model") if peaks else []
    )


def _gauges(name: str, about: str, values: Mapping[str, float], label: str = "") -> list[str]:
    lines = [f"# HELP {name} {about}", f"# TYPE {name} gauge"]
    return lines + [f"{name}{shown(((label, key),)) if label else ''} {value}" for key, value in values.items()]
