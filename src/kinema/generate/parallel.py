"""One video on several devices: the two halves of guidance, and the tokens of each half, shared out from outside.

The networks know nothing of it: hooks hand each process its tokens, and attention is replaced by one that asks the
others for what it lacks. Every process runs the same solver on the same noise, so all end with the same latents.
"""

import atexit
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from kinema.errors import SpecError
from kinema.generate.pipeline import Pipeline
from kinema.model import DiT, TextKV
from kinema.model.attention import Mix, attend
from kinema.model.dit import Block
from kinema.model.rope import Rotation
from kinema.spec import VideoSpec

Heads = Float[Tensor, "b n a e"]


def is_first() -> bool:
    """Whether this process speaks for all: the only one, or the first that `torchrun` started."""
    return int(os.environ.get("RANK", "0")) == 0


def join(pipeline: Pipeline, spec: VideoSpec) -> None:
    """Share the videos of a resolved request out among the processes that `torchrun` started; alone, do nothing.

    All of them must then make the same videos. Raises SpecError for a model that makes video block by block, and what
    `make_mesh` raises.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    if pipeline.model.causal is not None:
        raise SpecError(f"{pipeline.name} makes video block by block, which runs on one device; start one process")
    if not dist.is_initialized():
        dist.init_process_group("nccl" if pipeline.device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    shape, stride = spec.shape, pipeline.stride
    tokens = (shape.height // stride.height) * (shape.width // stride.width)
    mesh = make_mesh(pipeline.device.type, is_guided=spec.guidance != 1, num_tokens=tokens)
    for dit in pipeline.model.experts:
        share(dit, mesh)


def make_mesh(device_type: str, *, is_guided: bool, num_tokens: int) -> DeviceMesh:
    """Lay out all processes as (guidance, sequence): two halves where there is guidance, the rest for the tokens.

    Raises SpecError for a number of processes that the tokens of a frame do not divide by.
    """
    world = dist.get_world_size()
    halves = 2 if is_guided and world % 2 == 0 else 1
    sequence = world // halves
    if num_tokens % sequence:
        fits = [count * halves for count in range(1, world + 1) if num_tokens % count == 0]
        raise SpecError(
            f"{world} processes would share {num_tokens} tokens per frame in {sequence} parts, which do not come out "
            f"even; use {' or '.join(map(str, fits[-2:]))} processes, or another size"
        )
    return init_device_mesh(device_type, (halves, sequence), mesh_dim_names=("guidance", "sequence"))


def share(dit: DiT, mesh: DeviceMesh) -> None:
    """Let a transformer compute its part only, in all later passes; what comes out is whole on every process.

    Heads are exchanged for tokens where they divide by the processes (DeepSpeed-Ulysses, arXiv 2309.14509); else keys
    and values go round (ring attention, arXiv 2310.01889). For inference.
    """
    tokens, halves = mesh["sequence"].get_group(), mesh["guidance"].get_group()
    if dist.get_world_size(tokens) > 1:
        _share_tokens(dit, tokens)
    if dist.get_world_size(halves) > 1:
        dit.forward = partial(_half, dit.forward, halves)  # type: ignore[method-assign]


def _half(
    forward: Callable[..., Tensor], group: dist.ProcessGroup, latent: Tensor, time: Tensor, text: TextKV, **more: Any
) -> Tensor:
    """Let the video meet one of its two texts, and take the other half from the process that has it."""
    if len(text.keys[0]) == 1:  # not guided
        return forward(latent, time, text, **more)
    mine = slice(dist.get_rank(group), dist.get_rank(group) + 1)
    return torch.cat(_gather(forward(latent, time, text.texts(mine), **more), group))


def _share_tokens(dit: DiT, group: dist.ProcessGroup) -> None:
    rank, world = dist.get_rank(group), dist.get_world_size(group)
    divides = dit.config.num_heads % world == 0

    def part(tokens: int) -> slice:
        if tokens % world:
            raise SpecError(f"{tokens} tokens per frame do not divide by {world} processes; use another size")
        return slice(rank * tokens // world, (rank + 1) * tokens // world)

    def mine(_: nn.Module, __: Any, embedded: Float[Tensor, "b t s d"]) -> Tensor:
        return embedded[:, :, part(embedded.shape[2])]

    def turn(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x, time, key, value, rotation, sights, memory, *rest = inputs
        if sights is not None or memory is not None:
            raise SpecError("models that make video block by block run on one device; use one process")
        frames = x.shape[1]
        here = part(len(rotation.cos) // frames)
        cut = Rotation(*(whole.unflatten(0, (frames, -1))[:, here].flatten(0, 1) for whole in rotation))
        return (x, time, key, value, cut, sights, memory, *rest)

    def whole(_: nn.Module, __: Any, out: Float[Tensor, "b t s c"]) -> Tensor:
        return torch.cat(_gather(out, group), dim=2)

    dit.patch_embed.register_forward_hook(mine)
    dit.proj_out.register_forward_hook(whole)
    for block in dit.blocks:
        assert isinstance(block, Block)
        block.register_forward_pre_hook(turn)
        mix = partial(ulysses, mix=block.self_attention.mix) if divides else ring
        block.self_attention.mix = partial(mix, group=group)


def ulysses(
    query: Heads,
    key: Heads,
    value: Heads,
    *,
    group: dist.ProcessGroup,
    mix: Mix = attend,
) -> Heads:
    """Attend with all tokens and a share of the heads, between two exchanges. The heads must divide by the group."""
    mixed = mix(*(_heads_for_tokens(part, group) for part in (query, key, value)))
    return _tokens_for_heads(mixed, group)


def _heads_for_tokens(x: Heads, group: dist.ProcessGroup) -> Heads:
    """Give away the tokens of other processes' heads for the other tokens of ours."""
    world = dist.get_world_size(group)
    received = _exchange(x.unflatten(2, (world, -1)).permute(2, 0, 1, 3, 4), group)  # source b n a e
    return received.permute(1, 0, 2, 3, 4).flatten(1, 2)


