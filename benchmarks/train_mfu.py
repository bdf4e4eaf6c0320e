"""Measure a training step of a Wan-shaped transformer: seconds, memory, and the share of the device's peak arithmetic.

python benchmarks/train_mfu.py [--model NAME] [--frames N] [--size WxH] [--layers N] [--device D] > REPORT.md

One clip per step: forward, backward and AdamW, in bfloat16 with float32 weights, blocks compiled and computed again in
the backward pass, as `kinema train` does with `compile` and `recompute`. A step's arithmetic is that of a forward pass
times three (what is computed again does not count); the peak is a large product in bfloat16 on the same device.
"""

import argparse
import dataclasses
import os
import platform
import shlex
import statistics
import sys
import time

import torch
from cpu_ops import commit, cpu_name
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kinema.diffusion.objective import flow_matching_loss, interpolate
from kinema.generate.device import choose_device
from kinema.generate.estimate import wait_for
from kinema.model import PRESETS, DiT
from kinema.shapes import VideoShape
from kinema.train.blocks import compile_parts, recompute_blocks
from kinema.train.config import OptimConfig
from kinema.train.optim import build_optimizers
from kinema.train.precision import autocast

PRODUCT = 8192
"""Side of the matrices whose product counts as the device's peak; on a CPU an eighth."""


def peak_flops(device: torch.device) -> float:
    """Operations per second of a large product in bfloat16: the median of ten."""
    side = PRODUCT if device.type == "cuda" else PRODUCT // 8
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(12):
        wait_for(device)
        began = time.perf_counter()
        a @ b
        wait_for(device)
        times.append(time.perf_counter() - began)
    return 2 * side**3 / statistics.median(times[2:])


def count_flops(dit: DiT, latent: torch.Tensor, times: torch.Tensor, text: torch.Tensor) -> int:
    """Operations of one forward pass, counted on an outline of the network."""
    with torch.device("meta"):
        outline = DiT(dit.config).bfloat16()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        outline(*(part.to("meta", torch.bfloat16) for part in (latent, times, text)))
    return int(counter.get_total_flops())


def main() -> None:
    """Measure, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="wan2.1-1.3b", choices=sorted(PRESETS))
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--size", default="832x480")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--device")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep activations instead of computing them again")
    arguments = parser.parse_args()
    load, device = os.getloadavg()[0], choose_device(arguments.device)
    preset = PRESETS[arguments.model]
    config = dataclasses.replace(preset.dit, num_layers=arguments.layers or preset.dit.num_layers)
    width, height = map(int, arguments.size.split("x"))
    with torch.device("meta"):
        stride = preset.vae.stride
    latent_shape = VideoShape(arguments.frames, height, width).to_latent(stride)
    torch.manual_seed(0)
    with device:
        dit = DiT(config)
    data = torch.randn(1, config.out_channels, latent_shape.frames, latent_shape.height, latent_shape.width).to(device)
    text = torch.randn(1, preset.max_tokens, config.text_dim).to(device)
    times = torch.full((1, latent_shape.frames), 0.5, device=device)
    flops = 3 * count_flops(dit, data, times, text)
    networks = nn.ModuleDict({"dit": dit})
    if not arguments.no_compile:
        compile_parts(networks)
    if not arguments.keep:
        recompute_blocks(networks)
    optimizers = build_optimizers(networks.named_parameters(), OptimConfig(learning_rate=1e-5))

    def step() -> float:
        wait_for(device)
        began = time.perf_counter()
        noise = torch.randn_like(data)
        with autocast(device, "bfloat16"):
            velocity = dit(interpolate(data, noise, times), times, text)
        loss = flow_matching_loss(velocity, data, noise)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(networks.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        wait_for(device)
        return time.perf_counter() - began

    first = step()
    seconds = statistics.median(step() for _ in range(arguments.steps))
    peak = peak_flops(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    memory = f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB" if device.type == "cuda" else "not measured"
    tokens = latent_shape.num_tokens(config.patch_size)
    print(f"# A training step of {arguments.model}, {config.num_layers} layers\n")
    print(f"- command: `python {shlex.join(sys.argv)}`, commit {commit()}, {time.strftime('%Y-%m')}")
    print(f"- {name}; Python {platform.python_version()}, torch {torch.__version__}")
    if device.type == "cpu":
        print(f"- load when it began: {load:.1f}{' (busy: do not commit these figures)' if load > 0.5 else ''}")
    print(f"- one clip of {arguments.frames} frames of {width}x{height}: {tokens} tokens\n")
    print("| | |\n|---|---:|")
    print(f"| parameters | {sum(weight.numel() for weight in dit.parameters()) / 1e9:.2f} billion |")
    print(f"| first step, compiling included | {first:.1f} s |")
    print(f"| a step, median of {arguments.steps} | {seconds:.3f} s |")
    print(f"| model arithmetic of a step | {flops / 1e12:.1f} TFLOP |")
    print(f"| rate | {flops / seconds / 1e12:.1f} TFLOP/s |")
    print(f"| a large product on this device | {peak / 1e12:.1f} TFLOP/s |")
    print(f"| share of that | {100 * flops / seconds / peak:.1f} % |")
    print(f"| most memory | {memory} |")


if __name__ == "__main__":
    main()
