"""Measure how many clips of the demo world are made per second: physics alone, pictures alone, both, and captions.

python benchmarks/world_speed.py [--clips N] [--size WxH] [--frames N] [--fps F] > benchmarks/world_speed_HW_YYYYMM.md

Physics, pictures and captions run in one process with one thread; the last line shares whole clips between processes,
one for each core, as `kinema world render` does, and does not count the seconds that the processes take to start.
"""

import argparse
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable

import mujoco
import torch
from cpu_ops import commit, cpu_name

from kinema.world.dataset import CHUNK, ClipFormat, captions, iter_clips
from kinema.world.physics import simulate
from kinema.world.render import render_clip


def per_second(count: int, make: Callable[[int], object]) -> float:
    """How many times per second `make(0)`, `make(1)`, ... can be called, after one call that is not counted."""
    make(0)
    began = time.perf_counter()
    for index in range(count):
        make(index)
    return count / (time.perf_counter() - began)


def shared_per_second(form: ClipFormat, count: int, workers: int) -> float:
    """Whole clips per second from several processes, counted from when all of them work."""
    warm = 2 * workers * CHUNK
    clips = iter_clips(range(warm + count), **vars(form), workers=workers)
    for _ in range(warm):
        next(clips)
    began = time.perf_counter()
    made = sum(1 for _ in clips)
    return made / (time.perf_counter() - began)


def main() -> None:
    """Measure, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--size", default="64x64")
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--fps", type=float, default=16.0)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    torch.set_num_threads(1)
    width, height = map(int, arguments.size.split("x"))
    form = ClipFormat(num_frames=arguments.frames, fps=arguments.fps, width=width, height=height, split="all")
    scenes = [form.scene(seed) for seed in range(arguments.clips)]
    trajectories = [simulate(scene, form.num_frames, form.fps) for scene in scenes]

    def picture(index: int) -> object:
        return render_clip(scenes[index], trajectories[index], form.num_frames, height, width, samples=form.samples)

    cores = len(os.sched_getaffinity(0))
    rows = {
        "physics": per_second(arguments.clips, lambda index: simulate(scenes[index], form.num_frames, form.fps)),
        "pictures": per_second(arguments.clips, picture),
        "captions (three each)": per_second(arguments.clips, lambda index: captions(scenes[index])),
        "whole clips, one process": per_second(
            arguments.clips, lambda index: next(iter_clips([index], **vars(form), workers=1))
        ),
        f"whole clips, {cores} processes": shared_per_second(form, cores * arguments.clips, cores),
    }
    print("# Clips of the demo world per second\n")
    print(f"- command: `python {shlex.join(sys.argv)}`, commit {commit()}, {time.strftime('%Y-%m')}")
    print(f"- {cpu_name()}, {os.cpu_count()} logical cores, {torch.backends.cpu.get_cpu_capability()}")
    print(f"- Python {platform.python_version()}, torch {torch.__version__}, mujoco {mujoco.__version__}")
    print(f"- load when it began: {load:.1f}{' (busy: do not commit these figures)' if load > 0.5 else ''}")
    print(f"- {form.num_frames} frames of {width}x{height} at {form.fps:g} fps, {arguments.clips} scenes\n")
    print("| | clips per second | ms per clip |\n|---|---:|---:|")
    for name, rate in rows.items():
        print(f"| {name} | {rate:.1f} | {1000 / rate:.1f} |")


if __name__ == "__main__":
    main()
