"""Kill `kinema data run` again and again, and compare what it ends with to a run that nobody killed, row for row.

python benchmarks/data_storm.py FOLDER [--kills N] [--minutes M] [--engine local|ray]
> benchmarks/data_storm_HARDWARE_YYYYMM.md

FOLDER holds videos, broken ones too; KINEMA_FOOTAGE may name it. A run begins with an empty folder. Some time after it
has opened its data set it is killed with SIGKILL: its whole process group, or its first process alone, which leaves
children without a parent. The same command is started again, and killed again, until it ends by itself. That is a
round; there are as many as the kills need. Half of the kills come at any time up to what a run takes, the others soon
after the end of a stage drawn by lot, so they meet every stage; a run that has let go of its data set has nothing left
to lose, and is left to end. With the engine ray, a cluster of two nodes outlives the runs, and a third of the kills, at
most one for each run, strike one of its workers while the run goes on. After each kill and at the end of each round:

- unreadable: a table that cannot be read after a kill;
- different: rows of a table, or the card, that are not those of the clean run;
- orphans: files in the folder that no table names, or left among the temporary ones;
- left over: processes that live on after their run has ended;
- stuck: a run that does not end, or ends with an error.

Exit code 1 if any of them is above 0.
"""

import argparse
import collections
import contextlib
import json
import os
import platform
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lance
from cpu_ops import commit, cpu_name

from kinema.data.store import KEYS, Store
from kinema.errors import DataError

PATIENCE_S = 900.0
"""Time for one run."""
GRACE_S = 20.0
"""Time for children to notice that they are alone."""
TOKEN = "KINEMA_STORM"
WRONG = ("unreadable", "different", "orphans", "left over", "stuck")


class Place:
    """Folders, the command, and what was found to be wrong."""

    def __init__(self, folder: Path, footage: Path, options: argparse.Namespace) -> None:
        self.folder, self._token, self._options = folder, uuid.uuid4().hex, options
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self._footage = footage
        self.wrong: dict[str, list[str]] = {name: [] for name in WRONG}
        self.environment = {**os.environ, TOKEN: self._token, "TMPDIR": str(self.temporary)}

    def start(self, out: Path) -> subprocess.Popen[str]:
        """Begin a run in a process group of its own."""
        recipe = self.folder / f"{out.name}.toml"
        encode = f'[encode]\nmodel = "{self._options.encode}"\n' if self._options.encode else ""
        recipe.write_text(
            f"out = {json.dumps(str(out))}\nmax_failures = 1.0\n[split]\nmin_s = 0.5\n{encode}"
            f"[limits]\nworkers = {self._options.workers}\n[[sources]]\npath = {json.dumps(str(self._footage))}\n"
        )
        command = [sys.executable, "-m", "kinema", "--verbose", "data", "run", str(recipe)]
        command += ["--engine", self._options.engine]
        with (self.folder / f"{out.name}.log").open("w") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, env=self.environment, text=True, start_new_session=True
            )

    def stages_done(self, out: Path) -> int:
        """How many stages the last run came to the end of."""
        return (self.folder / f"{out.name}.log").read_text().count("kinema.data.run: info:")

    def said(self, out: Path) -> str:
        """The last line of the last run."""
        lines = (self.folder / f"{out.name}.log").read_text().strip().splitlines()
        return lines[-1] if lines else ""

    def alive(self) -> list[str]:
        """Processes that a run started, and their command lines."""
        return [f"{pid} {words[:120]}" for pid, words in self._ours() if not self._of_the_cluster(words)]

    def workers(self) -> list[int]:
        """Processes of the cluster that hold a slot."""
        return sorted(pid for pid, words in self._ours() if words.startswith("ray::Slot"))

    def _ours(self) -> Iterator[tuple[int, str]]:
        """Processes that carry the token, and their command lines."""
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and f"{TOKEN}={self._token}".encode() in (entry / "environ").read_bytes():
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
                    if words:
                        yield int(entry.name), words

    def _of_the_cluster(self, words: str) -> bool:
        """Whether a process belongs to the cluster, which outlives the runs: all but the children of its workers."""
        return self._options.engine == "ray" and "multiprocessing" not in words


