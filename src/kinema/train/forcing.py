"""How a finished transformer learns to look back only: every block is predicted from true blocks before it.

A clip and its noisy copy go through together, with a mask that shows each noisy block itself and what was before it
(`causal.teacher_forcing_mask`), so one pass trains all blocks, and sees what generation block by block will see.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from kinema.diffusion.objective import clip_losses, flow_matching_loss, interpolate
from kinema.model.causal import CausalConfig, Sight, sights, teacher_forcing_mask
from kinema.model.dit import DiT
from kinema.model.text import TextEncoder, Tokenizer, embed_tokens
from kinema.train.caption import caption_of
from kinema.train.config import ForcingStage, StageConfig
from kinema.train.feed import Feed, Words
from kinema.train.flow import TIME_BINS, Sampler, embed_captions
from kinema.train.latents import Latents
from kinema.train.precision import autocast, device_of

Network = Callable[..., Tensor]
"""The transformer, compiled or not."""


class Lesson(NamedTuple):
    """What one step learns from."""

    data: Float[Tensor, "b c t y x"]
    """Latents."""
    text: Float[Tensor, "b k text_dim"]
    """Embedded captions."""
    given: Bool[Tensor, "b t"]
    """Frames of before the caption was true: others go on from them, and nothing is learnt of themselves."""


class Forcing:
    """The pass through clean and noisy blocks that both causal stages share; the text encoder does not move."""

    def __init__(
        self,
        text: TextEncoder,
        tokenizer: Tokenizer,
        latents: Latents,
        causal: CausalConfig,
        config: StageConfig,
        drop: float = 0.0,
    ) -> None:
        """`drop` is the share of the captions that are empty."""
        self._text = text
        self._tokenizer = tokenizer
        self._latents = latents
        self._causal = causal
        self._feed = Feed(Words(latents, tokenizer, config, drop), config, config.workers)
        self._sights = functools.cache(self._make_sights)

    def behind(self, data: Tensor, noise: Tensor) -> Tensor:
        """Give the clips as later blocks see them: at the time at which generation shows what it has made.

        `noise` may be that of the noisy copy: no noisy block sees its own frames among those behind it.
        """
        return interpolate(data, noise, torch.tensor(self._causal.context_noise, device=data.device))

    def velocity(self, dit: Network, behind: Tensor, noisy: Tensor, times: Tensor, text: Tensor) -> Tensor:
        """Give the velocity of `noisy` at `times` (`b t`), each block seeing the blocks of `behind` before it."""
        frames = behind.shape[2]
        both = torch.cat([behind, noisy], dim=2)
        both_times = torch.cat([torch.full_like(times, self._causal.context_noise), times], dim=1)
        return dit(both, both_times, text, frames=[*range(frames)] * 2, sights=self._sights(frames))[:, :, frames:]

    def _make_sights(self, frames: int) -> tuple[Sight, ...]:
        return sights(teacher_forcing_mask(frames, self._causal), [*range(frames)] * 2, self._causal)

    def batch(self, clips_seen: int) -> Lesson:
        """Give what the step after `clips_seen` learns from."""
        batch = self._feed.at(clips_seen)
        with torch.no_grad():
            data = self._latents.training(batch.indices)
            text = embed_tokens(self._text, batch.ids, batch.mask, device_of(self._text))
        since = self._latents.since[batch.indices % (self._latents.num_training // 2)].to(data.device)
        return Lesson(data, text, torch.arange(data.shape[2], device=data.device) < since[:, None])

    def validation(self, size: int = 64) -> tuple[Tensor, Tensor, Tensor]:
        """Give latents kept apart, their embedded captions and the noise that always goes with them."""
        size = min(size, self._latents.num_validation)
        data, scenes = self._latents.validation(list(range(size)))
        captions = [caption_of(scene, index, 0.0, self._tokenizer).text for index, scene in enumerate(scenes)]
        return (
            data,
            self.embed(captions),
            torch.randn(data.shape, generator=torch.Generator().manual_seed(0)).to(data.device),
        )

    @torch.no_grad()
    def embed(self, captions: list[str]) -> Tensor:
        """Encode captions with the frozen text encoder."""
        return embed_captions(self._text, self._tokenizer, captions)

    @functools.cached_property
    def empty(self) -> Tensor:
        """The embedded empty prompt, `1 k d`: what guidance leads away from."""
        return self.embed([""])

    def spread(self, values: Tensor, frames: int) -> Tensor:
        """Give every frame the value of its block: `b blocks` to `b t`."""
        return values.repeat_interleave(self._causal.block, dim=1)[:, :frames]

    def num_blocks(self, frames: int) -> int:
        """Blocks of a clip of `frames` latent frames."""
        return -(-frames // self._causal.block)


class ForcingTask:
    """Trains `networks["dit"]` by flow matching on noisy blocks (Zhou et al. 2025, arXiv 2501.12389)."""

    def __init__(
        self,
        dit: DiT,
        forcing: Forcing,
        config: ForcingStage,
        sampler: Sampler,
        channels: Float[Tensor, " c"] | None = None,
    ) -> None:
        """`channels` says how much the error of each channel counts, 1 on average."""
        self.networks = nn.ModuleDict({"dit": dit})
        self._channels = channels
        self._forcing = forcing
        self._config = config
        self._sampler = sampler

    def loss(self, clips_seen: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error of the velocity of all noisy blocks, each at a time of its own."""
        data, text, given = self._forcing.batch(clips_seen)
        frames = data.shape[2]
        num_blocks = self._forcing.num_blocks(frames)
        drawn = self._config.times.sample(len(data) * num_blocks, generator)
        order = torch.randperm(
            len(drawn), generator=generator, device=drawn.device
        )  # stratified times of one clip would be neighbours
        times = self._forcing.spread(drawn[order].view(len(data), num_blocks), frames)
        noise = torch.randn(data.shape, generator=generator, device=data.device)
        behind, noisy = self._forcing.behind(data, noise), interpolate(data, noise, times)
        velocity = self._forcing.velocity(self.networks["dit"], behind, noisy, times, text)
        return flow_matching_loss(velocity, data, noise, given, channels=self._channels), {}

    @torch.no_grad()
    def validate(self, averaged: nn.ModuleDict) -> dict[str, float]:
        """Loss at each of `TIME_BINS`, on fixed clips, captions and noise."""
        losses = {}
        with autocast(device_of(averaged), self._config.precision):
            data, text, noise = self._forcing.validation()
            behind = self._forcing.behind(data, noise)
            for value in TIME_BINS:
                times = torch.full((len(data), data.shape[2]), value, device=data.device)
                noisy = interpolate(data, noise, times)
                velocity = self._forcing.velocity(averaged["dit"], behind, noisy, times, text)
                losses[f"validation_loss_at_{value}"] = clip_losses(velocity, data, noise).mean().item()
        return {"validation_loss": sum(losses.values()) / len(losses), **losses}

    def sample(self, averaged: nn.ModuleDict, path: Path) -> dict[str, float]:
        """Generate block by block from validation prompts; what comes back is the sampler's score."""
        return self._sampler(averaged, path)
