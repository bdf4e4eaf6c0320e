"""Kill the server and its workers again and again while clients use them, and count what was lost.

python benchmarks/serve_storm.py [--kills N] [--clients N] [--workers N] [--minutes M]
> benchmarks/serve_storm_HW_YYYYMM.md

API and workers are processes of their own with the real code, but for the network: a faked pipeline gives grey pictures
after some short steps. A victim is chosen at random; once it has done something since it began (the API answered
somebody, a worker made a step), it is killed with SIGKILL after a pause drawn at random. The process that takes its
place stands ready before that, so that time goes into work. Clients create, edit, extend, look, cancel and delete over
HTTP, some with a callback, some with a video that they upload, and try again, with the same idempotency key, until they
have an answer. Then all is quiet:

- lost: a job that a client was promised and did not delete is not there, has failed, or is completed without its file;
- published twice: more than one `video.completed` of a job, or two jobs for one key;
- stuck: a job that has not ended, or a message that waits;
- resurrected: a job that a client deleted is there again, or its row or files are still there;
- refused: a request that is right was answered with 4xx;
- untold: a job that was to be told of, has ended, and nobody was told;
- ended by itself: the API or a worker was gone before anybody killed it.

An edit may fail for one reason: a client deleted the video that it starts from. Exit code 1 if any of them is above 0.
"""

import argparse
import asyncio
import collections
import dataclasses
import functools
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
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import numpy as np
import sqlalchemy as sa
import uvicorn
from cpu_ops import commit, cpu_name
from serve_storm_clients import Client, Ledger

from kinema.config import to_dict
from kinema.generate.progress import Progress
from kinema.generate.record import Record
from kinema.media import Frame
from kinema.provenance.mark import UNMARKED
from kinema.serve import outbox
from kinema.serve import worker as worker_module
from kinema.serve.app import make_app
from kinema.serve.artefacts import Artefacts
from kinema.serve.capabilities import Capabilities
from kinema.serve.job import ENDED
from kinema.serve.settings import QueueSettings, ServeSettings
from kinema.serve.store import DELIVERIES, EVENTS, JOBS, Store
from kinema.shapes import Stride
from kinema.spec import ModelDefaults, VideoSpec

MODEL = Capabilities(
    name="mini",
    defaults=ModelDefaults(frames=5, height=16, width=16, fps=8.0, steps=4, guidance=1.0, solver="euler", shift=1.0),
    stride=Stride(4, 16, 16),
    solvers=("euler",),
)
CONTEXT = multiprocessing.get_context("forkserver")
GONE = "is gone: it was deleted"
"""What an edit says whose source a client has deleted."""
PATIENCE_S = 120.0
"""How long a process may take to do something before it is killed all the same."""
QUEUE = QueueSettings(lease_s=2.0, backoff_s=0.1, max_attempts=100, max_queued=100_000)


class FakedPipeline:
    """Stands for a model: short steps that report like real ones, then grey pictures; of an edit too."""

    def __init__(self, step_s: float, count: Callable[[], None] = lambda: None) -> None:
        self.step_s, self._count = step_s, count
        self.steps = self.previewer = None
        self.model, self.stride = SimpleNamespace(vae=None), MODEL.stride
        self.device = SimpleNamespace(type="cpu")

    def resolve(self, spec: VideoSpec) -> VideoSpec:
        """As the real one does, but that an edit is as long as any video."""
        plain = dataclasses.replace(spec, edit=None).resolve(MODEL.defaults, MODEL.stride)
        return dataclasses.replace(plain, edit=spec.edit)

    def record(self, spec: VideoSpec) -> Record:
        """What is written into the file."""
        return dataclasses.replace(Record.of(spec, folder=None, device="cpu", dtype="float32"), version="0")

    def stream(self, spec: VideoSpec, report: Callable[[Progress], None]) -> Iterator[Frame]:
        """Give all frames after the steps."""
        assert spec.steps
        assert spec.frames
        assert spec.height
        assert spec.width
        for step in range(spec.steps + 1):
            report(Progress(stage="denoise", step=step, total=spec.steps, eta_s=None))
            self._count()
            time.sleep(self.step_s)
        report(Progress(stage="decode", step=0, total=1, eta_s=None))
        yield np.full((spec.frames, spec.height, spec.width, 3), 128, np.uint8)


def run_api(store: str, listener: socket.socket, gate: Connection) -> None:
    """Be ready to serve the API of a store; once told, serve it until killed."""
    outbox.CLAIM_S = 5.0  # a message that died with its sender is sent again after so long
    settings = ServeSettings(queue=QUEUE, allowed_networks=("127.0.0.1/32",))
    app = make_app(Store.open(store), Artefacts(f"{store}/artefacts"), settings)
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none")
    config.load()
    if _is_told(gate):
        uvicorn.Server(config).run(sockets=[listener])


