"""The process that makes the videos: weights stay warm between jobs, and a job outlives any worker."""

import contextlib
import dataclasses
import errno
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import sqlalchemy as sa
from PIL import Image

from kinema.config import to_dict
from kinema.diffusion import SCHEDULES, SOLVERS
from kinema.errors import DeviceMemoryError, JobCancelled, KinemaError, MediaError, SpecError
from kinema.evaluate.memory import peak_memory_bytes
from kinema.generate.condition import nature_of
from kinema.generate.progress import Progress
from kinema.generate.times import card_frames
from kinema.log import CONTEXT
from kinema.media import Frame, Spread, VideoWriter, contact_sheet, probe, write_video
from kinema.provenance import label
from kinema.provenance.c2pa import Ingredient
from kinema.provenance.mark import Marker, Marks
from kinema.provenance.statement import carried_statement
from kinema.scratch import scratch_folder
from kinema.serve.artefacts import Artefacts
from kinema.serve.capabilities import Capabilities
from kinema.serve.files import sweep_files
from kinema.serve.frame_check import FrameCheck, FrameRefused, load_check, require_allowed
from kinema.serve.job import Artefact, Job, Kind, LeaseLost, Result, made_by
from kinema.serve.jobs import abandoned, forget, sweepable
from kinema.serve.leases import Leases
from kinema.serve.pictures import sweep_pictures
from kinema.serve.preview import Previewer
from kinema.serve.settings import QueueSettings
from kinema.serve.steps import ResumablePipeline, StepLog, steps_folder
from kinema.serve.store import Store
from kinema.serve.tracing import span
from kinema.spec import Storyboard, VideoSpec

logger = logging.getLogger(__name__)

IDLE_S = 0.2
SWEEP_S = 30.0
SEARCH_S = 600.0
"""Time between two searches for folders without a job, which a worker leaves that is killed after it was late."""

PROGRESS_S = 0.2
"""Progress is written at most so often; whether to go on is asked at every step."""

