"""Kill the server and its workers again and again while clients use them, and count what was lost.

python benchmarks/serve_storm.py [--kills N] [--clients N] [--workers N] > benchmarks/serve_storm_HW_YYYYMM.md

API and workers are processes of their own with the real code, but for the network: a faked pipeline gives grey pictures
after some short steps. A kill waits until somebody got an answer since the one before; then a victim is chosen at
random, killed with SIGKILL and started again at once. Clients create, cancel and delete over HTTP and try again, with
the same idempotency key, until they have an answer. Then all is quiet:

- lost: a job that a client was promised and did not delete is not there, or is completed without its file;
- published twice: more than one `video.completed` of a job, or two jobs for one key;
- stuck: a job that has not ended;
- resurrected: a job that a client deleted is there again, or its row or files are still there;
- ended by itself: the API or a worker was gone before anybody killed it.

Exit code 1 if any of them is above 0.
"""

import argparse
import asyncio
import collections
import dataclasses
import json
import multiprocessing
import os
import platform
import random
import shlex
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import numpy as np
import sqlalchemy as sa
import uvicorn
from cpu_ops import commit, cpu_name

from kinema.config import to_dict
from kinema.generate.progress import Progress
from kinema.generate.record import Record
from kinema.media import Frame
from kinema.provenance.mark import UNMARKED
from kinema.serve import worker as worker_module
from kinema.serve.app import make_app
from kinema.serve.artefacts import Artefacts
from kinema.serve.capabilities import Capabilities
from kinema.serve.job import ENDED
from kinema.serve.settings import QueueSettings, ServeSettings
from kinema.serve.store import EVENTS, JOBS, Store
from kinema.shapes import Stride
from kinema.spec import ModelDefaults, VideoSpec

MODEL = Capabilities(
    name="mini",
    defaults=ModelDefaults(frames=5, height=16, width=16, fps=8.0, steps=4, guidance=1.0, solver="euler", shift=1.0),
    stride=Stride(4, 16, 16),
    solvers=("euler",),
)
QUEUE = QueueSettings(lease_s=2.0, backoff_s=0.1, max_attempts=100, max_queued=100_000)