def run_worker(store: str, step_s: float, steps: Any, gate: Connection) -> None:
    """Be ready to work; once told, work until killed, or told to stop. `steps` counts what it has done."""

    def count() -> None:
        steps.value += 1  # nobody else writes it

    worker = faked_worker(Store.open(store), Artefacts(f"{store}/artefacts"), step_s, count)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop.set())
    if _is_told(gate):
        worker.run()


def _is_told(gate: Connection) -> bool:
    gate.send("ready")
    try:
        return bool(gate.recv())
    except EOFError:  # there is no storm any more
        return False


def faked_worker(
    store: Store, artefacts: Artefacts, step_s: float, count: Callable[[], None] = lambda: None
) -> worker_module.Worker:
    """A worker with the faked pipeline; its sweeps are often."""
    worker_module.SWEEP_S = worker_module.SEARCH_S = 0.5
    worker = worker_module.Worker(store, artefacts, ("mini",), settings=QUEUE, marks=UNMARKED)
    worker._pipelines["mini"] = FakedPipeline(step_s, count)  # type: ignore[assignment]
    worker.leases.offer("mini", json.dumps(to_dict(MODEL)))
    return worker


class Process:
    """One process, ready to begin, or at work."""

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        self._gate, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=target, args=(*arguments, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def begin(self) -> None:
        """Wait until it is ready, and let it begin."""
        try:
            self._gate.recv()
            self._gate.send(True)
        except (EOFError, OSError):
            return  # it ended before that, which its exit code tells

    def kill(self) -> int | None:
        """Kill it with SIGKILL; returns its exit code."""
        self.process.kill()
        self.process.join()
        self._gate.close()
        return self.process.exitcode


class Place:
    """The processes: each is followed by another one, ready before it is killed."""

    def __init__(self, store: str, listener: socket.socket, workers: int, step_s: float, ledger: Ledger) -> None:
        self._ledger = ledger
        self._steps = {f"worker {i}": CONTEXT.Value("L", 0, lock=False) for i in range(workers)}
        self._make: dict[str, Callable[[], Process]] = {"api": lambda: Process(run_api, store, listener)}
        for name, steps in self._steps.items():
            self._make[name] = functools.partial(Process, run_worker, store, step_s, steps)
        self._next = {name: make() for name, make in self._make.items()}
        self._running: dict[str, Process] = {}
        self._done_before: dict[str, int] = {}
        self.kills: collections.Counter[str] = collections.Counter()
        self.faults: list[str] = []
        """What ended by itself, and with which exit code."""
        for name in self._make:
            self._follow(name)

    def has_worked(self, name: str) -> bool:
        """Whether a process has done something since it began."""
        return self._done(name) > self._done_before[name]

    def kill(self, name: str) -> None:
        """Kill a process with SIGKILL, and let the next one begin."""
        code = self._running[name].kill()
        if code == -signal.SIGKILL:
            self.kills[name.partition(" ")[0]] += 1
        else:
            self.faults.append(f"{name}: exit code {code}")
        self._follow(name)

    def start_ended(self) -> None:
        """Start again what ended by itself."""
        for name, running in list(self._running.items()):
            if (code := running.process.exitcode) is not None:
                self.faults.append(f"{name}: exit code {code}")
                self._follow(name)

    def names(self) -> list[str]:
        """All there are."""
        return list(self._make)

    def stop(self) -> None:
        """End them all."""
        for process in (*self._running.values(), *self._next.values()):
            process.kill()

    def _done(self, name: str) -> int:
        return self._ledger.answers if name == "api" else int(self._steps[name].value)

    def _follow(self, name: str) -> None:
        self._done_before[name] = self._done(name)
        self._running[name] = self._next[name]
        self._running[name].begin()
        self._next[name] = self._make[name]()


async def storm(options: argparse.Namespace, store: str, ledger: Ledger) -> Place:
    """Let clients and death loose, then wait until all is quiet; the place says what was killed, and what was not."""
    chance, ends_at = random.Random(options.seed), time.monotonic() + 60 * options.minutes
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)  # who comes between two APIs waits for the second
    receiver = await asyncio.start_server(ledger.hear, "127.0.0.1", 0)
    callback = f"http://127.0.0.1:{receiver.sockets[0].getsockname()[1]}/hook"
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    place = await asyncio.to_thread(Place, store, listener, options.workers, options.step_s, ledger)
    limits = httpx2.Limits(max_connections=None)
    try:
        async with httpx2.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
            stop = asyncio.Event()
            clients = [
                Client(http, ledger, f"client {i}", options.seed * 1000 + i, callback) for i in range(options.clients)
            ]
            tasks = [asyncio.create_task(client.use(stop)) for client in clients]
            while sum(place.kills.values()) < options.kills and time.monotonic() < ends_at:
                victim = "api" if chance.random() < 0.5 else chance.choice(place.names()[1:])
                patience = time.monotonic() + PATIENCE_S
                while not place.has_worked(victim) and time.monotonic() < patience:
                    await asyncio.sleep(0.01)  # or it would only kill what has not begun yet
                    place.start_ended()
                await asyncio.sleep(chance.uniform(0, options.gap_s))
                await asyncio.to_thread(place.kill, victim)
            ledger.in_storm = len(ledger.created)
            stop.set()
            await asyncio.gather(*tasks)
            await _quiet(store, place, options.patience_s)
    finally:
        place.stop()
        receiver.close()
        listener.close()
    return place


