"""How fast a model makes videos, stage by stage, beside diffusers on the same weights, steps and noise.

Both sides live in one process and take turns, each round with a prompt of its own, so that nothing is kept from the
round before. diffusers is imported when it is measured, and needed for nothing else.
"""

import importlib
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kinema.errors import SpecError
from kinema.evaluate.memory import peak_memory_bytes
from kinema.evaluate.stopwatch import Stopwatch
from kinema.generate.device import DTYPES, choose_device, choose_dtype, dtype_name
from kinema.generate.pipeline import Pipeline
from kinema.model import load_model
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

Generate = Callable[[VideoSpec], np.ndarray]
"""A resolved request in, frames "f h w 3" out, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class SideTimes:
    """What one side took: medians over the rounds, in seconds, and the peak memory of a process that generates once."""

    end_to_end_s: float
    stages_s: dict[str, float]
    peak_bytes: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Both sides, and how far their frames are apart."""

    spec: VideoSpec
    """What was made, but for prompt and seed."""
    rounds: int
    sides: dict[str, SideTimes]
    largest_error: float | None
    """Largest difference of a pixel, in steps of 1/255; ours are whole numbers. None = nothing to compare with."""
    psnr_db: float | None
    """The same as a signal-to-noise ratio."""


def ours(folder: str, device: str, dtype: str, watch: Stopwatch) -> Generate:
    """Load our side."""
    pipe = Pipeline.load(folder, device, dtype)
    decode = pipe.decode
    pipe.decode = lambda *arguments: list(decode(*arguments))  # type: ignore[method-assign, assignment]  # at once, to be timed
    watch.wrap(pipe, "network", "text")
    watch.wrap(pipe, "latents", "denoise", without=("text",))
    watch.wrap(pipe, "decode", "decode")
    return lambda spec: pipe(spec).frames / np.float32(255)


def theirs(folder: str, device: str, dtype: str, watch: Stopwatch) -> Generate:
    """Load diffusers' WanPipeline, which starts from the same noise. Raises SpecError where it is not installed."""
    diffusers = _diffusers()
    outline = outline_of(folder)
    pipe = diffusers.WanPipeline.from_pretrained(outline.model.folder, dtype=DTYPES[dtype]).to(device)
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


SIDES: dict[str, Callable[[str, str, str, Stopwatch], Generate]] = {"Kinema": ours, "diffusers": theirs}


def outline_of(folder: str) -> Pipeline:
    """Return the model without its weights, to resolve requests and to draw noise with."""
    return Pipeline(load_model(folder, "meta"), name=folder)


def requests(folder: str, rounds: int, request: VideoSpec) -> list[VideoSpec]:
    """Return one resolved request for each round, and one more to warm up, in the form of `request`."""
    outline = outline_of(folder)
    fields = {name: getattr(request, name) for name in request.__dataclass_fields__ if name not in ("prompt", "seed")}
    return [outline.resolve(VideoSpec(prompt=PROMPTS[i % len(PROMPTS)], seed=i, **fields)) for i in range(rounds + 1)]


def compare(
    folder: str, request: VideoSpec, sides: Sequence[str], *, rounds: int, device: str | None, dtype: str | None
) -> Comparison:
    """Measure the named sides. Raises SpecError where diffusers is asked for and not installed."""
    chosen = choose_device(device)
    number_type = dtype_name(choose_dtype(dtype, chosen))
    if "diffusers" in sides:
        _diffusers()
    specs = requests(folder, rounds, request)
    watches = {name: Stopwatch(chosen) for name in sides}
    generate = {name: SIDES[name](folder, str(chosen), number_type, watches[name]) for name in sides}
    first = {name: generate[name](specs[0]) for name in sides}
    totals: dict[str, list[float]] = {name: [] for name in sides}
    stages: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for spec in specs[1:]:
        for name in sides:
            watches[name].reset()
            began = time.perf_counter()
            generate[name](spec)
            totals[name].append(time.perf_counter() - began)
            stages[name].append(watches[name].seconds(STAGES))
    del generate
    error = psnr = None
    if len(sides) == 2:
        apart = first[sides[0]].astype(np.float64) - first[sides[1]]
        error = float(np.abs(apart).max() * 255)
        psnr = -10 * math.log10(max(1e-12, float(np.mean(apart**2))))
    return Comparison(
        spec=specs[0],
        rounds=rounds,
        sides={
            name: SideTimes(
                end_to_end_s=statistics.median(totals[name]),
                stages_s={stage: statistics.median(each[stage] for each in stages[name]) for stage in STAGES},
                peak_bytes=peak_bytes(name, folder, specs[0], str(chosen), number_type),
            )
            for name in sides
        },
        largest_error=error,
        psnr_db=psnr,
    )


def peak_bytes(side: str, folder: str, spec: VideoSpec, device: str, dtype: str) -> int:
    """Return the peak memory of a process of its own that generates once on one side."""
    code = "import sys; from kinema.evaluate.bench import generate_once; generate_once(*sys.argv[1:])"
    words = [sys.executable, "-c", code, side, folder, spec.to_json(), device, dtype]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=dict(os.environ))
    return int(json.loads(done.stdout.splitlines()[-1]))


def generate_once(side: str, folder: str, spec: str, device: str, dtype: str) -> None:
    """Generate once on one side, and write the peak memory of this process on standard output."""
    SIDES[side](folder, device, dtype, Stopwatch(torch.device(device)))(VideoSpec.from_json(spec))
    sys.stdout.write(f"{peak_memory_bytes(torch.device(device))}\n")


def _diffusers() -> Any:
    try:
        diffusers = importlib.import_module("diffusers")
    except ModuleNotFoundError as error:
        raise SpecError(
            "the comparison needs diffusers, which is not installed: pip install diffusers accelerate ftfy; "
            "or measure this side alone (--alone)"
        ) from error
    diffusers.utils.logging.set_verbosity_error()
    return diffusers
