"""Measure a whole generation, prompt to frames, against diffusers' WanPipeline on the same folder and noise.

python benchmarks/generate_vs_diffusers.py [--model FOLDER] [--dtype D] [--rounds N] > benchmarks/MODEL_MACHINE_DATE.md

Both pipelines live in one process and take turns, each round with a prompt of its own, so that nothing is kept from
the round before. Times are medians over the rounds; peak memory is that of a process of its own that generates once.
"""

import argparse
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cpu_ops import commit, cpu_name

from kinema.generate.device import DTYPES, choose_device, choose_dtype, dtype_name
from kinema.generate.pipeline import Pipeline
from kinema.model import PRESETS, DiT, Model, TextEncoder, Tokenizer, VideoVAE, load_model, save_model
from kinema.model.folder import SHIPPED
from kinema.spec import VideoSpec

PROMPTS = (
    "a red ball rolls to the right",
    "two blue boxes fall onto the grass",
    "a green cone slides to the left",
    "a small yellow cylinder spins",
    "a purple capsule tumbles on sand",
    "an orange ball bounces on the tiles at sunset",
)
STAGES = ("text", "denoise", "decode")


class Stopwatch:
    """Adds up the time spent in calls that it wraps, by stage."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    def wrap(self, owner: Any, name: str, stage: str) -> None:
        """Replace a method by one that is timed."""
        method = getattr(owner, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return method(*arguments, **options)
            finally:
                self.seconds[stage] += time.perf_counter() - began

        setattr(owner, name, timed)


def random_mini(folder: Path) -> Path:
    """Save a `mini` of random weights, for a checkout that ships none: as fast, but it shows noise."""
    from kinema.train.tokenizer import train_tokenizer

    preset = PRESETS["mini"]
    torch.manual_seed(0)
    dit = DiT(preset.dit)
    torch.nn.init.normal_(dit.proj_out.weight, std=0.02)  # its initial zeros would hide every error
    torch.nn.init.normal_(dit.time_proj.weight, std=0.02)
    tokenizer = Tokenizer(train_tokenizer(PROMPTS, preset.text.vocab_size, preset.max_tokens))
    model = Model(
        dit=dit, vae=VideoVAE(preset.vae), text=TextEncoder(preset.text), tokenizer=tokenizer, defaults=preset.defaults
    )
    save_model(model, folder)
    return folder


def outline_of(folder: Path) -> Pipeline:
    """Return the model without its weights, to resolve requests and to draw noise with."""
    return Pipeline(load_model(folder, "meta"), name=str(folder))


def ours(folder: Path, dtype: torch.dtype, watch: Stopwatch) -> Callable[[VideoSpec], np.ndarray]:
    """Return our generation: a resolved request in, frames out, in [0, 1]."""
    pipe = Pipeline.load(str(folder), "cpu", dtype_name(dtype))
    decode = pipe.decode
    pipe.decode = lambda *arguments: list(decode(*arguments))  # type: ignore[method-assign]  # at once, to be timed
    watch.wrap(pipe, "network", "text")
    watch.wrap(pipe, "latents", "denoise")
    watch.wrap(pipe, "decode", "decode")
    return lambda spec: pipe(spec).frames / np.float32(255)


def theirs(folder: Path, dtype: torch.dtype, watch: Stopwatch) -> Callable[[VideoSpec], np.ndarray]:
    """Return diffusers' generation, from the same noise."""
    from diffusers import WanPipeline
    from diffusers.utils import logging

    logging.set_verbosity_error()
    outline = outline_of(folder)
    pipe = WanPipeline.from_pretrained(folder, torch_dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    watch.wrap(pipe, "encode_prompt", "text")
    watch.wrap(pipe.transformer, "forward", "denoise")
    watch.wrap(pipe.vae, "decode", "decode")
    limit = outline.model.tokenizer.max_tokens

    def generate(spec: VideoSpec) -> np.ndarray:
        frames: np.ndarray = pipe(
            prompt=spec.prompt,
            negative_prompt=spec.negative,
            height=spec.height,
            width=spec.width,
            num_frames=spec.frames,
            num_inference_steps=spec.steps,
            guidance_scale=spec.guidance,
            latents=outline.noise(spec),
            max_sequence_length=limit,
        ).frames[0]
        return frames

    return generate


SIDES = {"Kinema": ours, "diffusers": theirs}


def peak_bytes(side: str, arguments: argparse.Namespace, folder: Path) -> int:
    """Return the peak memory of a process of its own that generates once on one side."""
    words = [sys.executable, __file__, "--only", side, "--model", str(folder), "--dtype", arguments.dtype]
    words += ["--frames", str(arguments.frames or 0), "--steps", str(arguments.steps or 0)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def requests(folder: Path, arguments: argparse.Namespace) -> list[VideoSpec]:
    """Return one resolved request for each round, and one more to warm up."""
    outline = outline_of(folder)
    return [
        outline.resolve(
            VideoSpec(
                prompt=PROMPTS[i % len(PROMPTS)],
                seed=i,
                frames=arguments.frames or None,
                steps=arguments.steps or None,
            )
        )
        for i in range(arguments.rounds + 1)
    ]


def largest_error(folder: Path, spec: VideoSpec, dtype: torch.dtype) -> float:
    """Return the largest difference between the frames of both sides, in steps of 1/255."""
    frames = [side(folder, dtype, Stopwatch())(spec) for side in SIDES.values()]
    return float(np.abs(frames[0] - frames[1]).max() * 255)


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model folder (default: the shipped mini, or a mini of random weights)")
    parser.add_argument("--dtype", choices=list(DTYPES), default=dtype_name(choose_dtype(None, choose_device("cpu"))))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, help="default: the model's")
    parser.add_argument("--steps", type=int, help="default: the model's")
    parser.add_argument("--only", choices=list(SIDES), help="generate once on one side and print the peak memory")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    dtype = DTYPES[arguments.dtype]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        folder, title = find_model(arguments.model, Path(scratch))
        if arguments.only:
            spec = requests(folder, argparse.Namespace(**{**vars(arguments), "rounds": 0}))[0]
            SIDES[arguments.only](folder, dtype, Stopwatch())(spec)
            unit = 1 if sys.platform == "darwin" else 1024
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
            return
        report(folder, title, dtype, arguments, load)


def find_model(name: str | None, scratch: Path) -> tuple[Path, str]:
    """Return the folder to measure, and what to call it."""
    if name is not None:
        return Path(name), name
    if (SHIPPED / "mini" / "model_index.json").exists():
        return SHIPPED / "mini", "mini"
    return random_mini(scratch / "mini"), "mini, random weights"


def report(folder: Path, title: str, dtype: torch.dtype, arguments: argparse.Namespace, load: float) -> None:
    """Measure, and print what was found."""
    specs = requests(folder, arguments)
    watches = {name: Stopwatch() for name in SIDES}
    generate = {name: side(folder, dtype, watches[name]) for name, side in SIDES.items()}
    for name in SIDES:
        generate[name](specs[0])
    totals: dict[str, list[float]] = {name: [] for name in SIDES}
    stages: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
    for spec in specs[1:]:
        for name in SIDES:
            watches[name].seconds = dict.fromkeys(STAGES, 0.0)
            began = time.perf_counter()
            generate[name](spec)
            totals[name].append(time.perf_counter() - began)
            stages[name].append(watches[name].seconds)
    for each in stages["Kinema"]:
        each["denoise"] -= each["text"]  # our text runs within `latents`
    spec = specs[0]
    print(f"# Generation against diffusers: {title}\n")
    print(f"- command: `python {shlex.join(sys.argv)}`, commit {commit()}, {time.strftime('%Y-%m')}")
    print(f"- {cpu_name()}, {os.cpu_count()} logical cores, {torch.backends.cpu.get_cpu_capability()}")
    print(f"- Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"- load when it began: {load:.1f}{' (busy: do not commit these figures)' if load > 0.5 else ''}")
    print(
        f"- {spec.frames} frames of {spec.width}x{spec.height}, {spec.steps} steps of {spec.solver}, {arguments.dtype},"
    )
    print(f"  guidance {spec.guidance:g}; medians of {len(specs) - 1} rounds\n")
    print("| | Kinema | diffusers | ratio |\n|---|---:|---:|---:|")
    rows = {"end to end": totals, **{stage: {n: [s[stage] for s in stages[n]] for n in SIDES} for stage in STAGES}}
    for label, values in rows.items():
        one, other = (statistics.median(values[name]) for name in SIDES)
        print(f"| {label} | {one:.3f} s | {other:.3f} s | {other / one:.2f} |")
    one, other = (peak_bytes(name, arguments, folder) / 1e6 for name in SIDES)
    print(f"| peak memory of the process | {one:.0f} MB | {other:.0f} MB | {other / one:.2f} |\n")
    for each in dict.fromkeys((torch.float32, dtype)):
        error = largest_error(folder, spec, each)
        print(f"Largest difference of a pixel in {dtype_name(each)}: {error:.3g} of 255 (ours are whole numbers).")


if __name__ == "__main__":
    main()
