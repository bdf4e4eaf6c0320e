import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from kinema.generate.progress import Progress
from kinema.media import probe, read_image
from kinema.provenance.mark import UNMARKED
from kinema.serve.artefacts import Artefacts
from kinema.serve.capabilities import known_models
from kinema.serve.job import Job, NewJob
from kinema.serve.jobs import Jobs
from kinema.serve.leases import Leases
from kinema.serve.settings import QueueSettings
from kinema.serve.steps import ResumablePipeline
from kinema.serve.store import WORKERS, Store
from kinema.serve.worker import Worker
from kinema.spec import Card, Extend, Storyboard, VideoSpec

SETTINGS = QueueSettings(lease_s=1.0, backoff_s=0.05)


class Shop:
    """A store and a worker over the tiny model."""

    def __init__(self, store: Store, folder: Path, model: Path) -> None:
        self.store, self.model = store, str(model)
        self.artefacts = Artefacts(folder / "artefacts")
        self.jobs = Jobs(store, SETTINGS)
        self.worker = Worker(store, self.artefacts, (self.model,), settings=SETTINGS, keep_steps_s=0.0, marks=UNMARKED)
        self.worker.load()

    def add(self, **spec: object) -> Job:
        request = VideoSpec(prompt="a red ball", model=self.model, **spec)  # type: ignore[arg-type]
        return self.jobs.submit(NewJob(spec=request))[0]


@pytest.fixture
def shop(store: Store, tmp_path: Path, tiny_model: Path) -> Shop:
    return Shop(store, tmp_path, tiny_model)


class Died(BaseException):
    """What a test does to a worker in place of kill -9: nothing of it is caught, nothing is tidied up."""