FULL_S = 5.0
"""Pause after a disk was full; the job that met it loses no attempt."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_PERCENT = {"text": (0, 2), "image": (2, 4), "denoise": (4, 90), "decode": (90, 99)}
SHEET_FRAMES = 16
"""How many frames of a video its sheet shows, and a check of its frames looks at."""

_SHEET_COLUMNS = 4


class Worker:
    """Takes jobs of some models from a store, one after the other, until `stop` is set or the process `parent` ends."""

    def __init__(
        self,
        store: Store,
        artefacts: Artefacts,
        models: tuple[str, ...],
        *,
        settings: QueueSettings | None = None,
        device: str | None = None,
        dtype: str | None = None,
        memory: str | None = None,
        keep_steps_s: float = 1.0,
        parent: int | None = None,
        marks: Marks | None = None,
        check_frames: str | None = None,
    ) -> None:
        self.store, self.artefacts, self.models = store, artefacts, models
        self.settings = settings or QueueSettings()
        self.leases = Leases(store, f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}", self.settings)
        self.stop = threading.Event()
        self._device, self._dtype, self._memory, self._keep_steps_s = device, dtype, memory, keep_steps_s
        self._pipelines: dict[str, ResumablePipeline] = {}
        self._swept_at = self._searched_at = 0.0
        self._parent = parent
        self._marks = Marks() if marks is None else marks
        self._check = None if check_frames is None else load_check(check_frames)

    def load(self) -> None:
        """Load all models, and tell the store what they can make."""
        if missing := Marker("video.mp4", {}, self._marks).missing:
            logger.warning("videos are marked in part: %s", missing)
        for name in self.models:
            pipeline = ResumablePipeline.load(name, self._device, self._dtype, memory=self._memory)
            assert isinstance(pipeline, ResumablePipeline)
            self._pipelines[name] = pipeline
            solvers = SOLVERS if pipeline.model.causal is None else SCHEDULES
            self.leases.offer(name, json.dumps(to_dict(_abilities(name, pipeline, tuple(solvers)))))
            logger.info("loaded %s on %s", name, pipeline.device)

    def run(self) -> None:
        """Work until `stop` is set; on an exception that ends the process, the job in hand is given back."""
        seen_at = 0.0
        try:
            while not self.stop.is_set() and self._parent in (None, os.getppid()):
                try:
                    if time.monotonic() - seen_at > self.settings.lease_s / 3:
                        self.leases.alive(self.models)
                        seen_at = time.monotonic()
                    self.sweep()
                    if not self.work_once():
                        self.stop.wait(IDLE_S)
                except sa.exc.OperationalError as error:
                    logger.warning("the store is away (%s); trying again", error.orig)
                    self.stop.wait(1.0)
        finally:
            self.leases.gone()

    def work_once(self) -> bool:
        """Take one job and bring it to an end; False when there is none."""
        job = self.leases.claim(self.models)
        if job is None:
            return False
        about = CONTEXT.set({"job_id": job.id})
        logger.info("%s: attempt %d", job.id, job.attempt)
        try:
            with span("generate_video", job.request.get("traceparent"), **_attributes(job)):
                self._make_and_publish(job)
        except LeaseLost as error:
            logger.warning("%s", error)
            self._remove(f"jobs/{job.id}/attempt-{job.attempt}")
        except JobCancelled:
            self._settle(lambda: self.leases.cancelled(job))
        except (SpecError, MediaError) as error:
            message = str(error)
            self._settle(lambda: self.leases.failed(job, "invalid_request", message, again=False))
        except FrameRefused as error:
            message = str(error)
            self._settle(lambda: self.leases.failed(job, "moderation_blocked", message, again=False))
        except DeviceMemoryError as error:
            message = str(error)
            self._settle(lambda: self.leases.failed(job, "out_of_memory", message, again=False))
        except (KeyboardInterrupt, SystemExit):
            self.leases.give_back(job)
            raise
        except OSError as error:
            if error.errno not in _FULL:
                self._go_wrong(job, error)
                return True
            logger.warning("%s: %s; it is tried again when there is room", job.id, error)
            self._settle(lambda: self.leases.give_back(job))
            self.stop.wait(FULL_S)
        except Exception as error:
            self._go_wrong(job, error)
        finally:
            CONTEXT.reset(about)
        return True

    def _go_wrong(self, job: Job, error: Exception) -> None:
        logger.error("%s went wrong", job.id, exc_info=error)
        message = str(error) if isinstance(error, KinemaError) else f"{type(error).__name__}: {error}"
        self._settle(lambda: self.leases.failed(job, "server_error", message, again=True))

    def sweep(self) -> None:
        """Remove the files and rows of jobs that were deleted or have expired; what goes wrong waits for the next time.

        Raises sqlalchemy's OperationalError when the database is away.
        """
        if time.monotonic() - self._swept_at < SWEEP_S:
            return
        self._swept_at = time.monotonic()
        now = self.leases.clock()
        for job_id in sweepable(self.store, now):
            if self._remove(f"jobs/{job_id}"):
                forget(self.store, job_id, now, self.settings)
        sweep_files(self.store, self._remove, now)
        sweep_pictures(self.store, self._remove, now)
        if time.monotonic() - self._searched_at >= SEARCH_S:
            self._searched_at = time.monotonic()
            for folder in abandoned(self.store, self.artefacts.names("jobs")):
                self._remove(folder)

    def _remove(self, folder: str) -> bool:
        """Remove files that nobody needs; False, with a line in the log, when something of them is left."""
        try:
            self.artefacts.remove(folder)
        except Exception as error:  # a bucket's errors are its library's own, and none is worth a worker
            logger.warning("%s cannot be removed yet: %s: %s", folder, type(error).__name__, error)
            return False
        return True

    def _make_and_publish(self, job: Job) -> None:
        pipeline = self._pipelines[job.model]
        with scratch_folder() as folder, _Heartbeat(self.leases, job, self.models):
            spec, names = self._inputs(job, folder)
            resolved = pipeline.resolve(spec)
            record = pipeline.record(resolved).by_content()  # places differ from worker to worker
            steps = steps_folder(job.id, record)
            log = StepLog(self.artefacts, steps, self._keep_steps_s)
            marker = self._marker(resolved, record.to_metadata())
            report = _Report(self.leases, job, _count_runs(resolved, pipeline))
            pipeline.steps = log
            if self._check is None:  # or what it refuses would have been seen
                pipeline.previewer = Previewer(pipeline.model.vae, report.show)
            try:
                files = _write(folder, pipeline.stream(resolved, report), resolved, marker, job.kind, self._check)
            except (KeyboardInterrupt, SystemExit):
                log.flush()  # whoever takes the job next goes on from here
                raise
            finally:
                pipeline.steps = pipeline.previewer = None
            result = self._store(job, files, resolved.with_files(names), log.num_replayed, report)
            self._insist(lambda: self.leases.publish(job, result))
        self._remove(steps)
        logger.info("%s: completed", job.id)

    def _inputs(self, job: Job, folder: Path) -> tuple[VideoSpec, dict[str, str]]:
        """The request with its files on this machine, and their names in the store by these places.

        Raises SpecError for one that has been removed.
        """
        places = {}
        for i, name in enumerate(dict.fromkeys(job.spec.files())):
            stem = made_by(name) or f"upload-{i + 1}"  # what the signature calls it
            places[name] = str(self._fetch(name, folder / f"{stem}{Path(name).suffix}"))
        names = {place: name for name, place in places.items()}
        return job.spec.with_files(places), names

    def _fetch(self, name: str, target: Path) -> Path:
        try:
            return self.artefacts.fetch(name, target)
        except FileNotFoundError:
            what = "video" if target.suffix == ".mp4" else "picture"
            raise SpecError(f"the {what} that this starts from is gone: it was deleted or has expired") from None

    def _marker(self, spec: VideoSpec, metadata: dict[str, str]) -> Marker:
        """What marks the video of a job. Raises SpecError for one that is too small for its label."""
        if self._marks.label is not None:
            label.box(spec.shape.height, spec.shape.width, self._marks.label)
        files = [Path(path) for path in spec.files()]
        parent = next((path for path in files if path.suffix == ".mp4"), None)
        ingredients = [] if parent is None else [_ingredient(parent, "parentOf")]
        ingredients += [_ingredient(path, "inputTo") for path in files if path != parent]
        return Marker("video.mp4", metadata, self._marks, ingredients)

    def _store(
        self, job: Job, files: dict[str, tuple[Path, str]], spec: VideoSpec, resumed: int, report: "_Report"
    ) -> Result:
        """Store the files under names that only this attempt uses: a late worker can overwrite nothing."""
        place = f"jobs/{job.id}/attempt-{job.attempt}"
        stored = {
            variant: Artefact(
                name=f"{place}/{path.name}", num_bytes=self.artefacts.put(path, f"{place}/{path.name}"), media_type=kind
            )
            for variant, (path, kind) in files.items()
        }
        info = probe(files["video"][0])
        return Result(
            artefacts=stored,
            spec=spec,
            seconds=round((info.frames - 1) / info.fps, 6),
            resumed_step=resumed,
            stage_s=report.stage_s,
            peak_memory_mb=round(peak_memory_bytes(self._pipelines[job.model].device) / 2**20, 1),
        )

    def _settle(self, change: Callable[[], None]) -> None:
        """Tell the store how a job ended; if that is no longer ours to say, leave it."""
        try:
            self._insist(change)
        except LeaseLost as error:
            logger.warning("%s", error)

    def _insist(self, change: Callable[[], None]) -> None:
        """Tell the store something, as often as it takes while the database is away."""
        wait_s = 0.5
        while True:
            try:
                return change()
            except sa.exc.OperationalError as error:
                logger.warning("the store is away (%s); the result waits", error.orig)
                time.sleep(wait_s)
                wait_s = min(5.0, 2 * wait_s)


def _ingredient(path: Path, relation: Literal["parentOf", "inputTo"]) -> Ingredient:
    """A file that goes into a video, with what it said of its origin before it was stored as a clean copy."""
    statement = carried_statement(path) if path.suffix == ".mp4" else None
    return Ingredient(path=path, relation=relation, statement=statement)


def _attributes(job: Job) -> dict[str, str | int]:
    """What a trace says about a job."""
    return {
        "gen_ai.operation.name": "generate_video", "gen_ai.request.model": job.model, "kinema.job.id": job.id,
        "kinema.job.kind": job.kind, "kinema.job.attempt": job.attempt,
    }  # fmt: skip


def _abilities(name: str, pipeline: ResumablePipeline, solvers: tuple[str, ...]) -> Capabilities:
    """What a loaded model can make."""
    nature = dataclasses.asdict(nature_of(pipeline.model))
    return Capabilities(name=name, defaults=pipeline.model.defaults, stride=pipeline.stride, solvers=solvers, **nature)


def _count_runs(spec: VideoSpec, pipeline: ResumablePipeline) -> int:
    """How often the model runs for a resolved request: a storyboard is made span by span, but block by block in one."""
    is_spans = isinstance(spec.edit, Storyboard) and pipeline.model.causal is None
    return len(card_frames(spec, pipeline.stride)) if is_spans else 1


class _Report:
    """Writes down how far a job is; raises LeaseLost or JobCancelled at the step after the job is lost or cancelled."""

    def __init__(self, leases: Leases, job: Job, num_runs: int = 1) -> None:
        self._leases, self._job, self._num_runs = leases, job, num_runs
        self._stage, self._written_at, self._run = "", 0.0, 0
        self._began_at = self._entered_at = time.monotonic()
        self._before_s: dict[str, float] = {}
        self.stage_s: dict[str, float] = {}
        """Seconds that each stage took, over all runs of the model."""

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        is_new = progress.stage != self._stage
        if is_new:
            self._run += progress.stage == "text" and bool(self._stage)
            self._stage, self._entered_at, self._before_s = progress.stage, now, dict(self.stage_s)
        self.stage_s[progress.stage] = round(self._before_s.get(progress.stage, 0.0) + now - self._entered_at, 3)
        try:
            if not is_new and progress.step < progress.total and now - self._written_at < PROGRESS_S:
                self._leases.check(self._job)
                return
            self._written_at = now
            low, high = _PERCENT[progress.stage]
            share = (low + (high - low) * progress.step / max(1, progress.total)) / 100
            share = (min(self._run, self._num_runs - 1) + share) / self._num_runs
            eta_s = progress.eta_s
            if self._num_runs > 1 and share:
                eta_s = (now - self._began_at) * (1 - share) / share
            self._leases.renew(
                self._job, stage=progress.stage, step=progress.step, total=progress.total, progress=int(100 * share),
                eta_s=None if eta_s is None else round(eta_s, 2),
            )  # fmt: skip
        except sa.exc.OperationalError as error:
            logger.warning("the store is away (%s); the work goes on", error.orig)

    def show(self, picture: str) -> None:
        """Let those who follow the job see what it is becoming; one more or less matters to nobody."""
        with contextlib.suppress(LeaseLost, sa.exc.OperationalError):  # the next report says so too
            self._leases.preview(self._job, picture)


class _Heartbeat:
    """Keeps a lease alive through steps that take longer than it lasts, and says that its worker is there."""

    def __init__(self, leases: Leases, job: Job, models: tuple[str, ...]) -> None:
        self._leases, self._job, self._models = leases, job, models
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._done.wait(self._leases.settings.lease_s / 3):
            try:
                self._leases.alive(self._models, self._job.id)
                self._leases.renew(self._job)
            except sa.exc.OperationalError as error:
                logger.warning("the store is away (%s)", error.orig)
            except (LeaseLost, JobCancelled):
                return  # the next step finds out for itself


def _write(
    folder: Path,
    pictures: Iterator[Frame],
    spec: VideoSpec,
    marker: Marker,
    kind: Kind,
    check: FrameCheck | None,
) -> dict[str, tuple[Path, str]]:
    """Write the video, its thumbnail and its sheet into a folder; returns path and media type by variant.

    Raises FrameRefused when the check of its frames says no.
    """
    assert spec.fps is not None
    video, thumbnail, sheet = folder / "video.mp4", folder / "thumbnail.webp", folder / "spritesheet.jpg"
    seen = Spread(SHEET_FRAMES)
    with VideoWriter(video, spec.fps, marker.metadata, seal=marker.seal) as writer:
        for frames in marker.frames(pictures):
            if len(frames):
                writer.write(frames)
            for frame in frames:
                last = frame
                seen.add(frame)
    chosen = seen.frames
    if check is not None:
        require_allowed(check, np.stack(chosen))
    Image.fromarray(seen.middle).save(thumbnail, "WEBP", quality=85)
    Image.fromarray(contact_sheet(chosen, _SHEET_COLUMNS)).save(sheet, "JPEG", quality=85)
    image = {}
    if kind == "image":
        still = folder / "image.png"  # its pixels are marked already
        write_video(still, last[None], spec.fps, marker.metadata, seal=marker.seal)
        image = {"image": (folder / "image.png", "image/png")}
    return {
        **image,
        "video": (video, "video/mp4"),
        "thumbnail": (thumbnail, "image/webp"),
        "spritesheet": (sheet, "image/jpeg"),
    }
