"""Block by block, as the causal transformer will generate, but with whole batches at one time."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from kinema.diffusion.objective import interpolate
from kinema.model.causal import CausalConfig
from kinema.model.dit import DiT, TextKV
from kinema.model.kv_cache import KVCache

Draw = Callable[[int], Tensor]
"""Gives noise for that many latent frames, `b c t y x`."""


def by_blocks(
    dit: DiT,
    causal: CausalConfig,
    remembered: TextKV,
    size: tuple[int, int, int],
    make: Callable[[int, int, KVCache], Tensor],
    draw: Draw,
    *,
    batch: int,
    dtype: torch.dtype,
) -> Float[Tensor, "b c t y x"]:
    """Put a video of `size` "t y x" together from what `make(start, length, cache)` gives; blocks see those before.

    `remembered` are keys and values of the text of `batch` videos; where `make` gives fewer, each stands for several.
    """
    frames, *sides = size
    cache = dit.new_cache(causal, (sides[0], sides[1]), batch=batch, max_frames=frames, dtype=dtype)
    blocks = []
    for start in range(0, frames, causal.block):
        length = min(causal.block, frames - start)
        cache.open(length)
        blocks.append(make(start, length, cache))
        with torch.no_grad():
            seen = blocks[-1].detach()
            if causal.context_noise:
                seen = interpolate(seen, draw(length), torch.tensor(causal.context_noise, device=seen.device))
            seen = seen.repeat(batch // len(seen), 1, 1, 1, 1)
            dit(seen, torch.full((batch, length), causal.context_noise, device=seen.device), remembered, cache=cache)
        cache.close()
    return torch.cat(blocks, dim=2)
