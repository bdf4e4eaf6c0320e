import dataclasses
from pathlib import Path
from typing import Any

import pytest

from kinema.errors import JobCancelled, JobNotFound
from kinema.serve.job import Artefact, Job, KeyReused, LeaseLost, NewJob, QueueFull, Result
from kinema.serve.jobs import Jobs, Repeat, body_hash, forget, sweepable
from kinema.serve.leases import Leases
from kinema.serve.settings import Limits, QueueSettings
from kinema.serve.store import Store
from kinema.spec import VideoSpec

RESULT = Result(
    artefacts={"video": Artefact(name="jobs/a/1/video.mp4", num_bytes=10, media_type="video/mp4")},
    spec=VideoSpec(prompt="a red ball"),
    seconds=2.0,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Room:
    """A queue, a clock that stands still, and as many workers as a test wants."""

    def __init__(self, store: Store, **settings: Any) -> None:
        self.store, self.clock, self.settings = store, Clock(), QueueSettings(**settings)
        self.jobs = Jobs(store, self.settings, self.clock)

    def worker(self, name: str) -> Leases:
        return Leases(self.store, name, self.settings, self.clock)

    def add(self, owner: str = "", priority: int = 0, **more: Any) -> Job:
        new = NewJob(owner=owner, spec=VideoSpec(prompt="a red ball"), priority=priority, video_s=2.0)
        return self.jobs.submit(new, **more)[0]


@pytest.fixture
def room(store: Store) -> Room:
    return Room(store)


def claim(worker: Leases) -> Job:
    job = worker.claim(["mini"])
    assert job is not None
    return job


def test_a_job_goes_from_queued_to_completed_and_says_so(room: Room) -> None:
    job, worker = room.add(), room.worker("a")
    running = claim(worker)
    assert (running.id, running.status, running.attempt) == (job.id, "running", 1)
    worker.renew(running, stage="denoise", step=1, total=4, progress=20)
    worker.publish(running, RESULT)
    done = room.jobs.get(job.id)
    assert (done.status, done.progress, done.result) == ("completed", 100, RESULT)
    kinds = [event.type for event in room.jobs.events(job.id)]
    assert kinds == ["video.queued", "video.in_progress", "video.progress", "video.completed"]


def test_a_late_worker_cannot_publish_after_another_took_over(room: Room) -> None:
    room.add()
    zombie, other = room.worker("zombie"), room.worker("other")
    late = claim(zombie)
    room.clock.now += 31
    assert other.claim(["mini"]) is None  # queued again, with a pause before the next try
    room.clock.now += 2
    fresh = claim(other)
    assert fresh.attempt == 2
    for attempt in (lambda: zombie.publish(late, RESULT), lambda: zombie.renew(late), lambda: zombie.check(late)):
        with pytest.raises(LeaseLost):
            attempt()
    other.publish(fresh, RESULT)
    with pytest.raises(LeaseLost):
        zombie.publish(late, RESULT)
    assert [event.type for event in room.jobs.events(fresh.id)].count("video.completed") == 1


def test_the_same_worker_cannot_publish_with_an_old_attempt(room: Room) -> None:
    room.add()
    worker = room.worker("a")
    first = claim(worker)
    room.clock.now += 40
    worker.reap()
    room.clock.now += 2
    second = claim(worker)
    with pytest.raises(LeaseLost):
        worker.publish(first, RESULT)
    worker.publish(second, RESULT)


def test_a_worker_that_renews_keeps_its_job(room: Room) -> None:
    room.add()
    worker = room.worker("a")
    job = claim(worker)
    for _ in range(5):
        room.clock.now += 20
        worker.renew(job)
        assert room.worker("b").claim(["mini"]) is None


def test_a_job_that_kills_its_workers_is_set_apart(room: Room) -> None:
    job = room.add()
    for attempt in (1, 2, 3):
        assert claim(room.worker("a")).attempt == attempt
        room.clock.now += 100
        room.worker("b").reap()
        room.clock.now += 100
    assert room.worker("a").claim(["mini"]) is None
    failed = room.jobs.get(job.id)
    assert (failed.status, failed.error_code) == ("failed", "worker_lost")
    assert room.jobs.retry(job.id).status == "queued"
    assert claim(room.worker("a")).attempt == 4


def test_a_failure_is_tried_again_after_a_growing_pause_and_then_kept(room: Room) -> None:
    job, worker = room.add(), room.worker("a")
    for pause_s in (2.0, 4.0):
        worker.failed(claim(worker), "server_error", "odd", again=True)
        room.clock.now += pause_s - 0.1
        assert worker.claim(["mini"]) is None
        room.clock.now += 0.2
    worker.failed(claim(worker), "server_error", "odd", again=True)
    assert room.jobs.get(job.id).error_message == "odd"


def test_a_request_that_cannot_be_met_is_not_tried_again(room: Room) -> None:
    job, worker = room.add(), room.worker("a")
    worker.failed(claim(worker), "invalid_request", "too large", again=False)
    assert room.jobs.get(job.id).status == "failed"


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_at_its_next_step(room: Room) -> None:
    worker = room.worker("a")
    running, waiting = room.add(), room.add()
    job = claim(worker)
    assert job.id == running.id
    assert room.jobs.cancel(waiting.id).status == "cancelled"
    assert room.jobs.cancel(running.id).status == "running"
    for attempt in (lambda: worker.renew(job), lambda: worker.check(job), lambda: worker.publish(job, RESULT)):
        with pytest.raises(JobCancelled):
            attempt()
    worker.cancelled(job)
    assert room.jobs.get(running.id).status == "cancelled"
    assert worker.claim(["mini"]) is None


def test_a_cancelled_job_whose_worker_died_is_not_started_again(room: Room) -> None:
    job = room.add()
    claim(room.worker("a"))
    room.jobs.cancel(job.id)
    room.clock.now += 60
    assert room.worker("b").claim(["mini"]) is None
    assert room.jobs.get(job.id).status == "cancelled"


def test_a_deleted_job_is_gone_and_its_worker_cannot_bring_it_back(room: Room) -> None:
    job, worker = room.add(), room.worker("a")
    running = claim(worker)
    room.jobs.delete(job.id)
    with pytest.raises(JobNotFound):
        room.jobs.get(job.id)
    assert sweepable(room.store, room.clock.now) == []  # its worker may still write
    with pytest.raises(JobCancelled):
        worker.publish(running, RESULT)
    worker.cancelled(running)
    assert sweepable(room.store, room.clock.now) == [job.id]
    forget(room.store, job.id, room.clock.now, room.settings)
    with pytest.raises(LeaseLost):
        worker.publish(running, RESULT)
    with pytest.raises(JobNotFound):
        room.jobs.get(job.id)


def test_finished_jobs_expire(room: Room) -> None:
    job, worker = room.add(), room.worker("a")
    worker.publish(claim(worker), RESULT)
    assert sweepable(room.store, room.clock.now) == []
    room.clock.now += room.settings.keep_s + 1
    assert sweepable(room.store, room.clock.now) == [job.id]


def test_higher_priority_comes_first_and_owners_take_turns(room: Room) -> None:
    bulk = [room.add("bulk") for _ in range(3)]
    one = room.add("one")
    urgent = room.add("bulk", priority=1)
    order = []
    for _ in range(5):
        room.clock.now += 1
        worker = room.worker("a")
        job = claim(worker)
        order.append(job.id)
        worker.publish(job, RESULT)
    assert order == [urgent.id, one.id, *(job.id for job in bulk)]


def test_the_owner_with_fewer_running_jobs_is_next(room: Room) -> None:
    for _ in range(3):
        room.add("many")
    room.add("few")
    assert [claim(room.worker(name)).owner for name in "abcd"] == ["many", "few", "many", "many"]


def test_a_worker_takes_jobs_of_its_models_only(room: Room) -> None:
    room.add()
    assert room.worker("a").claim(["other"]) is None


def test_a_full_queue_refuses_and_says_when_to_come_back(store: Store) -> None:
    room = Room(store, max_queued=2)
    room.add()
    room.add()
    with pytest.raises(QueueFull, match="2 videos are waiting") as refused:
        room.add()
    assert refused.value.retry_after_s == 5.0


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(max_jobs=1), "too_many_jobs"),
        (Limits(requests_per_minute=1), "rate_limit_exceeded"),
        (Limits(video_s_per_day=3.0), "insufficient_quota"),
    ],
)
def test_each_limit_holds_for_its_owner_only(room: Room, limits: Limits, code: str) -> None:
    room.add("me", limits=limits)
    with pytest.raises(QueueFull) as refused:
        room.add("me", limits=limits)
    assert refused.value.code == code
    room.add("you", limits=limits)


