"""How well memory is predicted, and kept to: `python benchmarks/memory.py [MODEL] [--memory 2GB 1GB ...]`.

Every line is a process of its own that makes one video within an amount of memory, on the CPU: what the plan predicts,
what the process held at most, and how far the frames are from those of a process that may take whatever it wants.
Without MODEL the networks have the widths of Wan2.1-1.3B, fewer layers, and random weights. Other work on the machine
changes no figure.
"""

import argparse
import dataclasses
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinema.evaluate.memory import peak_memory_bytes
from kinema.generate.device import held_memory_bytes
from kinema.generate.pipeline import Pipeline
from kinema.generate.plan import make_plan
from kinema.generate.prepare import LoadOptions
from kinema.model import PRESETS, DiT, Model, TextEncoder, VideoVAE, load_model, save_model
from kinema.spec import VideoSpec, show_memory

CPU = torch.device("cpu")


def build(folder: Path, blocks: int, layers: int) -> None:
    """Save a model of the widths of Wan2.1-1.3B, in bfloat16, with random weights and the tokens of mini."""
    preset, tokenizer = PRESETS["wan2.1-1.3b"], load_model("mini", "meta").tokenizer
    text = dataclasses.replace(preset.text, vocab_size=len(tokenizer.tokenizer), num_layers=layers)
    torch.manual_seed(0)
    networks = (DiT(dataclasses.replace(preset.dit, num_layers=blocks)), VideoVAE(preset.vae), TextEncoder(text))
    torch.nn.init.normal_(networks[0].proj_out.weight, std=0.02)  # a new transformer predicts nothing
    dit, vae, encoder = (network.to(torch.bfloat16) for network in networks)
    save_model(Model(dit=dit, vae=vae, text=encoder, tokenizer=tokenizer, defaults=preset.defaults), folder)


def make(spec: VideoSpec, memory: str, out: Path) -> None:
    """Make one video in this process and write down what it took; the chunks are let go as a writer would."""
    limit = None if memory == "none" else memory
    held = held_memory_bytes(CPU)
    plan = make_plan(spec, LoadOptions(device="cpu", memory=limit))
    predicted, means = plan.fitter.peaks(plan.spec, plan.means), plan.means.describe()
    pipeline: Pipeline = plan.load()
    frames = [chunk.copy() for chunk in pipeline.stream(plan.spec)]
    np.save(out, np.concatenate(frames))
    found = {"predicted": predicted, "peak": peak_memory_bytes(CPU), "held": held, "means": means}
    sys.stdout.write(json.dumps(found) + "\n")


def measure(spec: VideoSpec, memory: str, out: Path) -> dict[str, Any]:
    """The same in a process of its own; what it says where nothing fits."""
    words = [sys.executable, __file__, "--spec", spec.to_json(), "--memory", memory, "--out", str(out)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        return {"refused": done.stderr.strip().splitlines()[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def psnr(frames: np.ndarray, other: np.ndarray) -> str:
    """How near two videos are, in words."""
    error = float(np.mean((frames.astype(np.float64) - other) ** 2))
    return "the same" if error == 0 else f"{10 * math.log10(255**2 / error):.1f} dB"


def main() -> None:
    """Read the arguments, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--size", default="192x192")
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--memory", nargs="*", default=["2GB", "1.5GB", "1.1GB", "1GB"])
    parser.add_argument("--spec")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.spec:
        make(VideoSpec.from_json(options.spec), options.memory[0], options.out)
        return
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or str(Path(folder) / "model")
        if options.model is None:
            build(Path(model), options.blocks, options.layers)
        request = VideoSpec(
            prompt="a red ball rolls", model=model, width=width, height=height, frames=options.frames,
            steps=options.steps,
        )  # fmt: skip
        print("| memory | predicted | measured | off by | frames | means |\n|---|---|---|---|---|---|")
        for memory in ("none", *options.memory):
            out = Path(folder) / f"{memory}.npy"
            found = measure(request, memory, out)
            if "refused" in found:
                print(f"| {memory} | refused: {found['refused']} |")
                continue
            predicted = max(found["predicted"].values())
            off = 100 * (predicted / found["peak"] - 1)
            same = psnr(np.load(out), np.load(Path(folder) / "none.npy"))
            cells = (memory, show_memory(predicted), show_memory(found["peak"]), f"{off:+.0f} %", same)
            print(f"| {' | '.join(cells)} | {'; '.join(found['means'])} |", flush=True)


if __name__ == "__main__":
    main()
