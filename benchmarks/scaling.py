"""Train a diffusion transformer and a plain 3D U-Net with equal arithmetic, several times over, and compare them.

python benchmarks/scaling.py RUN [--budgets 20,80,320] [--prompts N] [--device D] [--plot FILE.svg] > REPORT.md

RUN is the folder of a run of `kinema train mini` that has its corpus, latents and autoencoder. A budget is the
arithmetic of all training steps, in TFLOP, the text encoder included; each network is trained anew for each budget,
with the same clips, captions, times, noise and optimizer, and a learning rate that falls at the end. Adherence is the
share of stated facts that the demo world's parser sees, the mean over its axes.
"""

import argparse
import copy
import dataclasses
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from cpu_ops import commit, cpu_name
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from unet import UNet3D

from kinema import config as config_io
from kinema.evaluate.samples import score_samples
from kinema.generate.device import choose_device
from kinema.generate.pipeline import Pipeline
from kinema.model import PRESETS, DiT, Model, TextEncoder, Tokenizer, VideoVAE
from kinema.train.config import FlowStage, OptimConfig
from kinema.train.corpus import Corpus
from kinema.train.flow import FlowTask, Lessons
from kinema.train.folder import RunFolder
from kinema.train.latents import Latents
from kinema.train.precision import autocast
from kinema.train.recipes import RECIPES
from kinema.train.run import scored_prompts
from kinema.train.trainer import train