def test_stored_bytes_are_limited_until_something_is_deleted(room: Room) -> None:
    job, worker = room.add("me"), room.worker("a")
    worker.publish(claim(worker), RESULT)
    with pytest.raises(QueueFull, match="delete some"):
        room.add("me", limits=Limits(stored_bytes=10))
    room.jobs.delete(job.id)
    room.add("me", limits=Limits(stored_bytes=10))


def test_an_idempotency_key_gives_the_same_job_and_refuses_another_request(room: Room) -> None:
    key = Repeat(body_sha256=body_hash({"prompt": "x"}), key="k")
    first = room.add(repeat=key)
    assert room.add(repeat=key).id == first.id
    with pytest.raises(KeyReused):
        room.add(repeat=Repeat(body_sha256="other", key="k"))
    assert room.add("somebody else", repeat=key).id != first.id
    room.clock.now += room.settings.idempotency_s + 1
    assert room.add(repeat=key).id != first.id


@pytest.mark.parametrize("repeat", [Repeat(body_sha256="x", key="k"), Repeat(body_sha256="x", retry=1)])
def test_a_late_retry_does_not_bring_back_what_was_deleted(room: Room, repeat: Repeat) -> None:
    first = room.add(repeat=dataclasses.replace(repeat, retry=0))
    found = room.jobs.repeated("", repeat)
    assert found is not None
    assert found.id == first.id
    assert room.jobs.repeated("somebody else", repeat) is None
    room.jobs.delete(first.id)
    for is_swept in (False, True):
        if is_swept:
            forget(room.store, first.id, room.clock.now, room.settings)
        for again in (lambda: room.add(repeat=repeat), lambda: room.jobs.repeated("", repeat)):
            with pytest.raises(JobNotFound, match="deleted or has expired"):
                again()
    assert room.jobs.page() == ([], False)


