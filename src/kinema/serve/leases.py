"""The queue as workers see it: claim, renew, publish. A lease and a fencing token keep late workers from harm.

A job is run at least once and published exactly once: every change by a worker names the attempt that it was given, and
the database makes it only while that attempt is the present one.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from kinema.errors import JobCancelled
from kinema.serve.figures import add_figure
from kinema.serve.job import Job, LeaseLost, Result, result_json
from kinema.serve.jobs import CANCELLING, Clock, note
from kinema.serve.settings import QueueSettings
from kinema.serve.store import EVENTS, JOBS, MODELS, SHARES, WORKERS, Store


class Leases:
    """The queue, for one worker called `worker`."""

    def __init__(
        self, store: Store, worker: str, settings: QueueSettings | None = None, clock: Clock = time.time
    ) -> None:
        self.store = store
        self.worker = worker
        self.settings = settings or QueueSettings()
        self.clock = clock

    def claim(self, models: Sequence[str]) -> Job | None:
        """Take the next job of these models, or None when there is nothing to do.

        First come those of the highest priority; among them the owner with the fewest running jobs, then the one who
        has waited longest for a turn; then the oldest job.
        """
        now = self.clock()
        ready = sa.and_(JOBS.c.status == "queued", JOBS.c.model.in_(models), JOBS.c.not_before <= now)
        expired = sa.and_(JOBS.c.status == "running", JOBS.c.lease_until < now)
        with self.store.read() as db:  # an idle worker writes nothing
            if db.execute(sa.select(JOBS.c.id).where(sa.or_(ready, expired)).limit(1)).first() is None:
                return None
        with self.store.write() as db:
            self._reap(db, now)
            for owner, priority in self._turns(db, ready):
                job_id = db.execute(
                    sa.select(JOBS.c.id)
                    .where(ready, JOBS.c.owner == owner, JOBS.c.priority == priority)
                    .order_by(JOBS.c.seq)
                    .limit(1)
                    .with_for_update(skip_locked=True)
                ).scalar_one_or_none()
                if job_id is not None:
                    return self._start(db, job_id, owner, now)
        return None

    def renew(self, job: Job, **progress: Any) -> None:
        """Say that the job is still being worked on, and how far it is (columns of the table of jobs).

        Raises LeaseLost when another worker has it, JobCancelled when it is to stop.
        """
        now = self.clock()
        with self.store.write() as db:
            row = db.execute(
                JOBS.update()
                .where(*self._mine(job))
                .values(lease_until=now + self.settings.lease_s, **progress)
                .returning(JOBS.c.cancel_requested)
            ).first()
            if row is None:
                raise self._lost(job)
            if progress:
                note(db, job.id, "video.progress", now, status="in_progress", **progress)
        self._require_wanted(job, row.cancel_requested)

    def check(self, job: Job) -> None:
        """Ask whether to go on. Raises what `renew` raises."""
        with self.store.read() as db:
            row = db.execute(sa.select(JOBS.c.cancel_requested).where(*self._mine(job))).first()
        if row is None:
            raise self._lost(job)
        self._require_wanted(job, row.cancel_requested)

    def preview(self, job: Job, picture: str) -> None:
        """Show what the job is becoming: a small picture as a `data:` URL. Raises LeaseLost."""
        with self.store.write() as db:
            if db.execute(sa.select(JOBS.c.id).where(*self._mine(job))).first() is None:
                raise self._lost(job)
            note(db, job.id, "video.preview", self.clock(), image=picture)

    def publish(self, job: Job, result: Result) -> None:
        """Make the result the job's, once and for all. Raises what `renew` raises; then nothing has been published."""
        now = self.clock()
        values = {
            "status": "completed", "result": result_json(result), "spec": result.spec.to_json(), "progress": 100,
            "eta_s": None, "run_s": now - (job.started_at or now), "stored_bytes": result.num_bytes,
        }  # fmt: skip
        with self.store.write() as db:
            if not self._end(db, job, now, JOBS.c.cancel_requested.is_(False), **values):
                cancelled = db.execute(sa.select(JOBS.c.id).where(*self._mine(job))).first() is not None
                raise JobCancelled(f"{job.id} was cancelled") if cancelled else self._lost(job)
            note(db, job.id, "video.completed", now, status="completed", progress=100)
            self._count(db, job, result, now)

    def cancelled(self, job: Job) -> None:
        """Say that the job has stopped because it was to. Raises LeaseLost."""
        now = self.clock()
        with self.store.write() as db:
            if not self._end(db, job, now, status="cancelled", eta_s=None):
                raise self._lost(job)
            note(db, job.id, "video.cancelled", now, status="cancelled")
            asked = sa.select(sa.func.max(EVENTS.c.at)).where(EVENTS.c.job_id == job.id, EVENTS.c.type == CANCELLING)
            since = db.execute(asked).scalar()
            if since is not None:
                add_figure(self.store, db, "cancel_latency_seconds", "", max(0.0, now - since))

    def failed(self, job: Job, code: str, message: str, *, again: bool) -> None:
        """Say that the job went wrong; with `again` it gets another try, until it has had all. Raises LeaseLost."""
        now = self.clock()
        with self.store.write() as db:
            if db.execute(sa.select(JOBS.c.id).where(*self._mine(job))).first() is None:
                raise self._lost(job)
            self._give_up_or_retry(db, job.id, job.attempt, job.max_attempts, now, code, message, again=again)

    def give_back(self, job: Job) -> None:
        """Put the job back as if it had not been started, because this worker has to stop; harmless when it is lost."""
        now = self.clock()
        with self.store.write() as db:
            returned = JOBS.update().where(*self._mine(job)).values(
                status="queued", worker=None, lease_until=None, not_before=now, max_attempts=JOBS.c.max_attempts + 1
            )  # fmt: skip
            if db.execute(returned).rowcount:
                note(db, job.id, "video.queued", now, status="queued")

    def reap(self) -> None:
        """Take the jobs of workers that have fallen silent, and queue them again or set them apart."""
        with self.store.write() as db:
            self._reap(db, self.clock())

    def alive(self, models: Sequence[str], job_id: str | None = None) -> None:
        """Say that this worker is there."""
        row = {"id": self.worker, "models": json.dumps(list(models)), "seen_at": self.clock(), "job_id": job_id}
        with self.store.write() as db:
            self.store.insert_or_replace(db, WORKERS, row)

    def gone(self) -> None:
        """Say that this worker is leaving."""
        with self.store.write() as db:
            db.execute(WORKERS.delete().where(WORKERS.c.id == self.worker))

    def offer(self, name: str, capabilities: str) -> None:
        """Write down what a model can make (JSON of a Capabilities)."""
        row = {"name": name, "capabilities": capabilities, "seen_at": self.clock()}
        with self.store.write() as db:
            self.store.insert_or_replace(db, MODELS, row)

    def _turns(self, db: sa.Connection, ready: Any) -> list[tuple[str, int]]:
        """Whose turn it is: owners with work, best first, each with the highest priority among that work."""
        first = (sa.func.max(JOBS.c.priority), sa.func.min(JOBS.c.seq))
        best = sa.select(JOBS.c.owner, *first).where(ready).group_by(JOBS.c.owner)
        busy = sa.select(JOBS.c.owner, sa.func.count()).where(JOBS.c.status == "running").group_by(JOBS.c.owner)
        running: dict[str, int] = {row[0]: row[1] for row in db.execute(busy)}
        served: dict[str, float] = {row.owner: row.served_at for row in db.execute(sa.select(SHARES))}
        turns = [
            (-priority, running.get(owner, 0), served.get(owner, 0.0), seq, owner)
            for owner, priority, seq in db.execute(best)
        ]
        return [(owner, -priority) for priority, _, _, _, owner in sorted(turns)]

    def _start(self, db: sa.Connection, job_id: str, owner: str, now: float) -> Job:
        started = (
            JOBS.update()
            .where(JOBS.c.id == job_id)
            .values(
                status="running", worker=self.worker, attempt=JOBS.c.attempt + 1, started_at=now,
                lease_until=now + self.settings.lease_s, stage=None, eta_s=None,
            )
            .returning(*JOBS.c)
        )  # fmt: skip
        job = Job.from_row(db.execute(started).one())
        self.store.insert_or_replace(db, SHARES, {"owner": owner, "served_at": now})
        note(db, job_id, "video.in_progress", now, status="in_progress", attempt=job.attempt)
        return job

    def _reap(self, db: sa.Connection, now: float) -> None:
        silent = sa.select(JOBS).where(JOBS.c.status == "running", JOBS.c.lease_until < now)
        for row in db.execute(silent.with_for_update(skip_locked=True)).all():
            if row.cancel_requested or row.is_deleted:
                ended = {"status": "cancelled", "worker": None, "lease_until": None, "ended_at": now}
                expires = {"expires_at": now + self.settings.keep_s}
                db.execute(JOBS.update().where(JOBS.c.id == row.id).values(**ended, **expires))
                note(db, row.id, "video.cancelled", now, status="cancelled")
                continue
            message = f"its worker died, {row.attempt} times in all; the video may be too large for the machine"
            self._give_up_or_retry(db, row.id, row.attempt, row.max_attempts, now, "worker_lost", message, again=True)

    def _give_up_or_retry(
        self,
        db: sa.Connection,
        job_id: str,
        attempt: int,
        most: int,
        now: float,
        code: str,
        message: str,
        *,
        again: bool,
    ) -> None:
        values: dict[str, Any] = {"worker": None, "lease_until": None, "eta_s": None}
        if again and attempt < most:
            wait_s = self.settings.backoff_s * 2 ** (attempt - 1)
            values |= {"status": "queued", "not_before": now + wait_s}
            note(db, job_id, "video.queued", now, status="queued", after=code)
        else:
            values |= {"status": "failed", "error_code": code, "error_message": message, "ended_at": now}
            values["expires_at"] = now + self.settings.keep_s
            note(db, job_id, "video.failed", now, status="failed", error={"code": code, "message": message})
        db.execute(JOBS.update().where(JOBS.c.id == job_id).values(**values))

    def _end(self, db: sa.Connection, job: Job, now: float, *conditions: Any, **values: Any) -> bool:
        ended = {"worker": None, "lease_until": None, "ended_at": now, "expires_at": now + self.settings.keep_s}
        update = JOBS.update().where(*self._mine(job), *conditions).values(**ended, **values)
        if not db.execute(update).rowcount:
            return False
        db.execute(EVENTS.delete().where(EVENTS.c.job_id == job.id, EVENTS.c.type == "video.preview"))
        return True

    def _count(self, db: sa.Connection, job: Job, result: Result, now: float) -> None:
        """Count what a finished job took."""
        began = job.started_at or now
        figures = [("queue_wait_seconds", job.model, began - job.created_at)]
        figures += [("generation_seconds", job.model, now - began), ("video_seconds", job.model, result.seconds)]
        figures += [("stage_seconds", stage, took_s) for stage, took_s in result.stage_s.items()]
        if result.spec.steps and "denoise" in result.stage_s:
            figures += [("denoise_step_seconds", job.model, result.stage_s["denoise"] / result.spec.steps)]
        if result.peak_memory_mb is not None:
            figures += [("memory_peak_bytes", job.model, 2**20 * result.peak_memory_mb)]
        for name, label, value in figures:
            add_figure(self.store, db, name, label, max(0.0, value))

    def _mine(self, job: Job) -> tuple[Any, ...]:
        """The job, only while this worker has it, in this attempt."""
        held = (JOBS.c.worker == self.worker, JOBS.c.attempt == job.attempt)
        return (JOBS.c.id == job.id, JOBS.c.status == "running", *held)

    def _lost(self, job: Job) -> LeaseLost:
        return LeaseLost(f"{job.id} is no longer in the hands of {self.worker} (attempt {job.attempt})")

    def _require_wanted(self, job: Job, cancel_requested: bool) -> None:
        if cancel_requested:
            raise JobCancelled(f"{job.id} was cancelled")
