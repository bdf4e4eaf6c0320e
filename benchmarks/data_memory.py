"""Measure the memory that curation takes of a short and of a long file, or of few and of many: `kinema data run`.

python benchmarks/data_memory.py FOLDER [--minutes M ...] [--size WxH] [--rate R]
> benchmarks/data_memory_HARDWARE_YYYYMM.md
python benchmarks/data_memory.py --inputs N [N ...]
> benchmarks/data_memory_inputs_HARDWARE_YYYYMM.md

FOLDER holds videos; KINEMA_FOOTAGE may name it. Half a minute of parts of them is joined, and repeated by copying its
packets until the file is M minutes long. With --inputs no footage is needed: N files of two seconds, 64x48, are drawn
by lot, each another shape that moves over another ground. Then the stages ingest, split, filter and dedup run over them
with one child process. What is counted is the peak of the resident memory of the first process and of its largest
child, as Linux keeps it, and the most that all processes of the run held at one moment, looked at ten times a second;
pages that they share count for each.

Exit code 1 if the longest file, or the most files, take over a tenth more than the shortest, or the fewest.
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
import cv2
import numpy as np
from cpu_ops import commit, cpu_name
from data_speed import RATE, SIZE, make_film

from kinema.data.store import Store

PART_S = 30.0
MORE = 1.1
"""Share of the memory of the shortest file, or of the fewest, that the longest, or the most, may take."""
STAGES = "ingest,split,filter,dedup"
TINY, TINY_RATE, TINY_FRAMES = (64, 48), 8, 16


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


def draw_inputs(folder: Path, count: int) -> None:
    """Write so many tiny videos, no two of them alike."""
    folder.mkdir()
    for number in range(count):
        chance = np.random.default_rng(number)
        ground = cv2.resize(chance.integers(0, 256, (8, 6, 3), dtype=np.uint8), TINY)
        shape = cv2.resize(chance.integers(0, 256, (3, 3, 3), dtype=np.uint8), (16, 16))
        top = int(chance.integers(0, TINY[1] - 16))
        with av.open(str(folder / f"{number:05}.mp4"), "w") as sink:
            stream = sink.add_stream("libx264", rate=TINY_RATE, options={"preset": "ultrafast", "crf": "20"})
            stream.width, stream.height, stream.pix_fmt = *TINY, "yuv420p"
            stream.codec_context.thread_count = 1
            for step in range(TINY_FRAMES):
                picture = ground.copy()
                picture[top : top + 16, 2 * step : 2 * step + 16] = shape
                sink.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            sink.mux(stream.encode(None))


def peaks(source: Path, folder: Path) -> dict[str, float]:
    """Run the stages over a file or a folder; the most memory of the first process, of a child, and of all, in MB."""
    recipe = folder / "recipe.toml"
    out = folder / f"{source.stem} out"
    recipe.write_text(
        f"out = {json.dumps(str(out))}\n[split]\nmin_s = 1.0\n[limits]\nworkers = 1\n"
        f"[[sources]]\npath = {json.dumps(str(source))}\n"
    )
    command = [sys.executable, "-m", "kinema", "data", "run", str(recipe), "--stages", STAGES]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    most: dict[int, float] = {}
    together = 0.0
    while run.poll() is None:
        now = 0.0
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if entry.name.isdigit() and os.getpgid(int(entry.name)) == run.pid:
                    status = (entry / "status").read_text()
                    most[int(entry.name)] = int(status.split("VmHWM:")[1].split()[0]) / 1000
                    now += int(status.split("VmRSS:")[1].split()[0]) / 1000
        together = max(together, now)
        time.sleep(0.1)
    if run.returncode:
        raise SystemExit(f"kinema data run ended with {run.returncode} for {source.name}")
    children = [size for pid, size in most.items() if pid != run.pid]
    return {"first": most[run.pid], "child": max(children), "together": together, "clips": Store(out).count("clips")}


def main() -> int:
    """Print the report."""
    parser = argparse.ArgumentParser(description="measure the memory that curation takes of short, long and many files")
    parser.add_argument("folder", nargs="?", default=os.environ.get("KINEMA_FOOTAGE"))
    parser.add_argument("--minutes", type=float, nargs="+", default=[10.0, 240.0])
    parser.add_argument("--size", default="x".join(map(str, SIZE)))
    parser.add_argument("--rate", type=int, default=RATE)
    parser.add_argument("--inputs", type=int, nargs="+", default=[], help="so many tiny files in place of long ones")
    options = parser.parse_args()
    if not (options.folder or options.inputs) or not Path("/proc/self/status").exists():
        print("nothing measured: name a folder of videos, set KINEMA_FOOTAGE, or use --inputs, on Linux")
        return 0
    width, height = map(int, options.size.split("x"))
    print(f"`{shlex.join(['python', *sys.argv])}` at {commit()}, {cpu_name()}, {os.cpu_count()} cores,")
    print(f"Python {platform.python_version()}, PyAV {av.__version__}\n")
    what = "files" if options.inputs else "minutes"
    print(f"| {what} | pictures | clips | first process | child process | all at once |\n|---|---|---|---|---|---|")
    totals = []
    with tempfile.TemporaryDirectory(prefix="kinema-memory-") as folder:
        part = Path(folder) / "part.mp4"
        if not options.inputs:
            make_film(Path(options.folder), part, PART_S, (width, height), options.rate)
        for amount in options.inputs or options.minutes:
            if options.inputs:
                source, pictures = Path(folder) / f"{amount} files", amount * TINY_FRAMES
                draw_inputs(source, amount)
            else:
                source, pictures = Path(folder) / f"{amount:g}.mp4", round(60 * amount * options.rate)
                repeat(part, source, amount)
            found = peaks(source, Path(folder))
            totals.append(found["first"] + found["child"])
            print(
                f"| {amount:,g} | {pictures:,} | {found['clips']:,.0f} | {found['first']:.0f} MB "
                f"| {found['child']:.0f} MB | {found['together']:.0f} MB |",
                flush=True,
            )
    return int(totals[-1] > MORE * totals[0])


if __name__ == "__main__":
    sys.exit(main())