NETWORKS = ("DiT", "3D U-Net")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One network trained with one budget."""

    network: str
    tflop: float
    clips: int
    parameters: int
    loss: float
    adherence: float


class Bench:
    """What all runs share: clips, words, the autoencoder, and the sizes of both networks."""

    def __init__(self, folder: Path, device: torch.device, num_prompts: int) -> None:
        self.preset, self.device = PRESETS["mini"], device
        files, self.corpus = RunFolder(folder), Corpus(folder / "corpus")
        self.latents = Latents(files.need("latents.npy", "latents"), self.corpus, device)
        self.tokenizer = Tokenizer.load(files.need("tokenizer", "tokenizer"))
        self.vae = VideoVAE(config_io.load_json(type(self.preset.vae), files.need("vae.json", "latents")))
        files.load_weights(self.vae, "vae")
        self.vae.eval().to(device)
        self.prompts = scored_prompts(self.corpus, self.tokenizer)[:num_prompts]

    def network(self, name: str) -> nn.Module:
        """Make a network with its first weights, the same every time."""
        torch.manual_seed(0)
        return (DiT(self.preset.dit) if name == "DiT" else UNet3D(self.preset.dit)).to(self.device)

    def run(self, name: str, budget: float, out: Path) -> Point:
        """Train one network with `budget` TFLOP, and measure it."""
        network = self.network(name)
        torch.manual_seed(1)
        text = TextEncoder(self.preset.text).to(self.device)
        base = dataclasses.replace(RECIPES["mini"].flow, grounding=None, workers=0)
        per_clip = self._arithmetic(network, text, base) / (base.batch_size + base.pictures)
        clips = max(base.batch_size, round(budget * 1e12 / per_clip))
        optim = OptimConfig(
            learning_rate=1e-3, muon_learning_rate=2e-3, schedule="stable_decay", warmup_clips=clips // 20 + 1,
            decay_share=0.4, ema_decay=0.99,
        )  # fmt: skip
        never = 2 * clips
        stage = dataclasses.replace(
            base, clips=clips, optim=optim, validate_every=never, sample_every=never, checkpoint_every=never
        )
        scores: dict[str, float] = {}

        def sample(averaged: nn.ModuleDict, path: Path) -> dict[str, float]:
            dit, encoder = cast("DiT", averaged["dit"]), cast("TextEncoder", averaged["text"])
            model = Model(dit=dit, vae=self.vae, text=encoder, tokenizer=self.tokenizer, defaults=self.preset.defaults)
            scores.update(score_samples(Pipeline(model, name=name), self.prompts, path))
            return scores

        task = self._task(network, text, stage, sample)
        averaged = copy.deepcopy(task.networks)
        train(task, stage, out, averaged)
        axes = [value for key, value in scores.items() if key.startswith("adherence.") and key != "adherence.all"]
        return Point(
            network=name,
            tflop=clips * per_clip / 1e12,
            clips=clips,
            parameters=sum(weight.numel() for weight in network.parameters()),
            loss=task.validate(averaged)["validation_loss"],
            adherence=statistics.fmean(axes),
        )

    def _task(self, network: nn.Module, text: TextEncoder, stage: FlowStage, sample: Any) -> FlowTask:
        return FlowTask(
            cast("DiT", network), text, self.tokenizer, Lessons(self.latents), self.vae.stride, stage, sample
        )

    def _arithmetic(self, network: nn.Module, text: TextEncoder, stage: FlowStage) -> int:
        """Operations of a step of clips and of the step of single frames after it, forward and backward."""
        task = self._task(copy.deepcopy(network), copy.deepcopy(text), stage, None)
        with FlopCounterMode(display=False) as counter, autocast(self.device, stage.precision):
            for clips_seen in (0, stage.batch_size):
                loss, _ = task.loss(clips_seen, torch.Generator(self.device).manual_seed(0))
                torch.autograd.backward(loss)
        return int(counter.get_total_flops())


def plot(points: Sequence[Point], path: Path) -> None:
    """Draw loss by arithmetic, both axes logarithmic, as an SVG of two lines."""
    width, height, edge = 560, 360, 60
    logs = [(torch.tensor(point.tflop).log10().item(), torch.tensor(point.loss).log10().item()) for point in points]
    (left, right), (low, high) = ((min(axis), max(axis)) for axis in zip(*logs, strict=True))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / max(right - left, 1e-9)
        up = (y - low) / max(high - low, 1e-9)
        return edge + across * (width - 2 * edge), height - edge - up * (height - 2 * edge)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{width / 2}" y="{height - 15}" text-anchor="middle">training arithmetic, TFLOP (log)</text>',
        f'<text x="18" y="{height / 2}" text-anchor="middle" transform="rotate(-90 18 {height / 2})">'
        "validation loss (log)</text>",
    ]
    for tflop in (digit * 10**power for power in range(-1, 7) for digit in (1, 3)):
        x, _ = place(torch.tensor(float(tflop)).log10().item(), low)
        if edge <= x <= width - edge:
            parts.append(f'<text x="{x:.1f}" y="{height - 38}" text-anchor="middle">{tflop:g}</text>')
    for row, (name, colour) in enumerate(zip(NETWORKS, ("#c2410c", "#1d4ed8"), strict=True)):
        mine = [(log, point) for log, point in zip(logs, points, strict=True) if point.network == name]
        line = " ".join("{:.1f},{:.1f}".format(*place(*log)) for log, _ in mine)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for log, point in mine:
            x, y = place(*log)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
            parts.append(f'<text x="{x + 6:.1f}" y="{y - 6:.1f}" fill="{colour}">{point.loss:.3f}</text>')
        parts.append(f'<text x="{width - edge}" y="{30 + 18 * row}" text-anchor="end" fill="{colour}">{name}</text>')
    path.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")


def main() -> None:
    """Train, measure, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--budgets", default="20,80,320")
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--device")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    bench = Bench(arguments.run, device, arguments.prompts)
    points = []
    for budget in sorted(map(float, arguments.budgets.split(","))):
        for name in NETWORKS:
            with tempfile.TemporaryDirectory() as folder:
                points.append(bench.run(name, budget, Path(folder)))
            print(points[-1], file=sys.stderr, flush=True)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    print("# Transformer and U-Net at equal training arithmetic\n")
    print(f"- command: `python {shlex.join(sys.argv)}`, commit {commit()}, {time.strftime('%Y-%m')}")
    print(f"- {where}; Python {platform.python_version()}, torch {torch.__version__}")
    print(f"- {bench.corpus.config.clips} clips of {bench.corpus.config.frames} frames, {arguments.prompts} prompts\n")
    print("| network | parameters | TFLOP | clips | validation loss | adherence |")
    print("|---|---:|---:|---:|---:|---:|")
    for point in points:
        print(
            f"| {point.network} | {point.parameters / 1e6:.1f} M | {point.tflop:.1f} | {point.clips} | "
            f"{point.loss:.4f} | {point.adherence:.3f} |"
        )
    if arguments.plot:
        plot(points, arguments.plot)


if __name__ == "__main__":
    main()