class FakedPipeline:
    """Stands for a model: short steps that report like real ones, then grey pictures."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.steps = self.previewer = None
        self.model, self.stride = SimpleNamespace(vae=None), MODEL.stride
        self.device = SimpleNamespace(type="cpu")

    def resolve(self, spec: VideoSpec) -> VideoSpec:
        """As the real one does."""
        return spec.resolve(MODEL.defaults, MODEL.stride)

    def record(self, spec: VideoSpec) -> Record:
        """What is written into the file."""
        return Record(spec=spec, version="0", weights="faked", device="cpu", dtype="float32")

    def stream(self, spec: VideoSpec, report: Callable[[Progress], None]) -> Iterator[Frame]:
        """Give all frames after the steps."""
        assert spec.steps
        assert spec.frames
        assert spec.height
        assert spec.width
        for step in range(spec.steps + 1):
            report(Progress(stage="denoise", step=step, total=spec.steps, eta_s=None))
            time.sleep(self.step_s)
        report(Progress(stage="decode", step=0, total=1, eta_s=None))
        yield np.full((spec.frames, spec.height, spec.width, 3), 128, np.uint8)


def run_api(store: str, port: int) -> None:
    """Serve the API of a store until killed."""
    settings = ServeSettings(queue=QUEUE)
    app = make_app(Store.open(store), Artefacts(f"{store}/artefacts"), settings)
    uvicorn.run(app, port=port, log_config=None, access_log=False, ws="none")


def run_worker(store: str, step_s: float) -> None:
    """Work until killed, or told to stop."""
    worker = faked_worker(Store.open(store), Artefacts(f"{store}/artefacts"), step_s)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop.set())
    worker.run()


def faked_worker(store: Store, artefacts: Artefacts, step_s: float) -> worker_module.Worker:
    """A worker with the faked pipeline; its sweeps are often."""
    worker_module.SWEEP_S = worker_module.SEARCH_S = 0.5
    worker = worker_module.Worker(store, artefacts, ("mini",), settings=QUEUE, marks=UNMARKED)
    worker._pipelines["mini"] = FakedPipeline(step_s)  # type: ignore[assignment]
    worker.leases.offer("mini", json.dumps(to_dict(MODEL)))
    return worker


@dataclasses.dataclass
class Ledger:
    """What clients were promised."""

    created: dict[str, str] = dataclasses.field(default_factory=dict)
    """Prompt, which is a name of its own for each order, by id."""
    deleted: set[str] = dataclasses.field(default_factory=set)
    asked: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    completed_seen: set[str] = dataclasses.field(default_factory=set)
    in_storm: int = 0
    """Orders that were taken before the last kill."""

    async def next_answer(self, patience_s: float = 120.0) -> None:
        """Wait until the server has answered somebody once more."""
        deadline = time.monotonic() + patience_s
        before = self._answers()
        while self._answers() == before and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    def _answers(self) -> int:
        return sum(self.asked[method] for method in ("POST", "GET", "DELETE"))


class Client:
    """Somebody who uses the API, and does not give up."""

    def __init__(self, http: httpx2.AsyncClient, ledger: Ledger, name: str, seed: int) -> None:
        self._http, self._ledger, self._name = http, ledger, name
        self._random = random.Random(seed)

    async def use(self, stop: asyncio.Event) -> None:
        """Create, look, cancel and delete until told to stop."""
        count = 0
        while not stop.is_set():
            count += 1
            prompt = f"{self._name} order {count}"
            made = await self._ask("POST", "/v1/videos", {"prompt": prompt}, {"idempotency-key": prompt})
            job_id = str(made["id"])
            self._ledger.created[job_id] = prompt
            await asyncio.sleep(self._random.uniform(0, 0.5))
            what = self._random.random()
            if what < 0.25:
                await self._ask("POST", f"/v1/videos/{job_id}/cancel")
            elif what < 0.5:
                await self._ask("DELETE", f"/v1/videos/{job_id}")
                self._ledger.deleted.add(job_id)
            elif what < 0.75:
                for _ in range(20):
                    shown = await self._ask("GET", f"/v1/videos/{job_id}")
                    if shown["status"] == "completed":
                        self._ledger.completed_seen.add(job_id)
                        break
                    await asyncio.sleep(0.2)

    async def _ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        while True:
            try:
                answer = await self._http.request(method, path, json=body, headers=headers)
            except httpx2.HTTPError:
                await asyncio.sleep(0.05)
                continue
            if answer.status_code == 404 and method == "DELETE":
                return {}  # an earlier try did it, and its answer was lost
            if answer.status_code in (429, 500, 502, 503):
                self._ledger.asked[str(answer.status_code)] += 1
                await asyncio.sleep(0.1)
                continue
            self._ledger.asked[method] += 1
            if answer.status_code != 200:
                raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
            return dict(answer.json())


class Place:
    """The processes, which are started again when they are killed."""

    def __init__(self, store: str, port: int, workers: int, step_s: float) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__"])  # so that a new process is there at once
        self._make: dict[str, Callable[[], BaseProcess]] = {
            "api": lambda: context.Process(target=run_api, args=(store, port), daemon=True)
        }
        for i in range(workers):
            self._make[f"worker {i}"] = lambda: context.Process(target=run_worker, args=(store, step_s), daemon=True)
        self._running: dict[str, BaseProcess] = {}
        self.kills: collections.Counter[str] = collections.Counter()
        self.faults: list[str] = []
        """What ended by itself, and with which exit code."""
        for name in self._make:
            self._start(name)

    def kill(self, name: str) -> None:
        """Kill a process with SIGKILL, and start it again."""
        process = self._running[name]
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            self.kills[name.partition(" ")[0]] += 1
        else:
            self._note(name)
        self._start(name)

    def start_ended(self) -> None:
        """Start again what ended by itself."""
        for name, process in self._running.items():
            if process.exitcode is not None:
                self._note(name)
                self._start(name)

    def names(self) -> list[str]:
        """All there are."""
        return list(self._make)

    def stop(self) -> None:
        """End them all."""
        for process in self._running.values():
            process.kill()
            process.join()

    def _note(self, name: str) -> None:
        self.faults.append(f"{name}: exit code {self._running[name].exitcode}")

    def _start(self, name: str) -> None:
        self._running[name] = self._make[name]()
        self._running[name].start()


async def storm(options: argparse.Namespace, store: str, ledger: Ledger) -> Place:
    """Let clients and death loose, then wait until all is quiet; the place says what was killed, and what was not."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    chance = random.Random(options.seed)
    place = Place(store, port, options.workers, options.step_s)
    limits = httpx2.Limits(max_connections=None)
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=limits) as http:
            stop = asyncio.Event()
            clients = [Client(http, ledger, f"client {i}", options.seed * 1000 + i) for i in range(options.clients)]
            tasks = [asyncio.create_task(client.use(stop)) for client in clients]
            for _ in range(options.kills):
                await ledger.next_answer()  # or it would only kill what has not started yet
                await asyncio.sleep(chance.uniform(0, options.gap_s))
                victim = "api" if chance.random() < 0.5 else chance.choice(place.names()[1:])
                await asyncio.to_thread(place.kill, victim)
                place.start_ended()
            ledger.in_storm = len(ledger.created)
            stop.set()
            await asyncio.gather(*tasks)
            await _quiet(store, place, options.patience_s)
    finally:
        place.stop()
    return place


