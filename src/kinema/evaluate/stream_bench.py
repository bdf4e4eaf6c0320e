"""How fast a causal model streams, stage by stage: what a viewer waits for, and where the time goes."""

import dataclasses
import time
from dataclasses import dataclass
from fractions import Fraction

import torch

from kinema.errors import SpecError
from kinema.evaluate.memory import peak_memory_bytes
from kinema.evaluate.stopwatch import Stopwatch
from kinema.generate.noise import video_noise
from kinema.generate.pipeline import Pipeline
from kinema.generate.stream import to_pixels
from kinema.media.fragments import FragmentEncoder
from kinema.model import TimeCache
from kinema.spec import VideoSpec

STAGES = ("text", "denoise", "decode", "encode", "remember")


@dataclass(frozen=True, kw_only=True)
class StreamTimes:
    """What a stream took. `stages_s` are seconds per block, `text` once; the first block is not among them."""

    blocks: int
    frames_per_block: int
    stages_s: dict[str, float]
    """text, denoise, decode (to pixels), encode (to mp4), remember (keys and values of the finished block)."""
    first_frame_s: float
    """From the prompt to the first frames, encoded."""
    frames_per_s: float
    """Of all blocks but the first, everything included."""
    peak_bytes: int
    """Of the device; of the process on a CPU."""


@torch.inference_mode()
def time_stream(pipe: Pipeline, spec: VideoSpec, blocks: int) -> StreamTimes:
    """Stream some blocks after one to warm up, and time each stage. Raises SpecError for a model that is not causal."""
    causal = pipe.model.causal
    if causal is None:
        raise SpecError(f"{pipe.name} makes all frames at once; give a causal model, or a preset (--preset)")
    if blocks < 2:
        raise SpecError(f"blocks={blocks} is too few to see a steady state; use 2 or more")
    latents = causal.block * (blocks + 1)
    frames = (latents - 1) * pipe.stride.time + 1
    resolved = pipe.resolve(dataclasses.replace(spec, frames=frames, seconds=None))
    assert resolved.fps is not None
    shape = resolved.shape.to_latent(pipe.model.vae.stride)
    channels = pipe.model.vae.config.z_dim

    def draw(start: int, length: int, step: int) -> torch.Tensor:
        return video_noise(resolved.seed, channels, dataclasses.replace(shape, frames=length), start, step=step)

    watch = Stopwatch(pipe.device)
    warm_up = pipe.rollout(resolved, causal)
    pipe.model.vae.decode_chunk(warm_up.generate(draw), TimeCache())
    warm_up.finalize(draw)
    del warm_up
    pipe.words.forget()
    began = time.perf_counter()
    with watch.measure("text"):
        rollout = pipe.rollout(resolved, causal)
    text_s = watch.seconds(("text",))["text"]
    encoder = FragmentEncoder(
        Fraction(resolved.fps).limit_denominator(1001), (resolved.shape.height, resolved.shape.width), {}
    )
    cache, first_s, steady, count = TimeCache(), 0.0, 0.0, 0
    for number in range(blocks + 1):
        with watch.measure("denoise"):
            latent = rollout.generate(draw)
        with watch.measure("decode"):
            pixels = to_pixels(pipe.model.vae.decode_chunk(latent, cache)[0])
        with watch.measure("encode"):
            encoder.encode(pixels)
        if number == 0:
            first_s = time.perf_counter() - began
        else:
            count += len(pixels)
        with watch.measure("remember"):
            rollout.finalize(draw)
        if number == 0:
            watch.reset()
            steady = time.perf_counter()
    took_s = time.perf_counter() - steady
    per_block = {stage: spent / blocks for stage, spent in watch.seconds(STAGES).items()}
    return StreamTimes(
        blocks=blocks,
        frames_per_block=causal.block * pipe.stride.time,
        stages_s={**per_block, "text": text_s},
        first_frame_s=first_s,
        frames_per_s=count / took_s,
        peak_bytes=peak_memory_bytes(pipe.device),
    )
