"""Clips as the transformer would tell them: what it learns to go on from must have the faults of what it makes.

A causal transformer that has only seen true clips before the block that it makes adds a little to its mistakes with
each block, and a minute has hundreds. So clips are brought to some noise and made clean again by the transformer
itself, block by block after its own blocks, and it learns to give the true block after those.
"""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor

from kinema.diffusion.guidance import classifier_free
from kinema.diffusion.objective import interpolate
from kinema.model.causal import CausalConfig
from kinema.model.dit import DiT
from kinema.model.kv_cache import KVCache
from kinema.train.config import ResamplingConfig
from kinema.train.rolling import by_blocks


@torch.no_grad()
def resample(
    dit: DiT,
    causal: CausalConfig,
    data: Float[Tensor, "b c t y x"],
    text: Float[Tensor, "b k text_dim"],
    empty: Float[Tensor, "b k text_dim"],
    config: ResamplingConfig,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "b c t y x"]:
    """Give `data` with the faults of the transformer's own videos: by Euler steps from a random time, one per clip.

    Guided as generation is, against the `empty` prompt, for guidance leaves most of the faults. Source: Resampling
    Forcing (Guo et al. 2025, arXiv 2512.15702), section 3.2.
    """
    size, frames, device = len(data), data.shape[2], data.device
    begin = config.times.sample(size, generator)  # b
    path = torch.linspace(1.0, 0.0, config.steps + 1, device=device)
    both = dit.text_kv(torch.cat([text, empty]))

    def draw(length: int) -> Tensor:
        return torch.randn(data[:, :, :length].shape, generator=generator, device=device)

    def make(start: int, length: int, cache: KVCache) -> Tensor:
        latent = interpolate(data[:, :, start : start + length], draw(length), begin)

        def paired(latent: Tensor, time: Tensor) -> Tensor:
            times = time[:, None].expand(-1, length).repeat(2, 1)
            return dit(latent.repeat(2, 1, 1, 1, 1), times, both, cache=cache).float()

        guided = classifier_free(lambda latent, time: paired(latent, time).chunk(2)[0], paired, config.guidance)
        for now, then in itertools.pairwise(path):
            latent = latent + (begin * (then - now)).view(-1, 1, 1, 1, 1) * guided(latent, begin * now)
        return latent

    lengths = (frames, data.shape[3], data.shape[4])
    return by_blocks(dit, causal, both, lengths, make, draw, batch=2 * size, dtype=dtype)
