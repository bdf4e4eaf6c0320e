import os
import pwd
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.benchmarks import load_benchmark

from kinema.errors import JobError
from kinema.serve.app import make_app
from kinema.serve.artefacts import Artefacts
from kinema.serve.job import Artefact, LeaseLost, NewJob, Result
from kinema.serve.jobs import Jobs, Repeat
from kinema.serve.leases import Leases
from kinema.serve.settings import QueueSettings
from kinema.serve.store import VERSION, Store
from kinema.spec import VideoSpec

RESULT = Result(
    artefacts={"video": Artefact(name="a", num_bytes=1, media_type="video/mp4")},
    spec=VideoSpec(prompt="x"),
    seconds=1.0,
)


def _tool(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


@dataclass
class Server:
    """A PostgreSQL server of its own, on a socket in a folder, that can go away and come back."""

    url: str
    start: Callable[[], None]
    stop: Callable[[], None]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    initdb, pg_ctl = _tool("initdb"), _tool("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="kinema-postgres-"))  # pytest's own folders are closed to other users
    user: dict[str, int] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        try:
            nobody = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("there is no user for PostgreSQL")
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid}
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)

    def run(*words: str) -> None:
        subprocess.run(words, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)

    data = folder / "data"
    run(initdb, "-D", str(data), "-A", "trust", "-U", "kinema", "--no-sync")
    options = f"-k {folder} -c listen_addresses=''"

    def start() -> None:
        run(pg_ctl, "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")

    def stop() -> None:
        run(pg_ctl, "-D", str(data), "-m", "immediate", "stop")

    start()
    yield Server(f"postgresql://kinema@/postgres?host={folder}", start, stop)
    stop()
    shutil.rmtree(folder)


@pytest.fixture
def url(server: Server) -> str:
    return server.url


@pytest.fixture
def pg(url: str) -> Iterator[Store]:
    opened = Store.open(url)
    yield opened
    opened.close()


def add(jobs: Jobs, **more: Repeat) -> str:
    return jobs.submit(NewJob(spec=VideoSpec(prompt="x")), **more)[0].id  # type: ignore[arg-type]


def test_the_queue_behaves_on_postgresql_as_on_sqlite(pg: Store) -> None:
    now = [1000.0]
    settings = QueueSettings()
    jobs = Jobs(pg, settings, lambda: now[0])
    zombie, other = (Leases(pg, name, settings, lambda: now[0]) for name in ("zombie", "other"))
    repeat = Repeat(body_sha256="b", key="k")
    job_id = add(jobs, repeat=repeat)
    assert add(jobs, repeat=repeat) == job_id
    late = zombie.claim(["mini"])
    assert late is not None
    now[0] += 31
    assert other.claim(["mini"]) is None
    now[0] += 3
    fresh = other.claim(["mini"])
    assert fresh is not None
    other.renew(fresh, stage="denoise", step=1, total=2, progress=40)
    with pytest.raises(LeaseLost):
        zombie.publish(late, RESULT)
    other.publish(fresh, RESULT)
    assert jobs.get(job_id).result == RESULT
    assert [event.type for event in jobs.events(job_id)].count("video.completed") == 1
    assert [job.id for job in jobs.page()[0]] == [job_id]
    assert jobs.counts() == {"completed": 1}
    other.alive(["mini"])
    other.alive(["mini"])
    jobs.delete(job_id)


def test_workers_that_claim_together_get_different_jobs(pg: Store) -> None:
    jobs = Jobs(pg)
    ids = {add(jobs) for _ in range(12)}
    got: list[str] = []

    def work(name: str) -> None:
        leases = Leases(pg, name)
        while (job := leases.claim(["mini"])) is not None:
            got.append(job.id)
            leases.publish(job, RESULT)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(ids)


@pytest.mark.slow
def test_a_database_that_goes_away_for_half_a_minute_costs_nothing(pg: Store, server: Server, tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path / "artefacts")
    jobs = Jobs(pg)
    worker = load_benchmark("serve_storm").faked_worker(Store.open(server.url), artefacts, 0.1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    ids = []
    with TestClient(make_app(pg, artefacts), raise_server_exceptions=False) as http:
        for _ in range(8):
            ids.append(http.post("/v1/videos", json={"prompt": "x"}).json()["id"])
        server.stop()
        until = time.monotonic() + 30.0
        answers = {http.post("/v1/videos", json={"prompt": "x"}).status_code, http.get("/v1/videos").status_code}
        while time.monotonic() < until:
            answers.add(http.post("/v1/videos", json={"prompt": "x"}).status_code)
            time.sleep(0.2)
        assert answers == {503}
        server.start()
        ids.append(http.post("/v1/videos", json={"prompt": "y"}).json()["id"])
        deadline = time.monotonic() + 300
        while not all(jobs.get(job_id).has_ended for job_id in ids):
            assert time.monotonic() < deadline, [jobs.get(job_id).status for job_id in ids]
            time.sleep(0.2)
    worker.stop.set()
    thread.join()
    worker.store.close()
    for job_id in ids:
        job = jobs.get(job_id)
        assert (job.status, [event.type for event in jobs.events(job_id)].count("video.completed")) == ("completed", 1)
        jobs.delete(job_id)


def test_a_store_of_a_newer_version_is_refused(pg: Store, url: str) -> None:
    with pg.write() as db:
        db.execute(VERSION.update().values(version=99))
    with pytest.raises(JobError, match="newer Kinema"):
        Store.open(url)
