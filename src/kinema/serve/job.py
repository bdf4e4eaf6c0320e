"""One job as the queue knows it, and what can become of it.

queued -> running -> completed, or failed, or cancelled; back to queued when its worker dies or asks for another try.
"""

import functools
import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from kinema.config import from_json, to_dict
from kinema.errors import JobError
from kinema.spec import VideoSpec

Status = Literal["queued", "running", "completed", "failed", "cancelled"]
Kind = Literal["create", "remix", "edit", "extend", "image"]

ENDED: tuple[Status, ...] = ("completed", "failed", "cancelled")


class QueueFull(JobError):  # noqa: N818 - an answer, not a fault
    """The queue, or the share of one owner, takes no more just now; `retry_after_s` says when to ask again."""

    def __init__(self, message: str, *, code: str, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s
        """None: asking again will not help before the quota is renewed."""


class KeyReused(JobError):  # noqa: N818 - likewise
    """The idempotency key was used before, with another request."""


class LeaseLost(JobError):  # noqa: N818 - likewise
    """Another worker has the job now, or nobody should: what this one made must not be published."""


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """One file of a finished job."""

    name: str
    """Where it is in the artefact store."""
    num_bytes: int
    media_type: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a finished job left."""

    artefacts: dict[str, Artefact]
    """By variant: `video`, `thumbnail`, `spritesheet`; `image` too for a job that was to make one."""
    spec: VideoSpec
    """The request with every default filled in."""
    seconds: float
    """Length of the video."""
    resumed_step: int = 0
    """The denoising step at which the last worker took over; 0 when it began from noise."""
    peak_memory_mb: float | None = None
    """The most memory that the worker has needed so far, on its device."""
    stage_s: dict[str, float] = field(default_factory=dict)
    """Seconds that each stage took, in the last attempt."""

    @property
    def num_bytes(self) -> int:
        """Size of all files together."""
        return sum(artefact.num_bytes for artefact in self.artefacts.values())


@dataclass(frozen=True, kw_only=True)
class Job:
    """A row of the queue; it does not change, ask for it again."""

    seq: int
    id: str
    owner: str
    kind: Kind
    model: str
    status: Status
    priority: int
    spec: VideoSpec
    request: dict[str, Any]
    parent: str | None
    created_at: float
    not_before: float
    started_at: float | None
    ended_at: float | None
    expires_at: float | None
    attempt: int
    """How often it was started; also the fencing token of the worker that has it."""
    max_attempts: int
    worker: str | None
    lease_until: float | None
    cancel_requested: bool
    is_deleted: bool
    stage: str | None
    step: int
    total: int
    progress: int
    """Percent."""
    eta_s: float | None
    error_code: str | None
    error_message: str | None
    result: Result | None
    run_s: float | None
    video_s: float
    stored_bytes: int

    @classmethod
    def from_row(cls, row: Any) -> "Job":
        """Read a row of the table of jobs."""
        values = dict(row._mapping)
        values["spec"] = _spec(values["spec"])
        values["request"] = json.loads(values["request"])
        values["result"] = _result(values["result"]) if values["result"] else None
        return cls(**values)

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ENDED


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job that someone wants done."""

    owner: str = ""
    kind: Kind = "create"
    spec: VideoSpec
    request: dict[str, Any] = field(default_factory=dict)
    parent: str | None = None
    priority: int = 0
    video_s: float = 0.0
    """Length of the video as asked for, counted against the owner's quota."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a job; `seq` grows, so a reader can go on where it stopped."""

    seq: int
    job_id: str
    type: str
    at: float
    data: dict[str, Any]


def made_by(name: str) -> str | None:
    """The id of the job whose video is kept under a name in the artefact store; None for what somebody sent."""
    found = re.fullmatch(r"jobs/([^/]+)/attempt-\d+/video(\.\w+)?", name)
    return found and found[1]


@functools.lru_cache(512)
def _spec(text: str) -> VideoSpec:
    """Read a request; those who wait for a video ask for it again and again."""
    return VideoSpec.from_json(text)


@functools.lru_cache(512)
def _result(text: str) -> Result:
    """Read a result, likewise; nobody changes it."""
    return from_json(Result, text)


def result_json(result: Result) -> str:
    """A result as JSON."""
    return json.dumps(to_dict(result), ensure_ascii=False)
