import contextlib
import errno
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.benchmarks import load_benchmark
from tests.servers import bucket_server

from kinema.serve.artefacts import Artefacts
from kinema.serve.job import NewJob
from kinema.serve.jobs import Jobs
from kinema.serve.store import JOBS, Store
from kinema.spec import VideoSpec

WORKERS = 3


def _fill(artefacts: Artefacts, folder: str, count: int) -> None:
    for part in ("attempt-1", "attempt-2", "steps-0"):
        place = artefacts.local_path(f"{folder}/{part}")
        assert place is not None
        place.mkdir(parents=True)
        for i in range(count):
            (place / f"{i}").write_bytes(b"x")


def test_workers_that_remove_the_same_folder_at_once_do_each_other_no_harm(tmp_path: Path) -> None:
    artefacts, together = Artefacts(tmp_path), threading.Barrier(WORKERS)

    def remove(folder: str) -> None:
        together.wait()
        artefacts.remove(folder)

    with ThreadPoolExecutor(WORKERS) as pool:
        for i in range(8):
            _fill(artefacts, f"jobs/{i}", 30)
            list(pool.map(remove, [f"jobs/{i}"] * WORKERS))
            assert artefacts.names("jobs") == []


def test_a_folder_into_which_somebody_still_writes_is_removed_in_the_end(tmp_path: Path) -> None:
    artefacts, stop = Artefacts(tmp_path), threading.Event()

    def write() -> None:
        for i in itertools.count():
            if stop.is_set():
                return
            with contextlib.suppress(FileNotFoundError, FileExistsError):  # its folder goes meanwhile
                (tmp_path / "jobs/a/steps").mkdir(parents=True, exist_ok=True)
                (tmp_path / f"jobs/a/steps/{i}").touch()

    writer = threading.Thread(target=write)
    writer.start()
    left = set()
    for _ in range(10):
        try:
            artefacts.remove("jobs/a")
        except OSError as error:  # the sweep logs it and tries again
            left.add(error.errno)
    stop.set()
    writer.join()
    assert left <= {errno.ENOTEMPTY}
    artefacts.remove("jobs/a")
    assert artefacts.names("jobs") == []


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_a_bucket_keeps_what_a_folder_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = tmp_path / "video.mp4"
    video.write_bytes(bytes(range(256)) * 2048)  # more than one piece of a stream
    with bucket_server(monkeypatch) as client:
        client.create_bucket(Bucket="videos")
        for artefacts in (Artefacts("s3://videos/mine"), Artefacts(tmp_path / "artefacts")):
            assert artefacts.put(video, "jobs/a/attempt-1/video") == video.stat().st_size
            artefacts.write("jobs/a/attempt-1/record", b"{}")
            assert artefacts.names("jobs/a/attempt-1") == ["jobs/a/attempt-1/record", "jobs/a/attempt-1/video"]
            assert artefacts.names("jobs/b") == []
            assert artefacts.read("jobs/a/attempt-1/video", 3, 7) == bytes([3, 4, 5, 6])
            pieces = list(artefacts.stream("jobs/a/attempt-1/video", 5, 500_000))
            assert b"".join(pieces) == video.read_bytes()[5:500_000]
            assert len(pieces) > 1
            copy = artefacts.fetch("jobs/a/attempt-1/video", tmp_path / "copy.mp4")
            assert copy.read_bytes() == video.read_bytes()
            with pytest.raises(FileNotFoundError):
                artefacts.read("jobs/a/attempt-1/none")
            artefacts.remove("jobs/a")
            artefacts.remove("jobs/a")
            assert artefacts.names("jobs") == []


def test_removing_from_a_bucket_what_is_not_there_is_no_fault() -> None:
    artefacts = Artefacts("memory://kinema-remove")
    artefacts.remove("jobs/a")
    artefacts.write("jobs/a/b", b"x")
    artefacts.remove("jobs/a")
    assert artefacts.names("jobs") == []


def test_what_cannot_be_removed_waits_for_the_next_sweep_and_ends_no_worker(
    store: Store, tmp_path: Path, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    artefacts, jobs = Artefacts(tmp_path / "artefacts"), Jobs(store)
    worker = load_benchmark("serve_storm").faked_worker(store, artefacts, 0.0)
    monkeypatch.setattr("kinema.serve.worker.SWEEP_S", 0.0)
    deleted = [jobs.submit(NewJob(spec=VideoSpec(prompt="x")))[0].id for _ in range(2)]
    for job_id in deleted:
        jobs.delete(job_id)
        artefacts.write(f"jobs/{job_id}/attempt-1/video", b"x")
    remove = Artefacts.remove

    def stuck(self: Artefacts, folder: str) -> None:
        if folder == f"jobs/{deleted[0]}":
            raise PermissionError(13, "Permission denied")
        remove(self, folder)

    monkeypatch.setattr(Artefacts, "remove", stuck)
    worker.sweep()
    assert _rows(store) == {deleted[0]}
    assert f"jobs/{deleted[0]} cannot be removed yet: PermissionError" in caplog.text
    monkeypatch.setattr(Artefacts, "remove", remove)
    worker.sweep()
    assert _rows(store) == set()
    assert artefacts.names("jobs") == []


def test_folders_of_no_job_are_found_and_removed(store: Store, tmp_path: Path, monkeypatch: Any) -> None:
    artefacts, jobs = Artefacts(tmp_path / "artefacts"), Jobs(store)
    worker = load_benchmark("serve_storm").faked_worker(store, artefacts, 0.0)
    monkeypatch.setattr("kinema.serve.worker.SWEEP_S", 0.0)
    kept = jobs.submit(NewJob(spec=VideoSpec(prompt="x")))[0].id
    artefacts.write(f"jobs/{kept}/steps-0/000000", b"x")
    artefacts.write("jobs/video_gone/steps-0/000000", b"x")
    worker.sweep()
    assert artefacts.names("jobs") == [f"jobs/{kept}"]


def _rows(store: Store) -> set[str]:
    with store.read() as db:
        return set(db.execute(sa.select(JOBS.c.id)).scalars())
