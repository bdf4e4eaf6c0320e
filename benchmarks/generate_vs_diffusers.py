"""Measure a whole generation, prompt to frames, against diffusers' WanPipeline on the same folder and noise.

python benchmarks/generate_vs_diffusers.py [--model FOLDER] [--dtype D] [--rounds N] > benchmarks/MODEL_MACHINE_DATE.md

The measurement is that of `kinema bench`; this writes it as a report, with the error in float32 too. `--model
wan2.1-1.3b-random` is a transformer and an autoencoder of the shape of Wan2.1-1.3B with random weights, under a text
encoder of its width with two layers.
"""

import argparse
import os
import platform
import shlex
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
from cpu_ops import commit, cpu_name
from memory import build

from kinema.cli.flags import parse_size
from kinema.evaluate.bench import SIDES, compare, outline_of
from kinema.evaluate.roofline import floors
from kinema.generate.device import DTYPES, choose_device, choose_dtype, dtype_name
from kinema.model import PRESETS
from kinema.spec import VideoSpec

RANDOM = "wan2.1-1.3b-random"


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini", help="a model folder (default: the shipped mini)")
    parser.add_argument("--dtype", choices=list(DTYPES), default=dtype_name(choose_dtype(None, choose_device("cpu"))))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, help="default: the model's")
    parser.add_argument("--steps", type=int, help="default: the model's")
    parser.add_argument("--size", help="such as 128x128 (default: the model's)")
    parser.add_argument(
        "--no-float32", action="store_true", help="leave out the error in float32: both models at once, 20 GB for 1.3B"
    )
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        if arguments.model == RANDOM:
            build(Path(temporary), PRESETS["wan2.1-1.3b"].dit.num_layers, 2)
            _report(arguments, load, temporary)
        else:
            _report(arguments, load, str(outline_of(arguments.model).model.folder))


def _report(arguments: argparse.Namespace, load: float, folder: str) -> None:
    width, height = parse_size(arguments.size) if arguments.size else (None, None)
    request = VideoSpec(
        prompt="a ball", model=folder, width=width, height=height, frames=arguments.frames, steps=arguments.steps
    )
    found = compare(folder, request, tuple(SIDES), rounds=arguments.rounds, device="cpu", dtype=arguments.dtype)
    results = {arguments.dtype: found}
    if not arguments.no_float32:
        results["float32"] = compare(folder, request, tuple(SIDES), rounds=1, device="cpu", dtype="float32")
    least = floors(outline_of(folder).resolve(request), "cpu", arguments.dtype)
    spec, (ours, theirs) = found.spec, found.sides.values()
    print(f"# Generation against diffusers: {arguments.model}\n")
    print(f"- command: `python {shlex.join(sys.argv)}`, commit {commit()}, {time.strftime('%Y-%m')}")
    print(f"- {cpu_name()}, {os.cpu_count()} logical cores, {torch.backends.cpu.get_cpu_capability()}")
    print(f"- Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"- load when it began: {load:.1f}{' (busy: do not commit these figures)' if load > 0.5 else ''}")
    print(
        f"- {spec.frames} frames of {spec.width}x{spec.height}, {spec.steps} steps of {spec.solver}, {arguments.dtype},"
    )
    print(f"  guidance {spec.guidance:g}; medians of {found.rounds} rounds\n")
    print("| | Kinema | diffusers | ratio | least possible | reached |\n|---|---:|---:|---:|---:|---:|")
    _row("end to end", ours.end_to_end_s, theirs.end_to_end_s, sum(floor.seconds for floor in least.values()))
    for stage, seconds in ours.stages_s.items():
        _row(stage, seconds, theirs.stages_s[stage], least[stage].seconds)
    one, other = ours.peak_bytes / 1e6, theirs.peak_bytes / 1e6
    print(f"| peak memory of the process | {one:.0f} MB | {other:.0f} MB | {other / one:.2f} | | |\n")
    for name, each in results.items():
        print(
            f"Largest difference of a pixel in {name}: {each.largest_error:.3g} of 255 (ours are whole numbers), "
            f"PSNR {each.psnr_db:.1f} dB."
        )


def _row(label: str, ours: float, theirs: float, least: float) -> None:
    ratio, reached = theirs / ours, 100 * least / ours
    print(f"| {label} | {ours:.3f} s | {theirs:.3f} s | {ratio:.2f} | {least:.3f} s | {reached:.0f} % |")


if __name__ == "__main__":
    main()
