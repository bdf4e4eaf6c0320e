"""The queue as those see it who want videos: submit, look, cancel, delete."""

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from kinema.errors import JobNotFound
from kinema.serve.job import ENDED, Event, Job, KeyReused, NewJob, QueueFull
from kinema.serve.outbox import EVENT_TYPES, announce
from kinema.serve.settings import Limits, QueueSettings
from kinema.serve.store import EVENTS, IDEMPOTENCY, INPUTS, JOBS, WORKERS, Store, note_inputs
from kinema.serve.throttle import Rate

CANCELLING = "video.cancelling"
"""The event that says that a running job is to stop."""

# Statements that are asked again and again are built once; building one takes as long as asking it.
_BY_ID = sa.select(JOBS).where(JOBS.c.id == sa.bindparam("id"), JOBS.c.is_deleted.is_(False))
_BY_ID_AND_OWNER = _BY_ID.where(JOBS.c.owner == sa.bindparam("owner"))
_BEFORE = sa.or_(
    JOBS.c.priority > sa.bindparam("priority"),
    sa.and_(JOBS.c.priority == sa.bindparam("priority"), JOBS.c.seq < sa.bindparam("seq")),
)
_POSITION = sa.select(sa.func.count()).where(
    JOBS.c.status == "queued", JOBS.c.model == sa.bindparam("model"), _BEFORE
)  # fmt: skip
_REPEATED = sa.select(IDEMPOTENCY).where(
    IDEMPOTENCY.c.owner == sa.bindparam("owner"), IDEMPOTENCY.c.key == sa.bindparam("key")
)
_WAITING = sa.select(sa.func.count()).select_from(JOBS).where(JOBS.c.status == "queued")
_NEW_JOB = JOBS.insert().returning(*JOBS.c)
_NEW_EVENT = EVENTS.insert()

Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """How a request can be recognised when its client sends it again."""

    body_sha256: str
    """Hash of the canonical request."""
    key: str | None = None
    """The idempotency key that the client chose."""
    retry: int = 0
    """Which retry the client says this is; 0 for the first."""

    @property
    def name(self) -> str:
        """Under what it is remembered."""
        return f"key:{self.key}" if self.key else f"body:{self.body_sha256}"


