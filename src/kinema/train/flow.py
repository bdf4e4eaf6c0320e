"""How the diffusion transformer and its text encoder are trained together: flow matching with clean frames mixed in."""

import logging
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.diffusion.objective import clip_losses, flow_matching_loss, frame_times, interpolate
from kinema.model.dit import DiT
from kinema.model.text import TextEncoder, Tokenizer
from kinema.shapes import Stride
from kinema.train.config import ConditioningShares, FlowStage
from kinema.train.grounding import GroundingHead, Truth, grounding_loss, listening
from kinema.train.latents import Latents
from kinema.train.order import batch_indices, step_seed
from kinema.train.precision import autocast, device_of
from kinema.world.describe import LENGTHS, Caption, describe_with_facts
from kinema.world.facts import Facts
from kinema.world.scene import Scene

logger = logging.getLogger(__name__)

TIME_BINS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Times at which the validation loss is measured, one value each."""

Sampler = Callable[[nn.ModuleDict, Path], dict[str, float]]
"""Generates with the averaged networks, draws a sheet, and scores it."""


class FlowTask:
    """Trains `networks["dit"]` and `networks["text"]` on latents and freshly worded captions."""

    def __init__(
        self,
        dit: DiT,
        text: TextEncoder,
        tokenizer: Tokenizer,
        latents: Latents,
        stride: Stride,
        config: FlowStage,
        sampler: Sampler,
        truth: Truth | None = None,
    ) -> None:
        """`truth` is what the clips show, for recipes with grounding."""
        self.networks = nn.ModuleDict({"dit": dit, "text": text})
        if config.grounding is not None:
            self.networks["grounding"] = GroundingHead(dit.config.width)
        self._truth = truth
        self._tokenizer = tokenizer
        self._latents = latents
        self._stride = stride
        self._config = config
        self._sampler = sampler
        self._dit = torch.compile(dit) if config.compile else dit

    def batch_size(self, clips_seen: int) -> int:
        """Clips of the step that starts after `clips_seen`."""
        return self._config.phase(clips_seen, self._latents.frames).batch_size

    def loss(self, clips_seen: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error of the velocity over the frames that are not given (Lipman et al. 2023), and grounding."""
        phase = self._config.phase(clips_seen, self._latents.frames)
        size = phase.batch_size
        indices = batch_indices(self._latents.num_training, self._config.seed, clips_seen, size)
        data, scenes = self._latents.training(indices)
        data = data[:, :, : (phase.frames - 1) // self._stride.time + 1]
        captions = [
            self._caption(scene, step_seed(self._config.seed, "caption", clips_seen + offset), self._config.drop_text)
            for offset, scene in enumerate(scenes)
        ]
        clean = draw_clean(size, data.shape[2], self._config.conditioning, generator)
        time = self._config.times.sample(size, generator)
        noise = torch.randn(data.shape, generator=generator, device=data.device)
        grounding = self._config.grounding
        if grounding is None or self._truth is None:
            velocity = self._velocity(self._dit, self.networks["text"], data, noise, time, clean, captions)
            return flow_matching_loss(velocity, data, noise, clean), {}
        with listening(self.networks["dit"], grounding.block) as heard:  # type: ignore[arg-type]  # it is the DiT
            velocity = self._velocity(self._dit, self.networks["text"], data, noise, time, clean, captions)
        flow = flow_matching_loss(velocity, data, noise, clean)
        truth = self._truth.training(indices, scenes)[:, :, : data.shape[2]]
        told = grounding_loss(self.networks["grounding"](heard.tokens), truth)
        return flow + grounding.weight * told, {"velocity_loss": flow, "grounding_loss": told}

    @torch.no_grad()
    def validate(self, averaged: nn.ModuleDict) -> dict[str, float]:
        """Loss at each of `TIME_BINS`, on fixed clips, captions and noise."""
        size = min(64, self._latents.num_validation)
        data, scenes = self._latents.validation(list(range(size)))
        captions = [self._caption(scene, index) for index, scene in enumerate(scenes)]
        noise = torch.randn(data.shape, generator=torch.Generator().manual_seed(0)).to(data.device)
        clean = torch.zeros(size, data.shape[2], dtype=torch.bool, device=data.device)
        losses = {}
        with autocast(data.device, self._config.precision):
            for value in TIME_BINS:
                time = torch.full((size,), value, device=data.device)
                velocity = self._velocity(averaged["dit"], averaged["text"], data, noise, time, clean, captions)
                losses[f"validation_loss_at_{value}"] = clip_losses(velocity, data, noise, clean).mean().item()
        return {"validation_loss": sum(losses.values()) / len(losses), **losses}

    def sample(self, averaged: nn.ModuleDict, path: Path) -> dict[str, float]:
        """Generate from validation prompts; what comes back is the sampler's score."""
        return self._sampler(averaged, path)

    def _caption(self, scene: Scene, seed: int, drop: float = 0.0) -> str:
        return caption_of(scene, seed, drop, self._tokenizer).text

    def _velocity(
        self,
        dit: Callable[..., Tensor],
        text: nn.Module,
        data: Tensor,
        noise: Tensor,
        time: Tensor,
        clean: Tensor,
        captions: list[str],
    ) -> Tensor:
        times = frame_times(time, clean)
        return dit(interpolate(data, noise, times), times, embed_captions(text, self._tokenizer, captions))


def embed_captions(text: nn.Module, tokenizer: Tokenizer, captions: list[str]) -> Tensor:
    """Encode captions at their own longest length, then pad with zeros to the model's full length: `b k d`."""
    ids, mask = (part.to(device_of(text)) for part in tokenizer.encode(captions))
    longest = int(mask.sum(dim=1).max())
    embedded: Tensor = text(ids[:, :longest], mask[:, :longest])
    return F.pad(embedded, (0, 0, 0, ids.shape[1] - longest))


def caption_of(scene: Scene, seed: int, drop: float = 0.0, tokenizer: Tokenizer | None = None) -> Caption:
    """Word the scene anew for each seed; a share `drop` is empty; what the tokenizer finds too long is shortened."""
    generator = torch.Generator().manual_seed(seed)
    silence = Caption("", Facts(objects=()))
    if torch.rand((), generator=generator) < drop:
        return silence
    longest = int(torch.randint(len(LENGTHS), (), generator=generator))
    captions = (describe_with_facts(scene, seed, length) for length in LENGTHS[longest::-1])
    return next(
        (caption for caption in captions if tokenizer is None or tokenizer.count(caption.text) <= tokenizer.max_tokens),
        silence,
    )


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