def _tokens_for_heads(x: Heads, group: dist.ProcessGroup) -> Heads:
    """The way back."""
    world = dist.get_world_size(group)
    received = _exchange(x.unflatten(1, (world, -1)).permute(1, 0, 2, 3, 4), group)
    return received.permute(1, 2, 0, 3, 4).flatten(2, 3)


def _exchange(parts: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Send `parts[i]` to process i, and give what each sent here."""
    received = torch.empty_like(parts, memory_format=torch.contiguous_format)
    dist.all_to_all_single(received, parts.contiguous(), group=group)
    return received


def ring(query: Heads, key: Heads, value: Heads, *, group: dist.ProcessGroup) -> Heads:
    """Attend to every process's keys and values as they come round; sums are kept in float32 (Milakov and Gimelshein).

    Source of the running softmax: arXiv 1805.02867.
    """
    rank, world = dist.get_rank(group), dist.get_world_size(group)
    to, source = (dist.get_global_rank(group, (rank + step) % world) for step in (1, -1))
    q = query.transpose(1, 2).float() * query.shape[-1] ** -0.5  # b a n e
    most = torch.full(q.shape[:-1], float("-inf"), device=q.device)
    total, mixed = torch.zeros_like(most), torch.zeros_like(q)
    held = torch.stack([key, value]).contiguous()
    for turn in range(world):
        coming, waiting = torch.empty_like(held), []
        if turn + 1 < world:
            sending = [dist.P2POp(dist.isend, held, to, group), dist.P2POp(dist.irecv, coming, source, group)]
            waiting = dist.batch_isend_irecv(sending)
        k, v = (part.transpose(1, 2).float() for part in held)
        scores = q @ k.mT
        highest = torch.maximum(most, scores.amax(-1))
        before, weights = torch.exp(most - highest), torch.exp(scores - highest[..., None])
        total, mixed = total * before + weights.sum(-1), mixed * before[..., None] + weights @ v
        most = highest
        for request in waiting:
            request.wait()
        held = coming
    return (mixed / total[..., None]).to(query.dtype).transpose(1, 2)


def _gather(x: Tensor, group: dist.ProcessGroup) -> list[Tensor]:
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, x.contiguous(), group=group)
    return parts