def body_hash(body: Any) -> str:
    """Tell one request from others, however its JSON was written."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False, default=str).encode()).hexdigest()


def note(db: sa.Connection, job_id: str, kind: str, at: float, **data: Any) -> None:
    """Write down that something happened to a job, in the transaction that makes it happen."""
    row = {"job_id": job_id, "type": kind, "at": at, "data": json.dumps(data, ensure_ascii=False)}
    db.execute(_NEW_EVENT, row)
    if kind in EVENT_TYPES:
        announce(db, job_id, kind, at)


class Jobs:
    """The queue, for servers. `owner=None` means anybody's jobs; a job of another owner is one that is not there."""

    def __init__(self, store: Store, settings: QueueSettings | None = None, clock: Clock = time.time) -> None:
        self.store = store
        self.settings = settings or QueueSettings()
        self.clock = clock
        self._paces: dict[str, tuple[float, float | None, int]] = {}

    def submit(self, new: NewJob, limits: Limits | None = None, repeat: Repeat | None = None) -> tuple[Job, bool]:
        """Queue a job; returns it, and whether it is new rather than one that the same request made before.

        Raises QueueFull when the queue or the owner's share takes no more, and what `repeated` raises. Once this
        returns, the job survives whatever happens.
        """
        now = self.clock()
        try:
            with self.store.write() as db:
                known = self._repeated(db, new.owner, repeat, now) if repeat else None
                if known is not None:
                    return known, False
                self._require_room(db, new, limits or Limits(), now)
                job_id = f"video_{uuid.uuid4().hex}"
                row = db.execute(
                    _NEW_JOB,
                    {
                        "id": job_id, "owner": new.owner, "kind": new.kind, "model": new.spec.model, "status": "queued",
                        "priority": new.priority, "spec": new.spec.to_json(),
                        "request": json.dumps(new.request, ensure_ascii=False), "parent": new.parent,
                        "created_at": now, "not_before": now, "max_attempts": self.settings.max_attempts,
                        "video_s": new.video_s,
                    },
                ).one()  # fmt: skip
                note_inputs(db, job_id, new.spec.files(), now)
                note(db, job_id, "video.queued", now, status="queued")
                if repeat:
                    self._remember(db, new.owner, repeat, job_id, now)
                return Job.from_row(row), True
        except QueueFull:
            if repeat and not repeat.key:
                with self.store.write() as db:
                    self._remember(db, new.owner, repeat, None, now)
            raise

    def repeated(self, owner: str, repeat: Repeat) -> Job | None:
        """The job that the same request made before, if this one can be a repetition.

        Raises KeyReused when the idempotency key belongs to another request, JobNotFound when the job is there no more:
        what was deleted is not made again by a late retry.
        """
        if repeat.key is None and repeat.retry == 0:
            return None
        with self.store.read() as db:
            return self._repeated(db, owner, repeat, self.clock())

    def get(self, job_id: str, owner: str | None = None) -> Job:
        """Look at a job. Raises JobNotFound."""
        with self.store.read() as db:
            return self._get(db, job_id, owner)

    def look(self, job_id: str, owner: str | None = None) -> tuple[Job, int]:
        """Look at a job and its `position`, in one question. Raises JobNotFound."""
        with self.store.read() as db:
            job = self._get(db, job_id, owner)
            return job, self._position(db, job)

    def page(
        self,
        owner: str | None = None,
        *,
        after: str | None = None,
        limit: int = 20,
        order: Literal["asc", "desc"] = "desc",
    ) -> tuple[list[Job], bool]:
        """List videos by the time they came, `limit` of them after the one called `after`; and whether there are more.

        Raises JobNotFound when there is no job `after`.
        """
        query = sa.select(JOBS).where(JOBS.c.is_deleted.is_(False), JOBS.c.kind != "image")
        if owner is not None:
            query = query.where(JOBS.c.owner == owner)
        with self.store.read() as db:
            if after is not None:
                seq = self._get(db, after, owner).seq
                query = query.where(JOBS.c.seq > seq if order == "asc" else JOBS.c.seq < seq)
            query = query.order_by(JOBS.c.seq.asc() if order == "asc" else JOBS.c.seq.desc()).limit(limit + 1)
            jobs = [Job.from_row(row) for row in db.execute(query)]
        return jobs[:limit], len(jobs) > limit

    def cancel(self, job_id: str, owner: str | None = None) -> Job:
        """Stop a job: at once when it waits, at its next step when it runs; one that has ended stays as it is."""
        now = self.clock()
        with self.store.write() as db:
            self._get(db, job_id, owner)
            self._cancel(db, job_id, now)
            return self._get(db, job_id, owner)

    def delete(self, job_id: str, owner: str | None = None) -> Job:
        """Stop a job if it has not ended, and let it and its files go; from now on it is not there.

        Its row goes once no worker can touch it any more (`sweep`), so no late worker can bring it back.
        """
        now = self.clock()
        with self.store.write() as db:
            job = self._get(db, job_id, owner)
            self._cancel(db, job_id, now)
            db.execute(JOBS.update().where(JOBS.c.id == job_id).values(is_deleted=True))
            note(db, job_id, "video.deleted", now)
            return job

    def retry(self, job_id: str, owner: str | None = None) -> Job:
        """Queue a failed or cancelled job again, with all its attempts; any other stays as it is."""
        now = self.clock()
        with self.store.write() as db:
            self._get(db, job_id, owner)
            again = (
                JOBS.update()
                .where(JOBS.c.id == job_id, JOBS.c.status.in_(("failed", "cancelled")))
                .values(
                    status="queued", not_before=now, max_attempts=JOBS.c.attempt + self.settings.max_attempts,
                    cancel_requested=False, error_code=None, error_message=None, ended_at=None, progress=0, eta_s=None,
                    expires_at=None,
                )
            )  # fmt: skip
            if db.execute(again).rowcount:
                note(db, job_id, "video.queued", now, status="queued")
            return self._get(db, job_id, owner)

    def events(self, job_id: str, owner: str | None = None, after: int = 0) -> list[Event]:
        """What has happened to a job after the event `after`, oldest first. Raises JobNotFound."""
        with self.store.read() as db:
            self._get(db, job_id, owner)
            query = sa.select(EVENTS).where(EVENTS.c.job_id == job_id, EVENTS.c.seq > after).order_by(EVENTS.c.seq)
            return [
                Event(seq=row.seq, job_id=row.job_id, type=row.type, at=row.at, data=json.loads(row.data))
                for row in db.execute(query)
            ]

    def position(self, job: Job) -> int:
        """How many jobs stand before a waiting one; 0 for the next, and for one that does not wait."""
        if job.status != "queued":
            return 0
        with self.store.read() as db:
            return self._position(db, job)

    def eta_s(self, job: Job, position: int | None = None) -> float | None:
        """Seconds until a job is done, as far as its own steps or the jobs before it tell.

        `position` saves asking for it again.
        """
        if job.status == "running" and job.eta_s is not None:
            return job.eta_s
        if job.has_ended:
            return None
        mean_s, workers = self._pace(job.model)
        if mean_s is None:
            return None
        return mean_s * (1 + (self.position(job) if position is None else position) / max(1, workers))

    def rate(self, owner: str, limit: int) -> Rate:
        """How many of the jobs that an owner may ask for within a minute are left."""
        now = self.clock()
        lately = sa.select(sa.func.count(), sa.func.max(JOBS.c.created_at)).where(
            JOBS.c.owner == owner, JOBS.c.created_at > now - 60
        )
        with self.store.read() as db:
            count, newest = db.execute(lately).one()
        return Rate(limit=limit, left=max(0, limit - count), reset_s=max(0.0, newest + 60 - now) if count else 0.0)

    def _pace(self, model: str) -> tuple[float | None, int]:
        """How long a job took lately, and how many workers there are; asked for once a second at most."""
        now = self.clock()
        known = self._paces.get(model)
        if known is not None and now - 1 < known[0] <= now:
            return known[1:]
        lately = (
            sa.select(JOBS.c.run_s)
            .where(JOBS.c.status == "completed", JOBS.c.model == model, JOBS.c.run_s.is_not(None))
            .order_by(JOBS.c.ended_at.desc())
            .limit(20)
        )
        with self.store.read() as db:
            times = [float(row.run_s) for row in db.execute(lately)]
            alive = WORKERS.c.seen_at > now - self.settings.lease_s
            workers = int(db.execute(sa.select(sa.func.count()).select_from(WORKERS).where(alive)).scalar_one())
        mean_s = sum(times) / len(times) if times else None
        self._paces[model] = (now, mean_s, workers)
        return mean_s, workers

    def counts(self) -> dict[str, int]:
        """How many jobs there are of each status."""
        query = sa.select(JOBS.c.status, sa.func.count()).where(JOBS.c.is_deleted.is_(False)).group_by(JOBS.c.status)
        with self.store.read() as db:
            return {status: int(count) for status, count in db.execute(query).all()}

    def _get(self, db: sa.Connection, job_id: str, owner: str | None) -> Job:
        row = db.execute(_BY_ID if owner is None else _BY_ID_AND_OWNER, {"id": job_id, "owner": owner}).first()
        if row is None:
            raise JobNotFound(f"there is no video {job_id!r}; list what there is with GET /v1/videos")
        return Job.from_row(row)

    def _position(self, db: sa.Connection, job: Job) -> int:
        if job.status != "queued":
            return 0
        row = {"model": job.model, "priority": job.priority, "seq": job.seq}
        return int(db.execute(_POSITION, row).scalar_one())

    def _cancel(self, db: sa.Connection, job_id: str, now: float) -> None:
        waiting = JOBS.update().where(JOBS.c.id == job_id, JOBS.c.status == "queued")
        stopped = waiting.values(status="cancelled", ended_at=now, expires_at=now + self.settings.keep_s)
        if db.execute(stopped).rowcount:
            note(db, job_id, "video.cancelled", now, status="cancelled")
            return
        runs = sa.and_(JOBS.c.id == job_id, JOBS.c.status == "running", JOBS.c.cancel_requested.is_(False))
        if db.execute(JOBS.update().where(runs).values(cancel_requested=True)).rowcount:
            note(db, job_id, CANCELLING, now)

    def _repeated(self, db: sa.Connection, owner: str, repeat: Repeat, now: float) -> Job | None:
        row = db.execute(_REPEATED, {"owner": owner, "key": repeat.name}).first()
        lasts_s = self.settings.idempotency_s if repeat.key else self.settings.retry_window_s
        if row is None or row.at < now - lasts_s:
            return None
        if repeat.key is None and (repeat.retry == 0 or row.job_id is None):
            return None  # a second order of the same thing; or the first was refused, so there is nothing to repeat
        if row.body_sha256 != repeat.body_sha256:
            raise KeyReused("this Idempotency-Key was used with another request; choose a new key for a new request")
        found = db.execute(_BY_ID, {"id": row.job_id}).first()
        if found is None:
            raise JobNotFound(
                "the video that this request made was deleted or has expired; "
                "send another Idempotency-Key to have it made again"
            )
        return Job.from_row(found)

    def _remember(self, db: sa.Connection, owner: str, repeat: Repeat, job_id: str | None, now: float) -> None:
        row = {"owner": owner, "key": repeat.name, "body_sha256": repeat.body_sha256, "job_id": job_id, "at": now}
        self.store.insert_or_replace(db, IDEMPOTENCY, row)

    def _require_room(self, db: sa.Connection, new: NewJob, limits: Limits, now: float) -> None:
        def count(*conditions: Any) -> int:
            return int(db.execute(sa.select(sa.func.count()).select_from(JOBS).where(*conditions)).scalar_one())

        def total(column: Any, *conditions: Any) -> float:
            return float(
                db.execute(sa.select(sa.func.coalesce(sa.func.sum(column), 0)).where(*conditions)).scalar_one()
            )

        mine = JOBS.c.owner == new.owner
        waiting = int(db.execute(_WAITING).scalar_one())
        if waiting >= self.settings.max_queued:
            raise QueueFull(f"{waiting} videos are waiting already", code="queue_full", retry_after_s=5.0)
        if limits.max_jobs is not None and count(mine, JOBS.c.status.in_(("queued", "running"))) >= limits.max_jobs:
            raise QueueFull(
                f"you have {limits.max_jobs} videos waiting or running, which is your limit",
                code="too_many_jobs",
                retry_after_s=5.0,
            )
        rate = limits.requests_per_minute
        if rate is not None and count(mine, JOBS.c.created_at > now - 60) >= rate:
            message = f"you have asked for {rate} videos within a minute, which is your limit"
            raise QueueFull(message, code="rate_limit_exceeded", retry_after_s=10.0)
        if limits.video_s_per_day is not None:
            used = total(JOBS.c.video_s, mine, JOBS.c.created_at > now - 86400)
            if used + new.video_s > limits.video_s_per_day:
                message = f"{used:g} of your {limits.video_s_per_day:g} seconds of video in 24 hours are used"
                raise QueueFull(message, code="insufficient_quota", retry_after_s=None)
        if limits.stored_bytes is not None:
            stored = total(JOBS.c.stored_bytes, mine, JOBS.c.is_deleted.is_(False))
            if stored >= limits.stored_bytes:
                message = f"your videos take {stored:.0f} bytes, your limit is {limits.stored_bytes}; delete some"
                raise QueueFull(message, code="insufficient_quota", retry_after_s=None)


