"""`kinema doctor`: checks the machine, the installation and, if given, the store of a server, and says what to do."""

import importlib.util
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from kinema.cli import flags
from kinema.errors import KinemaError, how_to_install

Verdict = Literal["ok", "warning", "fault"]

LITTLE_MEMORY_BYTES = 3 * 2**29
"""Making a video with `mini` takes about as much."""
LITTLE_DISK_BYTES = 2**30
NO_DISK_BYTES = 50 * 2**20
LARGE_SKEW_S = 1.0

_EXTRAS = {
    "serve": ("fastapi", "uvicorn", "sqlalchemy", "psycopg", "fsspec"),
    "train": ("tensorboard", "tokenizers"),
    "world": ("mujoco", "scipy"),
    "data": ("lance", "pyarrow", "cv2"),
}


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Check whether Kinema can do its work here, and say what to do where it cannot.

    The exit code is 1 if something is at fault; a warning leaves it at 0.
    """

    model: Annotated[str, flags.text("NAME"), flags.hint("mini")] = "mini"
    """The model to look at: a name, folder or hub id that is here."""
    store: Annotated[str | None, flags.text("FOLDER|URL"), flags.hint("no store is looked at")] = None
    """The store of a server: a folder, or postgresql://USER@HOST/DATABASE."""
    artefacts: Annotated[str | None, flags.text("FOLDER|URL"), flags.hint("in the store's folder")] = None
    """Where its videos go: a folder, or a bucket such as s3://NAME/PATH."""
    as_json: Annotated[bool, flags.hint(name="json")] = False
    """Print the findings as JSON."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    said: str


def run(argv: Sequence[str]) -> int:
    """Run the command with the arguments that follow its name; returns the exit code."""
    options = flags.parse(Doctor, argv, "doctor")
    findings = []
    for finding in _examine(options):
        findings.append(finding)
        if not options.as_json:
            print(f"{finding.verdict:<8} {finding.what:<10} {finding.said}", flush=True)
    if options.as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    return int(any(finding.verdict == "fault" for finding in findings))


def _examine(options: Doctor) -> Iterator[Finding]:
    import kinema

    yield Finding("kinema", "ok", f"{kinema.__version__} on Python {platform.python_version()}, {platform.platform()}")
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "device": _device,
        "memory": _memory,
        "disk": lambda: _disk(options.store),
        "codecs": _codecs,
        "model": lambda: _model(options.model),
        "extras": _extras,
    }
    if options.store is not None:
        checks["store"] = lambda: _store(str(options.store), options.artefacts)
    for what, check in checks.items():
        try:
            yield from check()
        except (KinemaError, OSError, ImportError) as error:
            yield Finding(what, "fault", " ".join(str(error).split()))


def _device() -> Iterator[Finding]:
    import torch

    from kinema.generate.device import choose_device, choose_dtype, dtype_name

    device = choose_device()
    dtype = dtype_name(choose_dtype(None, device))
    if device.type == "cuda":
        for i in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(i)
            yield Finding("device", "ok", f"cuda:{i} {facts.name}, {_size(facts.total_memory)}, {dtype}")
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    speed = "" if dtype == "bfloat16" else "; this processor has no fast bfloat16"
    yield Finding("device", "ok", f"no GPU; {cores} cores, torch {torch.__version__}, {dtype}{speed}")


def _memory() -> Iterator[Finding]:
    info = Path("/proc/meminfo")
    if not info.exists():
        return
    rows = dict(line.split(":") for line in info.read_text().splitlines())
    free = int(rows["MemAvailable"].split()[0]) * 1024
    if free < LITTLE_MEMORY_BYTES:
        yield Finding(
            "memory", "warning", f"{_size(free)} free; mini needs {_size(LITTLE_MEMORY_BYTES)}, so end others"
        )
    else:
        yield Finding("memory", "ok", f"{_size(free)} free")


def _disk(store: str | None) -> Iterator[Finding]:
    folders = {"here": Path.cwd(), "for passing files": Path(tempfile.gettempdir())}
    if store is not None and "://" not in store:
        folders["in the store"] = Path(store)
    for where, folder in folders.items():
        there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
        free = shutil.disk_usage(there).free
        if free < NO_DISK_BYTES:
            yield Finding("disk", "fault", f"{_size(free)} free {where} ({there}); make room")
        elif free < LITTLE_DISK_BYTES:
            yield Finding("disk", "warning", f"only {_size(free)} free {where} ({there})")
        else:
            yield Finding("disk", "ok", f"{_size(free)} free {where} ({there})")


def _codecs() -> Iterator[Finding]:
    import av

    lacking = []
    for name in ("libx264", "libvpx-vp9"):
        try:
            av.codec.Codec(name, "w")
        except av.error.FFmpegError:
            lacking.append(name)
    if lacking:
        remedy = "pip install --force-reinstall av brings a build that has them"
        yield Finding("codecs", "fault", f"PyAV lacks {', '.join(lacking)}; {remedy}")
    else:
        yield Finding("codecs", "ok", f"H.264 and VP9, PyAV {av.__version__}")


def _model(name: str) -> Iterator[Finding]:
    from kinema.model import load_model

    model = load_model(name, "meta")
    model.check_files()
    made = model.defaults
    yield Finding("model", "ok", f"{name}: {made.width}x{made.height}, {made.frames} frames at {made.fps:g} per second")


def _extras() -> Iterator[Finding]:
    there: list[str] = []
    lacking: list[str] = []
    for extra, modules in _EXTRAS.items():
        (there if all(importlib.util.find_spec(name) for name in modules) else lacking).append(extra)
    if there:
        yield Finding("extras", "ok", f"installed: {', '.join(there)}")
    for extra in lacking:
        yield Finding("extras", "warning", f"{extra} is not installed; {how_to_install(extra)} if you need it")


def _store(store: str, artefacts: str | None) -> Iterator[Finding]:
    import sqlalchemy as sa

    from kinema.serve.jobs import Jobs
    from kinema.serve.metrics import num_workers
    from kinema.serve.places import open_places

    if "://" not in store and not Path(store).is_dir():
        yield Finding("store", "warning", f"{store} is not there yet; kinema serve --store {store} makes it")
        return
    opened, files = open_places(store, artefacts)
    try:
        jobs = Jobs(opened)
        with opened.write():
            pass  # it can be written to
        counts = ", ".join(f"{count} {status}" for status, count in sorted(jobs.counts().items())) or "no jobs"
        yield Finding("store", "ok", f"{opened.engine.dialect.name}: {counts}")
        workers = num_workers(opened, jobs)
        hint = "" if workers else "; videos wait until there is one: kinema worker"
        yield Finding("workers", "ok" if workers else "warning", f"{workers} heard of lately{hint}")
        if opened.engine.dialect.name == "postgresql":
            with opened.read() as db:
                skew_s = float(db.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
            skew_s = abs(skew_s - time.time())
            verdict: Verdict = "ok" if skew_s < LARGE_SKEW_S else "fault"
            yield Finding(
                "clock", verdict, f"{skew_s:.2f} s from the database's; leases need less than {LARGE_SKEW_S:g}"
            )
        name = f"doctor/{os.getpid()}"
        files.write(name, b"kinema")
        kept = files.read(name) == b"kinema"
        files.remove("doctor")
        yield Finding("files", "ok" if kept else "fault", "can be written and read" if kept else "come back changed")
    finally:
        opened.close()


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"
