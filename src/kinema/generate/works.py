"""The stages of a generation, and what each of them does, counted on an outline of the model."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from kinema.generate.canvas import Canvas
from kinema.generate.estimate import Work, count_work
from kinema.generate.means import Means, weight_bytes
from kinema.model import CausalConfig, Tiles, TimeCache, VideoVAE
from kinema.model.tiles import ENCODE_LATENTS
from kinema.shapes import LatentShape
from kinema.spec import KeyFrames, Storyboard, VideoSpec

if TYPE_CHECKING:
    from kinema.generate.pipeline import Pipeline

_META = torch.device("meta")


@dataclass(frozen=True, kw_only=True, eq=False)
class StageWork:
    """One stage of a generation."""

    stage: str
    """text, image, denoise or decode."""
    work: Work
    """What one call of it does."""
    times: int
    """How often it is called."""
    weight_bytes: int
    """Weights that each call reads."""
    network: nn.Module
    """Whose weights these are, or a part of."""
    carried_bytes: int = 0
    """What is held meanwhile for the other stages."""


def count_works(pipeline: "Pipeline", spec: VideoSpec) -> list[StageWork]:
    """Count the stages of a resolved request, in their order; `pipeline` is an outline, on the device `meta`."""
    model = pipeline.model
    if model.causal is not None:
        return _causal_works(pipeline, spec, model.causal)
    assert spec.steps is not None
    canvas = _canvas(spec)
    text = count_work(lambda: pipeline.network(spec, canvas))
    network = pipeline.network(spec, canvas)
    kept = pipeline.words.num_bytes
    latent = _noise(pipeline, spec)
    times = torch.ones(latent.shape[0], latent.shape[2], device=_META)
    evaluations = 2 * spec.steps - 1 if spec.solver == "heun" else spec.steps
    stages = [_stage("text", text, 1, model.text)]
    if spec.image is not None or spec.last_image is not None or spec.edit is not None:
        stages.append(_stage("image", encode_work(model.vae, spec), 1, model.vae, model.vae.encoder, kept))
    return [
        *stages,
        _stage("denoise", count_work(lambda: network(latent, times)), evaluations, model.dit, carried=kept),
        _stage("decode", _decode(pipeline, latent, spec), 1, model.vae, model.vae.decoder, kept + latent.nbytes),
    ]


def _causal_works(pipeline: "Pipeline", spec: VideoSpec, causal: CausalConfig) -> list[StageWork]:
    """The text, one block, and what it decodes to; the first block looks back on nothing: a little low."""
    model, noise = pipeline.model, _noise(pipeline, spec)
    text = count_work(lambda: pipeline.network(spec))
    rollout = pipeline.rollout(spec, causal)
    kept = pipeline.words.num_bytes + rollout.num_bytes
    length = min(causal.block, noise.shape[2])

    def block() -> None:
        rollout.generate(lambda start, frames, _: noise[:, :, start : start + frames], length)
        rollout.finalize(lambda start, frames, _: noise[:, :, start : start + frames])

    times = -(-noise.shape[2] // causal.block)
    past = TimeCache()
    decode = count_work(lambda: [model.vae.decode_chunk(noise[:, :, :length], past).shape for _ in range(2)])
    decode = Work(flops=decode.flops // 2, peak_bytes=decode.peak_bytes)
    stages = [_stage("text", text, 1, model.text)]
    if spec.image is not None or _canvas(spec) is not None:
        seen = spec if spec.image is None else replace(spec, frames=1)
        stages.append(_stage("image", encode_work(model.vae, seen), 1, model.vae, model.vae.encoder))
    return [
        *stages,
        _stage("denoise", count_work(block), times, model.dit, carried=kept),
        _stage("decode", decode, times, model.vae, model.vae.decoder, kept),
    ]


def _canvas(spec: VideoSpec) -> Canvas | None:
    """Something of the size of what an edit of a video starts from."""
    if spec.edit is None or isinstance(spec.edit, KeyFrames | Storyboard):
        return None
    shape = spec.shape
    is_made = np.zeros((shape.frames, 1, 1), bool)
    return Canvas(frames=np.zeros((shape.frames, shape.height, shape.width, 3), np.uint8), is_made=is_made)


def _stage(
    name: str, work: Work, times: int, network: nn.Module, part: nn.Module | None = None, carried: int = 0
) -> StageWork:
    read = weight_bytes(part or network, Means())
    return StageWork(stage=name, work=work, times=times, weight_bytes=read, network=network, carried_bytes=carried)


def _noise(pipeline: "Pipeline", spec: VideoSpec) -> Tensor:
    """What the noise looks like, "1 c t y x", without its numbers: for a large video they would fill the memory."""
    vae = pipeline.model.vae
    shape = spec.shape.to_latent(vae.stride)
    return torch.empty(1, vae.config.z_dim, shape.frames, shape.height, shape.width, device=_META)


def _decode(pipeline: "Pipeline", latent: Tensor, spec: VideoSpec) -> Work:
    def decode() -> None:
        for _ in pipeline.decode(latent, spec):
            pass  # each chunk is let go before the next is made

    return count_work(decode)


def decode_work(vae: VideoVAE, shape: LatentShape, tiles: Tiles, chunk: int) -> Work:
    """What decoding in tiles does: the memory of one tile beside all frames, the products of all tiles."""
    t, y, x, stride = shape.frames, shape.height, shape.width, vae.stride
    some = min(t, 3 * chunk)
    down, right = (tiles.spans(length) for length in (y, x))
    raw, past = _empty(vae, 1, vae.config.z_dim, some, y, x), TimeCache()
    whole = count_work(lambda: [vae.decoder.whole(vae.from_latent(part), past).shape for part in raw.split(chunk, 2)])
    features = _empty(vae, 1, vae.decoder.conv_in.out_channels, some, len(down[0]), len(right[0]))

    def one_tile() -> None:
        cache = TimeCache()
        for index, part in enumerate(features.split(chunk, dim=2)):
            vae.decoder.near(part, cache, is_first=index == 0)

    tile = count_work(one_tile)
    held = features[:, :, :1, :1, :1].nbytes * t * y * x
    frames = 3 * ((t - 1) * stride.time + 1) * y * stride.height * x * stride.width * features.element_size()
    share = sum(map(len, down)) * sum(map(len, right)) / (len(down[0]) * len(right[0])) * t / some
    return Work(
        flops=int(whole.flops * t / some + tile.flops * share),
        peak_bytes=held + max(whole.peak_bytes, frames + tile.peak_bytes),
    )


def encode_work(vae: VideoVAE, spec: VideoSpec, tiles: Tiles | None = None) -> Work:
    """What encoding a whole clip does, with the clip itself; in tiles, the memory of one."""
    shape, stride = spec.shape.to_latent(vae.stride), vae.stride
    down, right = ([range(length)] if tiles is None else tiles.spans(length) for length in (shape.height, shape.width))
    frames = min(spec.shape.frames, 2 * ENCODE_LATENTS * stride.time + 1)
    size = (len(down[0]) * stride.height, len(right[0]) * stride.width)
    clip = _empty(vae, 1, frames, *size, 3)
    chunks = ENCODE_LATENTS * stride.time
    work = count_work(lambda: [part.shape for part in vae.encode_stream([clip[:, :1], *clip[:, 1:].split(chunks, 1)])])
    share = sum(map(len, down)) * sum(map(len, right)) / (len(down[0]) * len(right[0])) * spec.shape.frames / frames
    held = 3 * spec.shape.frames * spec.shape.height * spec.shape.width * clip.element_size()
    return Work(flops=int(work.flops * share), peak_bytes=held + work.peak_bytes)


def _empty(vae: VideoVAE, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=vae.from_latent.weight.dtype, device=_META)