def sweepable(store: Store, now: float, limit: int = 100) -> Sequence[str]:
    """Jobs whose files and rows can go: deleted or expired, and out of every worker's hands."""
    gone = sa.or_(JOBS.c.is_deleted.is_(True), JOBS.c.expires_at < now)
    query = sa.select(JOBS.c.id).where(JOBS.c.status.in_(ENDED), gone).limit(limit)
    with store.read() as db:
        return list(db.execute(query).scalars())


def abandoned(store: Store, folders: Sequence[str]) -> list[str]:
    """Those of these folders, listed before this is called, that belong to no job: a job's row is older than its files.

    A worker that was late leaves one when it is killed between writing and hearing that the job is gone.
    """
    left: list[str] = []
    for start in range(0, len(folders), 500):
        ids = {folder.rpartition("/")[2]: folder for folder in folders[start : start + 500]}
        with store.read() as db:
            known = set(db.execute(sa.select(JOBS.c.id).where(JOBS.c.id.in_(ids))).scalars())
        left += [folder for job_id, folder in ids.items() if job_id not in known]
    return left


def forget(store: Store, job_id: str, now: float, settings: QueueSettings) -> None:
    """Remove a job's row and its events, and what is known of old requests; its files must be gone already."""
    with store.write() as db:
        db.execute(EVENTS.delete().where(EVENTS.c.job_id == job_id))
        db.execute(INPUTS.delete().where(INPUTS.c.job_id == job_id))
        db.execute(JOBS.delete().where(JOBS.c.id == job_id))
        oldest = now - max(settings.idempotency_s, settings.retry_window_s)
        db.execute(IDEMPOTENCY.delete().where(IDEMPOTENCY.c.at < oldest))
