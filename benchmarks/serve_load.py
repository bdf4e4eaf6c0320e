"""Measure what the API process bears: videos created per second, and how long a look takes, beside a busy worker.

python benchmarks/serve_load.py [--clients N] [--seconds S] [--jobs N] > benchmarks/serve_load_HW_YYYYMM.md

The server is a process of its own, with SQLite, of which every commit is synced to the disk. Clients are another
process with that many requests under way at any time, each over a connection that stays open; they do no more than
write a request and read its answer, so that it is the server that is measured. First all create, then all look. A faked
worker takes what is queued and publishes it at once. First an almost empty table, then one with so many finished jobs
more. The processor's time per request is what remains true on a busy machine.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import shlex
import socket
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import sqlalchemy as sa
from cpu_ops import commit, cpu_name
from serve_storm import MODEL, QUEUE, run_api

from kinema.config import to_dict
from kinema.serve.job import Artefact, Result, result_json
from kinema.serve.leases import Leases
from kinema.serve.store import JOBS, Store
from kinema.spec import VideoSpec

FILE = Artefact(name="faked", num_bytes=1, media_type="video/mp4")


def run_faked_worker(store: str) -> None:
    """Take what is queued and publish it, one job every 50 ms, as fast as a large cluster would."""
    leases = Leases(Store.open(store), "faked", QUEUE)
    leases.offer("mini", json.dumps(to_dict(MODEL)))
    while True:
        job = leases.claim(["mini"])
        if job is not None:
            spec = job.spec.resolve(MODEL.defaults, MODEL.stride)
            leases.publish(job, Result(artefacts={"video": FILE}, spec=spec, seconds=0.5))
        time.sleep(0.05)


def fill(store: str, count: int) -> None:
    """Add finished jobs."""
    spec = VideoSpec(prompt="a red ball rolls to the right").resolve(MODEL.defaults, MODEL.stride)
    result = result_json(Result(artefacts={"video": FILE}, spec=spec, seconds=0.5))
    now = time.time()
    rows = [
        {
            "id": f"video_{uuid.uuid4().hex}", "owner": "", "kind": "create", "model": "mini", "status": "completed",
            "spec": spec.to_json(), "request": "{}", "created_at": now - count + i, "started_at": now - count + i,
            "ended_at": now - count + i + 1, "expires_at": now + 86400, "attempt": 1, "max_attempts": 3,
            "progress": 100, "result": result, "run_s": 1.0, "video_s": 0.5, "stored_bytes": 1,
        }
        for i in range(count)
    ]  # fmt: skip
    opened = Store.open(store)
    with opened.write() as db:
        db.execute(JOBS.insert(), rows)
    opened.close()


class Connection:
    """HTTP at its plainest: what a client library adds would be measured too, and costs more than the server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        """Send a request, and return what the answer's JSON says. Raises RuntimeError unless it is a 200."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        status, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        size = next(int(field.partition(":")[2]) for field in fields if field.startswith("content-length:"))
        answer = await reader.readexactly(size)
        if status.split()[1] != "200":
            raise RuntimeError(f"{method} {path}: {status} {answer.decode()}")
        return json.loads(answer)

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process has taken so far, as Linux tells them."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def hammer(ask: Callable[[int], Awaitable[None]], clients: int, seconds: float) -> list[float]:
    """Have so many clients ask, each again when it has its answer; the seconds that each question took."""
    took: list[float] = []
    until = time.perf_counter() + seconds

    async def one(client: int) -> None:
        while time.perf_counter() < until:
            began = time.perf_counter()
            await ask(client)
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(one(client) for client in range(clients)))
    return took


async def measure(port: int, server: int, clients: int, seconds: float) -> dict[str, float]:
    """How many creates and looks a second, how long they take, and what they cost the server and the clients."""
    connections = [Connection(port) for _ in range(clients)]
    ids: list[str] = []

    async def create(client: int) -> None:
        made = await connections[client].ask("POST", "/v1/videos", {"prompt": f"a red ball rolls to client {client}"})
        ids.append(made["id"])

    async def look(client: int) -> None:
        await connections[client].ask("GET", f"/v1/videos/{ids[client % len(ids)]}")

    figures: dict[str, float] = {}
    for name, ask in (("create", create), ("look", look)):
        await hammer(ask, clients, 1.0)  # connections and caches
        before, mine = processor_s(server), time.process_time()
        took = await hammer(ask, clients, seconds)
        figures |= {
            f"{name}s per second": len(took) / seconds,
            f"{name}, p50 (ms)": 1000 * statistics.median(took),
            f"{name}, p99 (ms)": 1000 * statistics.quantiles(took, n=100)[98],
            f"{name}, server's processor (ms)": 1000 * (processor_s(server) - before) / len(took),
            f"{name}, clients' processor (ms)": 1000 * (time.process_time() - mine) / len(took),
        }
    for connection in connections:
        connection.close()
    return figures


def run(options: argparse.Namespace, jobs: int) -> dict[str, float]:
    """Measure with a table of so many finished jobs."""
    with tempfile.TemporaryDirectory(prefix="kinema-load-") as folder:
        store = str(Path(folder) / "store")
        Store.open(store).close()
        fill(store, jobs) if jobs else None
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        context = multiprocessing.get_context("spawn")
        processes = [
            context.Process(target=run_api, args=(store, port), daemon=True),
            context.Process(target=run_faked_worker, args=(store,), daemon=True),
        ]
        for process in processes:
            process.start()
        try:
            _wait_until_served(f"http://127.0.0.1:{port}")
            server = processes[0].pid
            assert server
            return asyncio.run(measure(port, server, options.clients, options.seconds))
        finally:
            for process in processes:
                process.kill()
                process.join()


def _wait_until_served(url: str) -> None:
    deadline = time.monotonic() + 600
    while True:
        try:
            if httpx2.get(f"{url}/v1/videos/models", timeout=60).json()["data"][0]["ready"]:
                return
        except httpx2.HTTPError:
            pass
        if time.monotonic() > deadline:
            raise SystemExit("the server did not start")
        time.sleep(0.2)


def main() -> None:
    """Measure and print the report."""
    parser = argparse.ArgumentParser(description="what the API process bears")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--jobs", type=int, default=10_000)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    empty, full = run(options, 0), run(options, options.jobs)
    print(f"`{shlex.join(['python', *sys.argv])}` at {commit()}, {cpu_name()}, {os.cpu_count()} cores,")
    print(f"load {load:.1f} at the start, Python {platform.python_version()}, SQLAlchemy {sa.__version__}\n")
    print(f"| {options.clients} clients | empty table | {options.jobs} jobs | change |\n|---|---|---|---|")
    for name, value in empty.items():
        print(f"| {name} | {value:.4g} | {full[name]:.4g} | {100 * (full[name] / value - 1):+.0f} % |")


if __name__ == "__main__":
    main()