def test_a_worker_keeps_to_the_memory_it_was_given(
    store: Store, tmp_path: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes = []
    for memory in ("4GB", "1MB"):
        artefacts = Artefacts(tmp_path / memory)
        worker = Worker(store, artefacts, (str(tiny_model),), settings=SETTINGS, memory=memory, marks=UNMARKED)
        worker.load()
        job = Jobs(store, SETTINGS).submit(NewJob(spec=VideoSpec(prompt="a red ball", model=str(tiny_model))))[0]
        assert worker.work_once()
        outcomes.append(Jobs(store, SETTINGS).get(job.id))
    assert "previews" not in caplog.text  # the decoder comes last: there is nothing to look with before
    fits, does_not = outcomes
    assert fits.status == "completed"
    assert does_not.status == "failed"
    assert "memory" in str(does_not.error_message)


def test_a_worker_makes_the_video_the_thumbnail_and_the_sheet(shop: Shop, tmp_path: Path) -> None:
    job = shop.add(seed=3)
    assert shop.worker.work_once()
    done = shop.jobs.get(job.id)
    assert (done.status, done.progress) == ("completed", 100)
    assert done.result is not None
    assert set(done.result.artefacts) == {"video", "thumbnail", "spritesheet"}
    video = shop.artefacts.fetch(done.result.artefacts["video"].name, tmp_path / "a.mp4")
    assert probe(video).frames == done.result.spec.frames
    assert shop.artefacts.read(done.result.artefacts["thumbnail"].name)[8:12] == b"WEBP"
    assert shop.artefacts.read(done.result.artefacts["spritesheet"].name)[:2] == b"\xff\xd8"
    stages = {event.data.get("stage") for event in shop.jobs.events(job.id)}
    assert {"text", "denoise", "decode"} <= stages
    assert not shop.worker.work_once()


def test_what_a_killed_worker_left_on_its_disk_is_removed_by_the_next(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    stream, seen = ResumablePipeline.stream, []

    def watched(*given: Any, **named: Any) -> Any:
        seen.append(list(temporary.iterdir()))
        if len(seen) == 1:  # as a kill leaves it: nothing is tidied up, and the lock is let go
            shutil.copytree(seen[0][0], temporary / "kinema-scratch-killed")
        return stream(*given, **named)

    monkeypatch.setattr(ResumablePipeline, "stream", watched)
    for _ in range(2):
        shop.add(steps=1)
        assert shop.worker.work_once()
    assert [len(folders) for folders in seen] == [1, 1]
    assert list(temporary.iterdir()) == []


def _plain(shop: Shop) -> VideoSpec:
    return VideoSpec(prompt="a red ball", model=shop.model, steps=6)


def _extended(shop: Shop) -> VideoSpec:
    shop.add(steps=2)
    shop.worker.work_once()
    return VideoSpec(prompt="on", model=shop.model, steps=6, edit=Extend(video=_last_video(shop), seconds=0.5))


def _storyboard(shop: Shop) -> VideoSpec:
    cards = (Card(second=0.5, prompt="it stops"),)
    return VideoSpec(prompt="a red ball", model=shop.model, steps=3, seconds=1.0, edit=Storyboard(cards=cards))


def _last_video(shop: Shop) -> str:
    result = shop.jobs.page(limit=1)[0][0].result
    assert result is not None
    return result.artefacts["video"].name


@pytest.mark.parametrize("make", [_plain, _extended, _storyboard])
def test_another_worker_goes_on_in_the_middle_of_denoising_and_the_video_is_the_same(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, make: Callable[[Shop], VideoSpec]
) -> None:
    spec = make(shop)
    whole = shop.jobs.submit(NewJob(spec=spec))[0]
    shop.worker.work_once()
    job = shop.jobs.submit(NewJob(spec=spec))[0]
    renew, steps = Leases.renew, 0

    def die_at_step_4(self: Leases, job: Job, **progress: object) -> None:
        nonlocal steps
        renew(self, job, **progress)
        steps += progress.get("stage") == "denoise" and progress.get("step") != 0
        if steps == 4:
            raise Died

    monkeypatch.setattr("kinema.serve.worker.PROGRESS_S", 0.0)
    monkeypatch.setattr(Leases, "renew", die_at_step_4)
    with pytest.raises(Died):
        shop.worker.work_once()
    monkeypatch.setattr(Leases, "renew", renew)
    calls = 0
    network = ResumablePipeline.__mro__[1].network  # type: ignore[attr-defined]

    def counted(self: ResumablePipeline, spec: VideoSpec, canvas: object) -> object:
        velocity = network(self, spec, canvas)

        def call(latent: object, times: object) -> object:
            nonlocal calls
            calls += 1
            return velocity(latent, times)

        return call

    monkeypatch.setattr(ResumablePipeline.__mro__[1], "network", counted)
    other = Worker(shop.store, shop.artefacts, (shop.model,), settings=SETTINGS, marks=UNMARKED)
    other._pipelines = shop.worker._pipelines
    deadline = time.monotonic() + 20
    while not shop.jobs.get(job.id).has_ended:
        assert time.monotonic() < deadline
        other.work_once()
        time.sleep(0.05)
    resumed, first = shop.jobs.get(job.id), shop.jobs.get(whole.id)
    assert resumed.result is not None
    assert first.result is not None
    assert (resumed.attempt, resumed.result.resumed_step, calls) == (2, 4, 2)
    ours = shop.artefacts.read(resumed.result.artefacts["video"].name)
    assert ours == shop.artefacts.read(first.result.artefacts["video"].name)
    assert resumed.result.spec.edit == spec.edit
    assert [event.type for event in shop.jobs.events(job.id)].count("video.completed") == 1


def test_the_percents_of_a_storyboard_only_grow(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinema.serve.worker.PROGRESS_S", 0.0)
    job = shop.jobs.submit(NewJob(spec=_storyboard(shop)))[0]
    shop.worker.work_once()
    percents = [event.data["progress"] for event in shop.jobs.events(job.id) if "progress" in event.data]
    assert percents == sorted(percents)
    assert len(percents) > 10
    done = shop.jobs.get(job.id)
    assert done.result is not None, done.error_message
    assert (done.result.spec.frames, done.result.seconds) == (9, 1.0)


def test_an_edit_of_a_video_that_is_gone_says_so(shop: Shop) -> None:
    spec = VideoSpec(prompt="on", model=shop.model, edit=Extend(video="jobs/video_1/attempt-1/video.mp4", seconds=0.5))
    job = shop.jobs.submit(NewJob(spec=spec))[0]
    shop.worker.work_once()
    failed = shop.jobs.get(job.id)
    assert (failed.status, failed.error_code) == ("failed", "invalid_request")
    assert "the video that this starts from is gone" in (failed.error_message or "")


def test_a_worker_says_what_its_model_can(shop: Shop) -> None:
    offered = known_models(shop.store)[shop.model]
    assert {"extend", "loop", "storyboard", "join"} <= set(offered.edits)
    assert (offered.pictures, offered.needs, offered.step_s) == (("first", "last"), (), 0.5)


@pytest.mark.parametrize("stage", ["denoise", "decode"])
def test_a_cancelled_job_stops_at_its_next_step(shop: Shop, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    job, seen = shop.add(steps=8), []
    report = "kinema.serve.worker._Report.__call__"
    original = __import__("kinema.serve.worker", fromlist=["_Report"])._Report.__call__

    def cancel_in_stage(self: object, progress: Progress) -> None:
        seen.append(progress)
        if progress.stage == stage and progress.step == 0:
            shop.jobs.cancel(job.id)
        original(self, progress)

    monkeypatch.setattr(report, cancel_in_stage)
    shop.worker.work_once()
    assert shop.jobs.get(job.id).status == "cancelled"
    assert (seen[-1].stage, seen[-1].step) == (stage, 0)
    assert shop.artefacts.names(f"jobs/{job.id}/attempt-1") == []


def test_a_request_that_the_model_cannot_meet_fails_with_its_reason(shop: Shop) -> None:
    job = shop.add(width=65)
    shop.worker.work_once()
    failed = shop.jobs.get(job.id)
    assert (failed.status, failed.error_code) == ("failed", "invalid_request")
    assert "65" in (failed.error_message or "")


@pytest.mark.parametrize("frames", [1, None])
def test_a_picture_is_the_last_frame(shop: Shop, tmp_path: Path, frames: int | None) -> None:
    spec = VideoSpec(prompt="a red ball", model=shop.model, frames=frames)
    job = shop.jobs.submit(NewJob(kind="image", spec=spec))[0]
    shop.worker.work_once()
    done = shop.jobs.get(job.id)
    assert done.result is not None, done.error_message
    assert done.result.artefacts["image"].media_type == "image/png"
    picture = read_image(shop.artefacts.fetch(done.result.artefacts["image"].name, tmp_path / "a.png"))
    pipeline = shop.worker._pipelines[shop.model]
    *_, last = pipeline.stream(pipeline.resolve(spec))
    assert np.array_equal(picture, last[-1])
    assert done.result.seconds == ((done.result.spec.frames or 0) - 1) / (done.result.spec.fps or 0)


def test_deleted_jobs_leave_no_file(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    job = shop.add()
    shop.worker.work_once()
    shop.jobs.delete(job.id)
    shop.worker.sweep()
    assert shop.artefacts.names(f"jobs/{job.id}") == []


def test_a_worker_says_that_it_is_there_while_it_works(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    job, publish = shop.add(), shop.worker.leases.publish

    def in_hand() -> list[str | None]:
        with shop.store.read() as db:
            return list(db.execute(sa.select(WORKERS.c.job_id)).scalars())

    def publish_late(*args: Any) -> None:
        _wait(lambda: in_hand() == [job.id])
        publish(*args)

    monkeypatch.setattr(shop.worker.leases, "publish", publish_late)
    assert shop.worker.work_once()
    assert shop.jobs.get(job.id).status == "completed"


VICTIM = """
import sys
import time
from pathlib import Path
from kinema.provenance.mark import UNMARKED
from kinema.serve.artefacts import Artefacts
from kinema.serve.settings import QueueSettings
from kinema.serve.store import Store
from kinema.serve.worker import Worker

class Slow(Artefacts):
    def write(self, name, content):
        super().write(name, content)
        time.sleep(0.05)  # or it could be done before it is killed


url, artefacts, model = sys.argv[1:]
settings = QueueSettings(lease_s=1.0, backoff_s=0.05)
worker = Worker(Store.open(url), Slow(Path(artefacts)), (model,), settings=settings, keep_steps_s=0.0)
worker.load()
worker.run()
"""


def test_a_job_survives_kill_9_of_its_worker(shop: Shop, tmp_path: Path) -> None:
    job = shop.add(steps=100)
    # A process of its own: a fork would inherit the locks of torch's threads, which no longer run.
    words = [sys.executable, "-c", VICTIM, shop.store.url, str(tmp_path / "artefacts"), shop.model]
    victim = subprocess.Popen(words)
    try:
        _wait(lambda: shop.jobs.get(job.id).step > 5)
    finally:
        victim.kill()
        victim.wait()
    assert shop.jobs.get(job.id).status == "running"
    _wait(lambda: shop.worker.work_once() or shop.jobs.get(job.id).has_ended)
    done = shop.jobs.get(job.id)
    assert done.result is not None
    assert (done.status, done.attempt) == ("completed", 2)
    assert done.result.resumed_step > 5
    assert [event.type for event in shop.jobs.events(job.id)].count("video.completed") == 1


def _wait(condition: Callable[[], bool], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds  # only so that a hang ends
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
