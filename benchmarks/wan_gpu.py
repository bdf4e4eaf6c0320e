"""Measure the shape of Wan2.1-1.3B on a GPU: the base model, and as a stream of Self-Forcing's kind. One table.

python benchmarks/wan_gpu.py [--steps N] [--blocks N] > benchmarks/wan2.1-1.3b_1xh100_DATE.md
python benchmarks/wan_gpu.py --toy           # the same at toy size on a CPU: does it run?

Weights are random, so nothing is downloaded: they take the same time. 832x480, 81 frames and 50 steps with guidance for
the base model; blocks of 3 latent frames in 4 steps for the stream. bfloat16.
"""

import argparse
import os
import platform
import shlex
import sys
import time
import warnings
from dataclasses import replace
from fractions import Fraction

import torch
from cpu_ops import commit, cpu_name

from kinema.evaluate.memory import peak_memory_bytes
from kinema.evaluate.stopwatch import Stopwatch
from kinema.evaluate.stream_bench import StreamTimes, time_stream
from kinema.generate.experts import looking_back
from kinema.generate.pipeline import Pipeline
from kinema.generate.stream import to_pixels
from kinema.media.fragments import FragmentEncoder
from kinema.model import PRESETS, DiT, Model, TextEncoder, Tokenizer, VideoVAE
from kinema.spec import VideoSpec
from kinema.train.tokenizer import train_tokenizer

PROMPT = "a red ball rolls to the right over a wooden floor in the evening light"
BASE = ("text", "denoise", "decode", "encode")


def random_model(name: str, device: torch.device, dtype: torch.dtype) -> Model:
    """Make a model of random weights, straight on the device."""
    preset = PRESETS[name]
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    with device:
        dit, vae, text = DiT(preset.dit), VideoVAE(preset.vae), TextEncoder(preset.text)
        torch.nn.init.normal_(dit.proj_out.weight, std=0.02)  # its initial zeros would leave the noise as it is
    torch.set_default_dtype(torch.float32)
    tokenizer = Tokenizer(train_tokenizer([PROMPT], min(4096, preset.text.vocab_size), preset.max_tokens))
    return Model(dit=dit.eval(), vae=vae.eval(), text=text.eval(), tokenizer=tokenizer, defaults=preset.defaults)


def time_base(pipe: Pipeline, spec: VideoSpec) -> tuple[dict[str, float], float]:
    """Return the seconds of each stage of a whole video, and of all of it; one step warms up."""
    list(pipe.stream(replace(spec, steps=1)))
    watch = Stopwatch(pipe.device)
    watch.wrap(pipe, "network", "text")
    pipe.words.forget()
    resolved = pipe.resolve(spec)
    began = time.perf_counter()
    with watch.measure("denoise", without=("text",)):
        latent = pipe.latents(resolved)
    with watch.measure("decode"):
        frames = [to_pixels(chunk) for chunk in pipe.decode(latent, resolved)]
    assert resolved.fps is not None
    encoder = FragmentEncoder(Fraction(resolved.fps), (resolved.shape.height, resolved.shape.width), {})
    with watch.measure("encode"):
        for chunk in frames:
            encoder.encode(chunk)
    return watch.seconds(BASE), time.perf_counter() - began


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="the preset tiny, in float32 on a CPU")
    parser.add_argument("--steps", type=int, help="of the base model (default: 50)")
    parser.add_argument("--blocks", type=int, default=6, help="of the stream")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if not arguments.toy and not torch.cuda.is_available():
        parser.error("this machine has no CUDA device; --toy runs the same at toy size on a CPU")
    device = torch.device("cpu" if arguments.toy else "cuda")
    dtype = torch.float32 if arguments.toy else torch.bfloat16
    name = "tiny" if arguments.toy else "wan2.1-1.3b"
    load = os.getloadavg()[0]
    model = random_model(name, device, dtype)
    pipe = Pipeline(model, name=name)
    spec = VideoSpec(prompt=PROMPT, steps=arguments.steps)
    stages, whole_s = time_base(pipe, spec)
    base_peak = peak_memory_bytes(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    stream = time_stream(
        Pipeline(looking_back(model, "self-forcing"), name=f"{name}, self-forcing"),
        VideoSpec(prompt=PROMPT),
        arguments.blocks,
    )
    resolved = pipe.resolve(spec)
    print(f"# {name}, random weights\n")
    print(f"- command: `python {shlex.join(sys.argv)}`, commit {commit()}, {time.strftime('%Y-%m')}")
    where = torch.cuda.get_device_name() if device.type == "cuda" else cpu_name()
    print(f"- {where}; Python {platform.python_version()}, torch {torch.__version__}, {dtype}, load {load:.1f}")
    print(f"- base: {resolved.frames} frames of {resolved.width}x{resolved.height}, {resolved.steps} steps,")
    print(f"  guidance {resolved.guidance:g}; stream: {stream.blocks} blocks of {stream.frames_per_block} frames\n")
    print_table(stages, whole_s, base_peak, stream, len_frames=resolved.frames or 0)


def print_table(
    stages: dict[str, float], whole_s: float, base_peak: int, stream: StreamTimes, *, len_frames: int
) -> None:
    """Print both columns: the whole video, and one block in the steady state."""
    print("| | base, whole video | self-forcing, per block |\n|---|---:|---:|")
    for stage in BASE:
        print(f"| {stage} | {stages[stage]:.4f} s | {stream.stages_s[stage]:.4f} s |")
    print(f"| write keys and values | | {stream.stages_s['remember']:.4f} s |")
    print(f"| first frame | {whole_s:.4f} s | {stream.first_frame_s:.4f} s |")
    print(f"| steady state | {len_frames / whole_s:.2f} frames/s | {stream.frames_per_s:.2f} frames/s |")
    print(f"| peak memory | {base_peak / 1e9:.2f} GB | {stream.peak_bytes / 1e9:.2f} GB |")


if __name__ == "__main__":
    main()