async def _quiet(store: str, place: Place, patience_s: float) -> None:
    opened = Store.open(store)
    deadline = time.monotonic() + patience_s
    left = sa.select(sa.func.count()).where(sa.or_(JOBS.c.status.not_in(ENDED), JOBS.c.is_deleted))
    while time.monotonic() < deadline:
        with opened.read() as db:
            if db.execute(left).scalar_one() == 0:
                break
        place.start_ended()
        await asyncio.sleep(0.5)
    opened.close()


def judge(store: str, ledger: Ledger) -> dict[str, list[str]]:
    """What went wrong, by kind."""
    opened, artefacts = Store.open(store), Artefacts(f"{store}/artefacts")
    with opened.read() as db:
        rows = {row.id: row for row in db.execute(sa.select(JOBS))}
        counts = sa.select(EVENTS.c.job_id, sa.func.count()).where(EVENTS.c.type == "video.completed")
        published = {row[0]: row[1] for row in db.execute(counts.group_by(EVENTS.c.job_id))}
    opened.close()
    wrong: dict[str, list[str]] = {name: [] for name in ("lost", "published twice", "stuck", "resurrected")}
    prompts = collections.Counter(VideoSpec.from_json(row.spec).prompt for row in rows.values())
    wrong["published twice"] += [name for name, count in published.items() if count > 1]
    wrong["published twice"] += [prompt for prompt, count in prompts.items() if count > 1]
    for job_id in ledger.created:
        if job_id in ledger.deleted:
            if job_id in rows or artefacts.names(f"jobs/{job_id}"):
                wrong["resurrected"].append(job_id)
        elif job_id not in rows:
            wrong["lost"].append(job_id)
    for job_id, row in rows.items():
        if row.status not in ENDED:
            wrong["stuck"].append(f"{job_id} {row.status}")
        elif row.status == "failed" or (job_id in ledger.completed_seen and row.status != "completed"):
            wrong["lost"].append(f"{job_id} {row.error_code}: {row.error_message}")
        elif row.status == "completed":
            files = json.loads(row.result)["artefacts"].values()
            if any(len(artefacts.read(file["name"])) != file["num_bytes"] for file in files):
                wrong["lost"].append(f"{job_id}: a file")
    return wrong


def main() -> int:
    """Run the storm and print the report."""
    parser = argparse.ArgumentParser(description="kill the server and its workers, and count what was lost")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gap-s", type=float, default=0.6, help="longest pause between two kills")
    parser.add_argument("--step-s", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience-s", type=float, default=1800.0)
    options = parser.parse_args()
    ledger, began = Ledger(), time.monotonic()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="kinema-storm-") as folder:
        store = str(Path(folder) / "store")
        Store.open(store).close()
        place = asyncio.run(storm(options, store, ledger))
        took_s = time.monotonic() - began
        opened = Store.open(store)
        with opened.read() as db:
            kept = dict(db.execute(sa.select(JOBS.c.status, sa.func.count()).group_by(JOBS.c.status)).all())
            most = db.execute(sa.select(sa.func.max(JOBS.c.attempt))).scalar_one()
        opened.close()
        wrong = {**judge(store, ledger), "ended by itself": place.faults}
    command = shlex.join(["python", *sys.argv])
    print(f"`{command}` at {commit()}, {cpu_name()}, {os.cpu_count()} cores, load {load:.1f} at the start,")
    print(f"Python {platform.python_version()}, SQLAlchemy {sa.__version__}\n")
    print("| what | count |\n|---|---|")
    refused = sum(ledger.asked[code] for code in ("429", "500", "502", "503"))
    rows: dict[str, object] = {
        "kills of the API": place.kills["api"], "kills of workers": place.kills["worker"], "seconds": round(took_s),
        "orders taken": len(ledger.created), "of them before the last kill": ledger.in_storm,
        "deleted": len(ledger.deleted),
        **{f"{status} at the end": count for status, count in sorted(kept.items())},
        "most attempts of one job": most, "answers of 429 or 5xx": refused,
        **{f"**{name}**": len(found) for name, found in wrong.items()},
    }  # fmt: skip
    for name, count in rows.items():
        print(f"| {name} | {count} |")
    for name, found in wrong.items():
        for each in found[:10]:
            print(f"\n{name}: {each}")
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
