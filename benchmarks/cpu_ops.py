"""Measure what this CPU can do at best in the operations that video models consist of, by dtype and memory layout.

python benchmarks/cpu_ops.py [--seconds S] [--threads N] [--only WORDS] > benchmarks/cpu_ops_HARDWARE_YYYYMM.md

Each figure is the median over repeated calls that fill S seconds after a warm-up, in GF/s: 1e9 additions and
multiplications per second, a multiplication and its addition being two.
"""

import argparse
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16)
MIN_CALLS = 5


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One line of the table: `prepare` makes, for a dtype, the call to be timed."""

    name: str
    flops: float
    prepare: Callable[[torch.dtype], Callable[[], object]]


def matmul(size: int) -> Operation:
    """Multiply two square matrices."""

    def prepare(dtype: torch.dtype) -> Callable[[], object]:
        left, right = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
        return lambda: left @ right

    return Operation(name=f"matrix product {size}^3", flops=2 * size**3, prepare=prepare)


def linear(tokens: int, width: int, hidden: int) -> Operation:
    """Apply the first half of a feed-forward layer."""

    def prepare(dtype: torch.dtype) -> Callable[[], object]:
        layer = torch.nn.Linear(width, hidden).to(dtype)
        x = torch.randn(tokens, width).to(dtype)
        return lambda: layer(x)

    name = f"linear, {tokens} tokens x {width} -> {hidden}"
    return Operation(name=name, flops=2 * tokens * width * hidden, prepare=prepare)


def plain_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Two matrix products and a softmax: what the fused kernel must beat."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    attended: Tensor = scores.softmax(-1) @ value
    return attended


def attention(kind: str, call: Callable[..., Tensor], batch: int, heads: int, tokens: int, width: int) -> Operation:
    """Attend among `tokens` tokens in every head."""

    def prepare(dtype: torch.dtype) -> Callable[[], object]:
        query, key, value = (torch.randn(batch, heads, tokens, width).to(dtype) for _ in range(3))
        return lambda: call(query, key, value)

    name = f"{kind} attention, {batch}x{heads}x{tokens}x{width}"
    return Operation(name=name, flops=4 * batch * heads * tokens**2 * width, prepare=prepare)


def conv3d(layout: str, channels_in: int, channels_out: int, frames: int, size: int, *, backward: bool) -> Operation:
    """Convolve all frames of a clip at once, 3x3x3."""
    memory = torch.channels_last_3d if layout == "channels_last_3d" else torch.contiguous_format

    def prepare(dtype: torch.dtype) -> Callable[[], object]:
        layer = torch.nn.Conv3d(channels_in, channels_out, 3, padding=1, dtype=dtype)
        layer.weight.data = layer.weight.data.to(memory_format=memory)
        x = torch.randn(1, channels_in, frames, size, size).to(dtype).to(memory_format=memory)
        if not backward:
            return lambda: layer(x)
        x.requires_grad_()
        downstream = torch.randn_like(layer(x))
        return lambda: layer(x).backward(downstream)

    name = f"conv3d 3x3x3{' forward + backward' if backward else ''}, {channels_in} to {channels_out} channels, "
    flops = 2 * 27 * channels_in * channels_out * frames * size**2 * (3 if backward else 1)
    return Operation(name=f"{name}{frames}x{size}x{size}, {layout}", flops=flops, prepare=prepare)


def conv2d(layout: str, channels_in: int, channels_out: int, frames: int, size: int) -> Operation:
    """Convolve frame by frame, 3x3, the frames being the batch."""
    memory = torch.channels_last if layout == "channels_last" else torch.contiguous_format

    def prepare(dtype: torch.dtype) -> Callable[[], object]:
        layer = torch.nn.Conv2d(channels_in, channels_out, 3, padding=1, dtype=dtype)
        layer.weight.data = layer.weight.data.to(memory_format=memory)
        x = torch.randn(frames, channels_in, size, size).to(dtype).to(memory_format=memory)
        return lambda: layer(x)

    name = f"conv2d 3x3 per frame, {channels_in} to {channels_out} channels, {frames}x{size}x{size}, {layout}"
    return Operation(name=name, flops=2 * 9 * channels_in * channels_out * frames * size**2, prepare=prepare)


OPERATIONS = (
    matmul(2048),
    linear(512, 384, 1536),
    attention("fused", F.scaled_dot_product_attention, 8, 6, 576, 64),
    attention("plain", plain_attention, 8, 6, 576, 64),
    attention("fused", F.scaled_dot_product_attention, 32, 4, 80, 64),
    attention("plain", plain_attention, 32, 4, 80, 64),
    *(
        conv3d(layout, channels, channels, 9, 32, backward=backward)
        for backward in (False, True)
        for channels in (32, 96)
        for layout in ("NCDHW", "channels_last_3d")
    ),
    *(conv2d(layout, channels, channels, 9, 32) for channels in (32, 96) for layout in ("NCHW", "channels_last")),
)


def median_seconds(call: Callable[[], object], budget_s: float) -> float:
    """Return the median time of one call, over as many calls as fill the budget, and at least MIN_CALLS."""
    for _ in range(2):
        call()
    timings: list[float] = []
    end = time.perf_counter() + budget_s
    while len(timings) < MIN_CALLS or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        timings.append(time.perf_counter() - start)
    return statistics.median(timings)


def measure(operation: Operation, dtype: torch.dtype, budget_s: float) -> float:
    """Return the speed of an operation in GF/s."""
    torch.manual_seed(0)
    call = operation.prepare(dtype)
    with torch.inference_mode("backward" not in operation.name):
        return operation.flops / median_seconds(call, budget_s) / 1e9


def cpu_name() -> str:
    """Return the name that the processor gives itself, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str:
    """Return the commit that is checked out, marked where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "not a checkout"


def header() -> str:
    """The first lines of a report: the command, the commit, the hardware and the version of Python."""
    command = shlex.join(["python", *sys.argv])
    return f"`{command}` at {commit()}, {cpu_name()}, {os.cpu_count()} cores,\nPython {platform.python_version()}\n"


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="time spent on each figure (default 1)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: what torch picks")
    parser.add_argument("--only", default="", help="leave out the operations whose name does not contain this")
    arguments = parser.parse_args()
    operations = [operation for operation in OPERATIONS if arguments.only in operation.name]
    if not operations:
        parser.error(f"--only {arguments.only!r} matches none of: " + "; ".join(each.name for each in OPERATIONS))
    torch.set_num_threads(arguments.threads)
    load = os.getloadavg()[0]

    print("# CPU operations\n")
    print(f"- command: `python {shlex.join(sys.argv)}`, commit {commit()}, {time.strftime('%Y-%m')}")
    print(f"- {cpu_name()}, {os.cpu_count()} logical cores, {torch.backends.cpu.get_cpu_capability()}")
    print(f"- Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"- load when it began: {load:.1f}{' (busy: do not commit these figures)' if load > 0.5 else ''}\n")
    print("| operation | float32 GF/s | bfloat16 GF/s |\n|---|---:|---:|")
    for operation in operations:
        figures = " | ".join(f"{measure(operation, dtype, arguments.seconds):.0f}" for dtype in DTYPES)
        print(f"| {operation.name} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
