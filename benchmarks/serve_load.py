"""Measure what the API process bears: videos created per second, and how long a look takes, beside a busy worker.

python benchmarks/serve_load.py [--clients N] [--seconds S] [--jobs N] > benchmarks/serve_load_HW_YYYYMM.md

The server is a process of its own, with SQLite, of which every commit is synced to the disk. Clients are another
process with that many requests under way at any time, over connections that stay open. A faked worker takes what is
queued and publishes it at once. First an almost empty table, then one with so many finished jobs more.
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


async def measure(url: str, clients: int, seconds: float) -> dict[str, float]:
    """Creates per second, and the 99th percentile of a look, in milliseconds."""
    limits = httpx2.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx2.AsyncClient(base_url=url, timeout=120, limits=limits) as http:
        ids: list[str] = []

        async def create(client: int) -> None:
            answer = await http.post("/v1/videos", json={"prompt": f"a red ball rolls to client {client}"})
            answer.raise_for_status()
            ids.append(answer.json()["id"])

        async def look(client: int) -> None:
            (await http.get(f"/v1/videos/{ids[client % len(ids)]}")).raise_for_status()

        await hammer(create, clients, 1.0)  # connections and caches
        created = await hammer(create, clients, seconds)
        looked = await hammer(look, clients, seconds)
    return {
        "creates per second": len(created) / seconds,
        "create, p99 (ms)": 1000 * statistics.quantiles(created, n=100)[98],
        "looks per second": len(looked) / seconds,
        "look, p50 (ms)": 1000 * statistics.median(looked),
        "look, p99 (ms)": 1000 * statistics.quantiles(looked, n=100)[98],
    }


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
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_served(url)
            return asyncio.run(measure(url, options.clients, options.seconds))
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
        print(f"| {name} | {value:.1f} | {full[name]:.1f} | {100 * (full[name] / value - 1):+.0f} % |")


if __name__ == "__main__":
    main()