def test_a_retry_is_recognised_but_a_second_order_is_a_new_job(room: Room) -> None:
    body = body_hash({"prompt": "x"})
    first = room.add(repeat=Repeat(body_sha256=body))
    assert room.add(repeat=Repeat(body_sha256=body, retry=1)).id == first.id
    second = room.add(repeat=Repeat(body_sha256=body))
    assert second.id != first.id
    assert room.add(repeat=Repeat(body_sha256=body, retry=2)).id == second.id
    room.clock.now += room.settings.retry_window_s + 1
    assert room.add(repeat=Repeat(body_sha256=body, retry=1)).id not in {first.id, second.id}


def test_the_retry_of_a_refused_request_is_a_new_job(room: Room) -> None:
    body = body_hash({"prompt": "x"})
    first = room.add("me", repeat=Repeat(body_sha256=body))
    with pytest.raises(QueueFull):
        room.add("me", limits=Limits(max_jobs=1), repeat=Repeat(body_sha256=body))
    assert room.add("me", repeat=Repeat(body_sha256=body, retry=1)).id != first.id


def test_pages_follow_each_other_and_hide_other_owners(room: Room) -> None:
    ids = [room.add("me").id for _ in range(5)]
    foreign = room.add("you")
    seen, after, more = [], None, True
    while more:
        jobs, more = room.jobs.page("me", after=after, limit=2)
        seen += [job.id for job in jobs]
        after = seen[-1]
    assert seen == ids[::-1]
    assert [job.id for job in room.jobs.page("me", order="asc", limit=9)[0]] == ids
    with pytest.raises(JobNotFound):
        room.jobs.get(foreign.id, "me")
    with pytest.raises(JobNotFound):
        room.jobs.page("me", after=foreign.id)


def test_position_and_eta_follow_the_queue(room: Room) -> None:
    worker = room.worker("a")
    room.add()
    job = claim(worker)
    room.clock.now += 10
    worker.publish(job, RESULT)
    first, second = room.add(), room.add()
    assert [room.jobs.position(job) for job in (first, second)] == [0, 1]
    assert [room.jobs.eta_s(job) for job in (first, second)] == [10.0, 20.0]


def test_a_job_that_is_given_back_is_taken_at_once_and_has_lost_no_try(room: Room) -> None:
    room.add()
    worker = room.worker("a")
    for _ in range(5):
        worker.give_back(claim(worker))
    assert room.jobs.page()[0][0].status == "queued"


def test_events_go_on_where_a_reader_stopped(room: Room) -> None:
    job, worker = room.add(), room.worker("a")
    claim(worker)
    first, second = room.jobs.events(job.id)
    assert room.jobs.events(job.id, after=first.seq) == [second]


def test_what_was_queued_is_there_after_reopening(tmp_path: Path) -> None:
    first = Store.open(tmp_path)
    job = Jobs(first).submit(NewJob(spec=VideoSpec(prompt="a red ball")))[0]
    first.close()
    again = Store.open(tmp_path)
    assert Jobs(again).get(job.id) == job
    again.close()


def test_a_store_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    first = Store.open(tmp_path)
    job = Jobs(first).submit(NewJob(spec=VideoSpec(prompt="a red ball")))[0]
    with first.write() as db:
        for name in ("webhook_endpoints", "webhook_deliveries", "files", "secrets"):
            db.exec_driver_sql(f"DROP TABLE {name}")
        db.exec_driver_sql("UPDATE schema_version SET version = 1")
    first.close()
    again = Store.open(tmp_path)
    assert Jobs(again).cancel(job.id).status == "cancelled"
    again.close()
