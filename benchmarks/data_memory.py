"""Measure the memory that curation takes of a short and of a long file: `kinema data run` as its user types it.

python benchmarks/data_memory.py FOLDER [--minutes M ...] [--size WxH] [--rate R]
> benchmarks/data_memory_HARDWARE_YYYYMM.md

FOLDER holds videos; KINEMA_FOOTAGE may name it. Half a minute of parts of them is joined, and repeated by copying its
packets until the file is M minutes long. Then the stages ingest, split, filter and dedup run over it with one child
process. What is counted is the peak of the resident memory of the first process and of its children, as Linux keeps it.

Exit code 1 if the longest file takes over a tenth more than the shortest.
"""

import argparse
import contextlib
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
from cpu_ops import commit, cpu_name
from data_speed import RATE, SIZE, make_film

from kinema.data.store import Store

PART_S = 30.0
MORE = 1.1
"""Share of the shortest file's memory that the longest one may take."""
STAGES = "ingest,split,filter,dedup"


def repeat(film: Path, out: Path, minutes: float) -> None:
    """Copy the packets of a film again and again."""
    with av.open(str(film)) as source:
        stream = source.streams.video[0]
        packets = [(packet.pts, packet.dts, packet.is_keyframe, bytes(packet)) for packet in source.demux(stream)
                   if packet.size]  # fmt: skip
        step = round(1 / stream.average_rate / stream.time_base)
        with av.open(str(out), "w") as sink:
            target = sink.add_stream_from_template(stream)
            for turn in range(max(1, round(60 * minutes / (len(packets) * step * stream.time_base)))):
                for pts, dts, is_key, data in packets:
                    packet = av.Packet(data)
                    packet.stream, packet.time_base, packet.is_keyframe = target, stream.time_base, is_key
                    packet.pts, packet.dts = (stamp + turn * len(packets) * step for stamp in (pts, dts))
                    sink.mux(packet)


def peaks(film: Path, folder: Path) -> dict[str, float]:
    """Run the stages over a film; the most memory of the first process and of its children, in MB."""
    recipe = folder / "recipe.toml"
    out = folder / film.stem
    recipe.write_text(
        f"out = {json.dumps(str(out))}\n[limits]\nworkers = 1\n[[sources]]\npath = {json.dumps(str(film))}\n"
    )
    command = [sys.executable, "-m", "kinema", "data", "run", str(recipe), "--stages", STAGES]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    most: dict[int, float] = {}
    while run.poll() is None:
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if entry.name.isdigit() and os.getpgid(int(entry.name)) == run.pid:
                    status = (entry / "status").read_text()
                    most[int(entry.name)] = int(status.split("VmHWM:")[1].split()[0]) / 1000
        time.sleep(0.1)
    if run.returncode:
        raise SystemExit(f"kinema data run ended with {run.returncode} for {film.name}")
    children = [size for pid, size in most.items() if pid != run.pid]
    return {"first": most[run.pid], "child": max(children), "clips": Store(out).count("clips")}


def main() -> int:
    """Print the report."""
    parser = argparse.ArgumentParser(description="measure the memory that curation takes of short and long files")
    parser.add_argument("folder", nargs="?", default=os.environ.get("KINEMA_FOOTAGE"))
    parser.add_argument("--minutes", type=float, nargs="+", default=[10.0, 240.0])
    parser.add_argument("--size", default="x".join(map(str, SIZE)))
    parser.add_argument("--rate", type=int, default=RATE)
    options = parser.parse_args()
    if not options.folder or not Path("/proc/self/status").exists():
        print("nothing measured: name a folder of videos, or set KINEMA_FOOTAGE, on Linux")
        return 0
    width, height = map(int, options.size.split("x"))
    print(f"`{shlex.join(['python', *sys.argv])}` at {commit()}, {cpu_name()}, {os.cpu_count()} cores,")
    print(f"Python {platform.python_version()}, PyAV {av.__version__}\n")
    print("| minutes | pictures | clips | first process | child process | together |\n|---|---|---|---|---|---|")
    totals = []
    with tempfile.TemporaryDirectory(prefix="kinema-memory-") as folder:
        part = Path(folder) / "part.mp4"
        make_film(Path(options.folder), part, PART_S, (width, height), options.rate)
        for minutes in options.minutes:
            film = Path(folder) / f"{minutes:g}.mp4"
            repeat(part, film, minutes)
            found = peaks(film, Path(folder))
            totals.append(found["first"] + found["child"])
            print(
                f"| {minutes:g} | {60 * minutes * options.rate:,.0f} | {found['clips']:,.0f} | {found['first']:.0f} MB "
                f"| {found['child']:.0f} MB | {totals[-1]:.0f} MB |",
                flush=True,
            )
    return int(totals[-1] > MORE * totals[0])


if __name__ == "__main__":
    sys.exit(main())