def opened(run: subprocess.Popen[str], out: Path) -> bool:
    """Whether a run holds its data set, or has ended."""
    if run.poll() is not None:
        return True
    with contextlib.suppress(OSError):
        return any(each.readlink() == out / ".lock" for each in Path(f"/proc/{run.pid}/fd").iterdir())
    return False


def tables(out: Path) -> dict[str, Any]:
    """All rows of all tables by their keys, and the card."""
    store = Store(out)
    found: dict[str, Any] = {name: {row[key]: row for row in store.read(name)} for name, key in KEYS.items()}
    card = out / "README.md"
    return {**found, "card": {"": card.read_text().replace(out.name, "NAME") if card.exists() else None}}


def differences(one: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    """What differs, table by table, row by row, column by column."""
    for name in one:
        for key in sorted({*one[name], *other[name]}):
            before, after = one[name].get(key), other[name].get(key)
            if before == after:
                continue
            if isinstance(before, dict) and isinstance(after, dict):
                columns = [each for each in {*before, *after} if before.get(each) != after.get(each)]
                yield f"{name} {key}: {', '.join(sorted(columns))}"
            else:
                yield f"{name} {key}: only in one" if None in (before, after) else f"{name} {key}"


def strays(out: Path) -> Iterator[str]:
    """Files of a data set that no table names."""
    for entry in sorted(out.iterdir()):
        if entry.suffix != ".lance" and entry.name not in ("kinema.json", "README.md", ".lock"):
            yield entry.name
    for path in sorted(out.glob("*.lance")):
        table = lance.dataset(str(path))
        named = {file.path for part in table.get_fragments() for file in part.data_files()}
        yield from (str(each.relative_to(out)) for each in (path / "data").glob("*") if each.name not in named)
        versions = [each for each in (path / "_versions").glob("*") if each.suffix != ".json"]
        kept = (path / "_transactions", 1), (path / "_deletions", 0)
        yield from (f"{each.relative_to(out)}: {len([*each.glob('*')])}" for each, most in kept
                    if each.exists() and len([*each.glob("*")]) > most)  # fmt: skip
        if len(versions) != 1:
            yield f"{path.name}: {len(versions)} versions"


def wait(place: Place, run: subprocess.Popen[str], out: Path, num_stages: int, deadline: float) -> None:
    """Wait until a run has come to the end of so many stages, or has ended itself."""
    while run.poll() is None and place.stages_done(out) < num_stages and time.monotonic() < deadline:
        time.sleep(0.01)


def storm(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Let death loose until it has struck often enough; returns what happened."""
    began = time.monotonic()
    clean = place.folder / "clean"
    run = place.start(clean)
    if run.wait(PATIENCE_S) != 0:
        raise SystemExit(f"the run without kills fails: {place.said(clean)}")
    clean_s, truth = time.monotonic() - began, tables(clean)
    usual_s, num_stages = clean_s, place.stages_done(clean)
    chance = random.Random(options.seed)
    kills: collections.Counter[str] = collections.Counter()
    stages: collections.Counter[int] = collections.Counter()
    rounds = 0

    def is_over() -> bool:
        return kills.total() >= options.kills or time.monotonic() - began > 60 * options.minutes

    def has_let_go(run: subprocess.Popen[str], out: Path) -> bool:
        return place.stages_done(out) == num_stages and not opened(run, out)

    while not is_over():
        rounds += 1
        out = place.folder / f"round {rounds}"
        goes_on = is_hurt = False
        while True:
            if not goes_on:
                is_hurt, is_new, started = False, not out.exists(), time.monotonic()
                run = place.start(out)
                deadline = time.monotonic() + PATIENCE_S
                while not opened(run, out) and time.monotonic() < deadline:
                    time.sleep(0.005)
            spared = is_over() or has_let_go(run, out)
            if not spared and chance.random() < 0.5:
                wait(place, run, out, chance.randrange(1, num_stages), deadline)
                wait_s = chance.uniform(0, usual_s / num_stages)
            else:
                wait_s = PATIENCE_S if spared else chance.uniform(0, usual_s)
            try:
                run.wait(wait_s)
            except subprocess.TimeoutExpired:
                if spared or time.monotonic() > deadline:
                    place.wrong["stuck"].append(f"round {rounds} takes more than {PATIENCE_S:g} s")
                    os.killpg(run.pid, signal.SIGKILL)
                    run.wait()
                    break
            else:
                if run.returncode:
                    place.wrong["stuck"].append(f"round {rounds} ends with {run.returncode}: {place.said(out)}")
                if is_new:
                    usual_s = min(usual_s, time.monotonic() - started)
                break
            if goes_on := has_let_go(run, out):
                continue
            stages[place.stages_done(out)] += 1
            workers = [] if is_hurt or chance.random() > 1 / 3 else place.workers()
            if workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(workers), signal.SIGKILL)
                kills["worker"] += 1
                goes_on = is_hurt = True
                continue
            whole = chance.random() < 0.5
            (os.killpg if whole else os.kill)(run.pid, signal.SIGKILL)
            run.wait()
            kills["group" if whole else "first process"] += 1
            if (out / "kinema.json").exists():
                try:
                    tables(out)
                except (DataError, OSError, ValueError) as error:
                    place.wrong["unreadable"].append(f"after kill {kills.total()}: {error}")
        place.wrong["different"] += [f"round {rounds}: {each}" for each in differences(truth, tables(out))]
        place.wrong["orphans"] += [f"round {rounds}: {each}" for each in strays(out)]
        print(f"round {rounds}: {kills.total()} kills, {sum(map(len, place.wrong.values()))} wrong", file=sys.stderr)
    deadline = time.monotonic() + GRACE_S
    while place.alive() and time.monotonic() < deadline:
        time.sleep(0.2)
    place.wrong["left over"] += place.alive()
    place.wrong["orphans"] += [f"temporary {each.name}" for each in place.temporary.glob("kinema-scratch-*")]
    return {"clean_s": clean_s, "kills": kills, "stages": stages, "rounds": rounds, "rows": truth,
            "seconds": time.monotonic() - began}  # fmt: skip


@contextlib.contextmanager
def cluster(place: Place, options: argparse.Namespace) -> Iterator[None]:
    """Two Ray nodes of one slot each, for the runs of the engine ray; nothing for others."""
    if options.engine != "ray":
        yield
        return
    os.environ.update({name: place.environment[name] for name in (TOKEN, "TMPDIR")})
    patience = {"RAY_raylet_start_wait_time_s": "300", "RAY_agent_register_timeout_ms": "600000"}
    # Ray gives way to whatever else runs on a machine, by 15 steps of niceness, which starves it on a busy one
    os.environ.update({**patience, "RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"})
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    place.environment |= {"RAY_ADDRESS": nodes.address, "RAY_USAGE_STATS_ENABLED": "0"}
    try:
        yield
    finally:
        nodes.shutdown()


def main() -> int:
    """Run the storm and print the report."""
    parser = argparse.ArgumentParser(description="kill curation again and again, and compare its end with a clean one")
    parser.add_argument("folder", nargs="?", default=os.environ.get("KINEMA_FOOTAGE"))
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=60.0, help="no more kills after so many minutes")
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--encode", metavar="MODEL", help="encode with this model too")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not options.folder:
        print("nothing measured: name a folder of videos, or set KINEMA_FOOTAGE")
        return 0
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="kinema-storm-") as folder:
        place = Place(Path(folder), Path(options.folder).absolute(), options)
        with cluster(place, options):
            happened = storm(place, options)
    command = shlex.join(["python", *sys.argv])
    print(f"`{command}` at {commit()}, {cpu_name()}, {os.cpu_count()} cores, load {load:.1f} at the start,")
    print(f"Python {platform.python_version()}, Lance {lance.__version__}\n")
    print("| what | count |\n|---|---|")
    rows: dict[str, object] = {
        "kills of the whole group": happened["kills"]["group"],
        "kills of the first process": happened["kills"]["first process"],
        "kills of a worker of Ray": happened["kills"]["worker"],
        **{f"kills after {done} stages": count for done, count in sorted(happened["stages"].items())},
        "rounds": happened["rounds"], "seconds": round(happened["seconds"]),
        "seconds of the clean run": round(happened["clean_s"]),
        **{f"rows of {name}": len(happened["rows"][name]) for name in KEYS},
        **{f"**{name}**": len(found) for name, found in place.wrong.items()},
    }  # fmt: skip
    for name, count in rows.items():
        print(f"| {name} | {count} |")
    for name, found in place.wrong.items():
        for each in found[:10]:
            print(f"\n{name}: {each}")
    return int(any(place.wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