async def _quiet(store: str, place: Place, patience_s: float) -> None:
    opened = Store.open(store)
    deadline = time.monotonic() + patience_s
    left = sa.select(sa.func.count()).where(sa.or_(JOBS.c.status.not_in(ENDED), JOBS.c.is_deleted))
    waiting = sa.select(sa.func.count()).where(DELIVERIES.c.status == "waiting")
    while time.monotonic() < deadline:
        with opened.read() as db:
            if db.execute(left).scalar_one() + db.execute(waiting).scalar_one() == 0:
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
        unsent = db.execute(sa.select(DELIVERIES.c.id).where(DELIVERIES.c.status == "waiting")).scalars().all()
    opened.close()
    wrong: dict[str, list[str]] = {name: [] for name in ("lost", "published twice", "stuck", "resurrected", "untold")}
    wrong["stuck"] += [f"message {name}" for name in unsent]
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
        elif job_id in ledger.calling - ledger.told:
            wrong["untold"].append(f"{job_id} {row.status}")
        if row.status == "failed" and ledger.sources.get(job_id) in ledger.deleted and GONE in row.error_message:
            continue
        if row.status == "failed" or (job_id in ledger.completed_seen and row.status != "completed"):
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
    parser.add_argument("--minutes", type=float, default=600.0, help="end with fewer kills after so long")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gap-s", type=float, default=0.6, help="longest pause between two kills")
    parser.add_argument("--step-s", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience-s", type=float, default=1800.0)
    options = parser.parse_args()
    CONTEXT.set_forkserver_preload(["kinema.serve.app", "kinema.serve.worker", "httpx2", "uvicorn"])  # read once
    ledger, began = Ledger(), time.monotonic()
    loads = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory(prefix="kinema-storm-") as folder:
        store = str(Path(folder) / "store")
        Store.open(store).close()
        place = asyncio.run(storm(options, store, ledger))
        took_s = time.monotonic() - began
        loads.append(os.getloadavg()[2])
        opened = Store.open(store)
        with opened.read() as db:
            kept = dict(db.execute(sa.select(JOBS.c.status, sa.func.count()).group_by(JOBS.c.status)).all())
            most = db.execute(sa.select(sa.func.max(JOBS.c.attempt))).scalar_one()
            again = db.execute(sa.select(sa.func.count()).where(JOBS.c.attempt > 1)).scalar_one()
        opened.close()
        wrong = {**judge(store, ledger), "refused": ledger.refused, "ended by itself": place.faults}
    command = shlex.join(["python", *sys.argv])
    cores = f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores"
    print(f"`{command}` at {commit()}, {cpu_name()}, {cores}, load {loads[0]:.1f} at the start and")
    print(
        f"{loads[1]:.1f} in the 15 minutes before the end, Python {platform.python_version()}, SQLAlchemy "
        f"{sa.__version__}\n"
    )
    print("| what | count |\n|---|---|")
    refused = sum(ledger.asked[code] for code in ("429", "500", "502", "503"))
    rows: dict[str, object] = {
        "kills of the API": place.kills["api"], "kills of workers": place.kills["worker"], "seconds": round(took_s),
        "orders taken": len(ledger.created), "of them before the last kill": ledger.in_storm,
        **{f"orders to {kind}": count for kind, count in sorted(ledger.kinds.items())},
        "of them with an uploaded video": ledger.kinds.total() - ledger.kinds["create"] - len(ledger.sources),
        "with a callback": len(ledger.calling), "answers": ledger.answers,
        "deleted": len(ledger.deleted),
        **{f"{status} at the end": count for status, count in sorted(kept.items())},
        "jobs begun more than once": again, "most attempts of one job": most, "answers of 429 or 5xx": refused,
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
