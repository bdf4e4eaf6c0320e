"""How the diffusion transformer and its text encoder are trained together: flow matching with clean frames mixed in."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kinema.diffusion.objective import clip_losses, flow_matching_loss, frame_times, interpolate
from kinema.model.dit import DiT
from kinema.model.text import TextEncoder, Tokenizer, embed_tokens
from kinema.shapes import Stride
from kinema.train.binding import BindingHead, binding_loss
from kinema.train.caption import caption_of
from kinema.train.config import ConditioningShares, FlowStage
from kinema.train.feed import Feed, Words
from kinema.train.grounding import GroundingHead, Truth, emphasis, grounding_loss, listening
from kinema.train.latents import Latents
from kinema.train.precision import autocast, device_of

logger = logging.getLogger(__name__)

TIME_BINS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Times at which the validation loss is measured, one value each."""

Sampler = Callable[[nn.ModuleDict, Path], dict[str, float]]
"""Generates with the averaged networks, draws a sheet, and scores it."""


class Lessons(NamedTuple):
    """What steps of one kind learn from."""

    latents: Latents
    truth: Truth | None = None
    """What the clips show, for recipes with grounding."""


class FlowTask:
    """Trains `networks["dit"]` and `networks["text"]` on latents and freshly worded captions."""

    def __init__(
        self,
        dit: DiT,
        text: TextEncoder,
        tokenizer: Tokenizer,
        clips: Lessons,
        stride: Stride,
        config: FlowStage,
        sampler: Sampler,
        pictures: Lessons | None = None,
        channels: Float[Tensor, " c"] | None = None,
    ) -> None:
        """`pictures` are for steps of single frames, which show the first frames of the clips unless there are some.

        `channels` says how much the error of each channel counts, 1 on average.
        """
        self.networks = nn.ModuleDict({"dit": dit, "text": text.requires_grad_(config.train_text)})
        if config.grounding is not None:
            self.networks["grounding"] = GroundingHead(dit.config.width)
        if config.binding > 0:
            self.networks["binding"] = BindingHead(text.config.d_model)
        self.tokenizer = tokenizer
        self.clips, self.pictures = clips, pictures or clips
        self.channels = channels
        self._stride = stride
        self._config = config
        self._sampler = sampler
        words = Words(
            clips.latents,
            tokenizer,
            config,
            config.drop_text,
            pictures and pictures.latents,
            binds=config.binding > 0,
        )
        self._feed = Feed(words, config, config.workers)

    def loss(self, clips_seen: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error of the velocity over the frames that are not given (Lipman et al. 2023), and other tasks.

        Grounding is the transformer's, binding the text encoder's.
        """
        phase = self._config.phase(clips_seen, self.clips.latents.frames)
        batch = self._feed.at(clips_seen)
        latents, told = self.pictures if self._config.shows_pictures(clips_seen) else self.clips
        data = latents.training(batch.indices)[:, :, : (phase.frames - 1) // self._stride.time + 1]
        clean = draw_clean(len(data), data.shape[2], self._config.conditioning, generator)
        times = frame_times(self._config.times.sample(len(data), generator), clean)
        noise = torch.randn(data.shape, generator=generator, device=data.device)
        noisy = interpolate(data, noise, times)
        text = embed_tokens(self.networks["text"], batch.ids, batch.mask, data.device)
        parts: dict[str, Tensor] = {}
        loss, weight = torch.zeros((), device=data.device), None
        grounding = self._config.grounding
        if grounding is None or told is None:
            velocity = self.networks["dit"](noisy, times, text)
        else:
            with listening(self.networks["dit"], grounding.block) as heard:  # type: ignore[arg-type]  # it is the DiT
                velocity = self.networks["dit"](noisy, times, text)
            truth = told.training(batch.indices)[:, :, : data.shape[2]]
            weight = emphasis(truth, times, (data.shape[3], data.shape[4]), grounding)
            parts["grounding_loss"] = grounding_loss(self.networks["grounding"](heard.tokens), truth)
            loss = loss + grounding.weight * parts["grounding_loss"]
        if batch.names is not None:
            said, named = (part.to(text.device) for part in batch.names)
            parts["binding_loss"] = binding_loss(self.networks["binding"](text), said, named)
            loss = loss + self._config.binding * parts["binding_loss"]
        parts["velocity_loss"] = flow_matching_loss(velocity, data, noise, clean, weight, self.channels)
        return loss + parts["velocity_loss"], parts

    @torch.no_grad()
    def validate(self, averaged: nn.ModuleDict) -> dict[str, float]:
        """Loss at each of `TIME_BINS`, on fixed clips, captions and noise."""
        size = min(64, self.clips.latents.num_validation)
        data, scenes = self.clips.latents.validation(list(range(size)))
        captions = [caption_of(scene, index, 0.0, self.tokenizer).text for index, scene in enumerate(scenes)]
        noise = torch.randn(data.shape, generator=torch.Generator().manual_seed(0)).to(data.device)
        losses, weighted = {}, []
        with autocast(data.device, self._config.precision):
            for value in TIME_BINS:
                times = torch.full((size, data.shape[2]), value, device=data.device)
                text = embed_captions(averaged["text"], self.tokenizer, captions)
                velocity = averaged["dit"](interpolate(data, noise, times), times, text)
                losses[f"validation_loss_at_{value}"] = clip_losses(velocity, data, noise).mean().item()
                weighted.append(clip_losses(velocity, data, noise, channels=self.channels).mean().item())
        mean = {"validation_loss": sum(losses.values()) / len(losses)}
        if self.channels is not None:
            mean["validation_loss_weighted"] = sum(weighted) / len(weighted)
        return {**mean, **losses}

    def sample(self, averaged: nn.ModuleDict, path: Path) -> dict[str, float]:
        """Generate from validation prompts; what comes back is the sampler's score."""
        return self._sampler(averaged, path)


def embed_captions(text: nn.Module, tokenizer: Tokenizer, captions: list[str]) -> Tensor:
    """Encode captions: `b k d`, k being the most tokens that the model reads."""
    return embed_tokens(text, *tokenizer.encode(captions), device_of(text))


def draw_clean(size: int, frames: int, shares: ConditioningShares, generator: torch.Generator) -> Tensor:
    """Draw which latent frames are given: bool `b t`, never all of a clip's frames."""
    device = generator.device
    clean = torch.zeros(size, frames, dtype=torch.bool)
    kinds = torch.rand(size, generator=generator, device=device).tolist()
    prefixes = torch.randint(2, max(3, frames), (size,), generator=generator, device=device).tolist()
    if frames == 1:
        return clean.to(device)
    for row, kind, prefix in zip(clean, kinds, prefixes, strict=True):
        if kind < shares.first:
            row[0] = True
        elif kind < shares.first + shares.prefix:
            row[: min(prefix, frames - 1)] = True
        elif kind < shares.first + shares.prefix + shares.ends and frames > 2:
            row[0] = row[-1] = True
    return clean.to(device)
