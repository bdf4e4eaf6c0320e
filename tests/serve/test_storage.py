import contextlib
import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.benchmarks import FOLDER, load_benchmark
from tests.serve.doubles import PNG, Place

from kinema.cli import main as cli
from kinema.serve.artefacts import Artefacts
from kinema.serve.job import NewJob
from kinema.serve.jobs import Jobs
from kinema.serve.store import Store
from kinema.spec import VideoSpec

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with 3 MB, where the server of `open_place` keeps everything."""
    folder = tmp_path / "place"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@contextlib.contextmanager
def _working(place: Place) -> Iterator[None]:
    worker = load_benchmark("serve_storm").faked_worker(
        Store.open(place.running.store.url), place.running.artefacts, 0.0
    )
    thread = threading.Thread(target=worker.run)
    thread.start()
    yield
    worker.stop.set()
    thread.join()
    worker.store.close()


def _until_completed(place: Place, ids: list[str]) -> None:
    deadline = time.monotonic() + 300
    while {place.jobs.get(job_id).status for job_id in ids} != {"completed"}:
        assert time.monotonic() < deadline, [place.jobs.get(job_id).status for job_id in ids]
        time.sleep(0.1)


def test_a_full_disk_loses_nothing(small_disk: Path, open_place: Callable[..., Place], monkeypatch: Any) -> None:
    monkeypatch.setattr("kinema.serve.worker.FULL_S", 0.1)
    place = open_place()
    place.double.on.clear()
    ids = [place.client.videos.create(prompt="x").id for _ in range(5)]
    ballast = small_disk / "ballast"
    with _working(place):
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        statuses = []
        for _ in range(300):  # a little room may be left in the database's own files
            answer = place.http.post("/v1/videos", json={"prompt": "y"})
            statuses.append(answer.status_code)
            if answer.status_code != 200:
                break
            ids.append(answer.json()["id"])
        assert (statuses[-1], answer.json()["error"]["code"]) == (503, "store_away")
        upload = place.http.post("/v1/files", data={"purpose": "vision"}, files={"file": ("a.png", PNG * 40)})
        assert (upload.status_code, upload.json()["error"]["code"]) == (503, "store_away")
        assert place.http.get(f"/v1/videos/{ids[0]}").status_code == 200
        ballast.unlink()
        ids.append(place.client.videos.create(prompt="z").id)
        _until_completed(place, ids)


def test_a_job_that_met_a_full_disk_has_lost_no_try(store: Store, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("kinema.serve.worker.FULL_S", 0.0)
    artefacts = Artefacts(tmp_path / "artefacts")
    job = Jobs(store).submit(NewJob(spec=VideoSpec(prompt="x")))[0]
    worker = load_benchmark("serve_storm").faked_worker(store, artefacts, 0.0)
    put, met = Artefacts.put, []

    def full(self: Artefacts, source: Path, name: str) -> int:
        met.append(name)
        if len(met) <= 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return put(self, source, name)

    monkeypatch.setattr(Artefacts, "put", full)
    for _ in range(6):
        worker.work_once()
    assert Jobs(store).get(job.id).status == "completed"


def test_a_store_that_becomes_read_only_is_a_503_and_then_goes_on(open_place: Callable[..., Place]) -> None:
    place = open_place()
    place.double.on.clear()
    kept = place.client.videos.create(prompt="x").id
    engine = place.running.store.engine

    def forbid(connection: Any, *_: Any) -> None:
        connection.execute("PRAGMA query_only = ON")

    def allow(connection: Any, *_: Any) -> None:
        connection.execute("PRAGMA query_only = OFF")

    sa.event.listen(engine, "checkout", forbid)
    for method, path in (
        ("POST", "/v1/videos"),
        ("DELETE", f"/v1/videos/{kept}"),
        ("POST", f"/v1/videos/{kept}/cancel"),
    ):
        answer = place.http.request(method, path, json={"prompt": "y"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_away"), answer.text
    assert place.http.get(f"/v1/videos/{kept}").json()["status"] == "queued"
    sa.event.remove(engine, "checkout", forbid)
    sa.event.listen(engine, "checkout", allow)
    more = place.client.videos.create(prompt="y").id
    with _working(place):
        _until_completed(place, [kept, more])


def test_a_store_on_a_read_only_disk_is_refused_in_one_line(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Store.open(small_disk / "store").close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert cli.main(["serve", "--store", str(small_disk / "store"), "--no-worker"]) == 6
    said = capsys.readouterr().err
    assert said.startswith("kinema: the store")
    assert said.count("\n") == 1


@pytest.mark.slow
def test_a_storm_of_kills_loses_nothing() -> None:
    words = ["serve_storm.py", "--kills", "6", "--clients", "6", "--step-s", "0.01"]
    done = subprocess.run([sys.executable, *words], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("lost", "published twice", "stuck", "resurrected", "untold", "refused", "ended by itself"):
        assert f"| **{name}** | 0 |" in done.stdout
