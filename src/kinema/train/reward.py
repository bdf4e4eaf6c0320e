"""How the transformer learns from its own videos: a judge says how much of its words each shows, and better ones win.

Flow matching asks a network to come near to every clip alike; whether a cube is a cube is a small part of that error.
Here several videos of one prompt are made and judged, and the velocity is moved towards those that show more of their
words than the others and away from those that show less.
"""

import copy
import multiprocessing
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from kinema.diffusion.guidance import classifier_free
from kinema.diffusion.objective import clip_losses, interpolate
from kinema.diffusion.schedule import shifted_schedule
from kinema.diffusion.solver import Velocity, euler
from kinema.generate.stream import to_pixels
from kinema.model.dit import DiT, TextKV
from kinema.model.vae import VideoVAE
from kinema.train.caption import caption_of
from kinema.train.config import RewardStage
from kinema.train.feed import leave_interrupts, scene_at
from kinema.train.flow import FlowTask, embed_captions
from kinema.train.order import batch_indices, step_seed
from kinema.train.precision import device_of
from kinema.world.describe import Caption

Judge = Callable[[UInt8[np.ndarray, "f h w 3"], Caption], float]
"""Says how much of its words a video, or a single frame, shows: from 0, nothing, to 1, everything."""

LEAST_SPREAD = 1e-3
"""Videos whose rewards differ by less than this teach nothing."""


class Made(NamedTuple):
    """Videos of a few prompts, those of one prompt in a row."""

    latents: Float[Tensor, "b c t y x"]
    text: Float[Tensor, "b k d"]
    rewards: Float[Tensor, " b"]


class RewardTask:
    """Trains `networks["dit"]` on videos that `networks["old"]`, itself some steps before, makes from words alone.

    Source: DiffusionNFT (Zheng et al. 2025, arXiv 2509.16117), algorithm 1, with rewards relative to those of the same
    prompt (GRPO, Shao et al. 2024, arXiv 2402.03300). Unlike there, videos are made under guidance, as they will be:
    what guidance changes is the same in good and bad ones, and advantages of a prompt add up to zero.
    """

    def __init__(
        self,
        flow: FlowTask,
        vae: VideoVAE,
        config: RewardStage,
        judge: Judge,
    ) -> None:
        """`flow` has the networks, the scenes whose captions are prompts, how much channels count, and true clips."""
        dit = cast("DiT", flow.networks["dit"])
        self.networks = nn.ModuleDict({"dit": dit, "old": copy.deepcopy(dit).requires_grad_(False)})
        self._text = flow.networks["text"].requires_grad_(False)
        self._flow, self._config, self._judge = flow, config, judge
        self._dtype = getattr(torch, config.precision)
        self._vae = vae.to(self._dtype)
        self._made: dict[bool, tuple[int, Made]] = {}
        context = multiprocessing.get_context("forkserver")
        self._pool = (
            ProcessPoolExecutor(config.workers, mp_context=context, initializer=leave_interrupts)
            if config.workers
            else None
        )

    def loss(self, clips_seen: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the loss of one pass over the videos whose turn it is, which are made in the first of their passes.

        Before those of a new round are made, the network that makes them moves towards the one that learns.
        """
        is_picture, both = self._config.shows_pictures(clips_seen), self._config.batch_size + self._config.pictures
        round_, turn = divmod(clips_seen // both, self._config.passes)
        if not is_picture and turn == 0 and round_ > 0:
            self._follow()
        made = self._videos(round_, is_picture)
        advantage = advantages(made.rewards, self._config.group)
        prompts = len(made.latents) // self._config.group
        # The videos of a prompt share times and noise: what does not depend on the video then cancels.
        times = self._config.times.sample(prompts, generator).repeat_interleave(self._config.group)
        noise = torch.randn(prompts, *made.latents.shape[1:], generator=generator, device=generator.device)
        noise = noise.repeat_interleave(self._config.group, dim=0)
        noisy = interpolate(made.latents, noise, times)
        at = times[:, None].expand(-1, made.latents.shape[2])
        with torch.no_grad():
            before = self.networks["old"](noisy, at, made.text).float()
        velocity = self.networks["dit"](noisy, at, made.text).float()
        loss = negative_aware_loss(
            velocity, before, made.latents, noise, advantage, self._config.strength, self._flow.channels
        )
        change = (velocity.detach() - before).square().mean().sqrt()
        return loss, {"reward": made.rewards.mean(), "change": change}

    def validate(self, averaged: nn.ModuleDict) -> dict[str, float]:
        """Measure the loss of flow matching on true clips: what is won from a judge must not be lost there."""
        return self._flow.validate(self._whole(averaged))

    def sample(self, averaged: nn.ModuleDict, path: Path) -> dict[str, float]:
        """Generate from validation prompts; what comes back is the sampler's score."""
        return self._flow.sample(self._whole(averaged), path)

    def _whole(self, averaged: nn.ModuleDict) -> nn.ModuleDict:
        return nn.ModuleDict({"dit": averaged["dit"], "text": self._text})

    def _videos(self, round_: int, is_picture: bool) -> Made:
        """The videos of a round: a pure function of the old weights and the seed."""
        if self._made.get(is_picture, (-1, None))[0] != round_:
            self._made[is_picture] = (round_, self._make(round_, is_picture))
        return self._made[is_picture][1]

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the network that makes the videos towards the one that learns."""
        pairs = zip(self.networks["old"].parameters(), self.networks["dit"].parameters(), strict=True)
        for old, new in pairs:
            old.lerp_(new, self._config.follow)

    @torch.no_grad()
    def _make(self, round_: int, is_picture: bool) -> Made:
        """Make and judge videos, or single frames, of as many prompts as a step has room for."""
        config, device = self._config, device_of(self.networks)
        latents = (self._flow.pictures if is_picture else self._flow.clips).latents
        scenes, size = latents.scenes[: latents.num_training // 2], latents.size
        seed = step_seed(config.seed, "picture" if is_picture else "clip", round_)
        generator = torch.Generator(device).manual_seed(seed)
        maker = cast("DiT", copy.deepcopy(self.networks["old"])).to(self._dtype)
        count = (config.pictures if is_picture else config.batch_size) // config.group
        parts, rewards = [], []
        for index in batch_indices(2 * len(scenes), config.seed, round_ * count, count):
            caption = caption_of(scene_at(scenes, index), step_seed(seed, index), 0.0, self._flow.tokenizer)
            text = embed_captions(self._text, self._flow.tokenizer, [caption.text, ""])
            shape = (config.group, size[0], 1 if is_picture else size[1], *size[2:])
            noise = torch.randn(shape, generator=generator, device=device)
            made = euler(self._guided(maker, text, config.group), noise, shifted_schedule(config.steps, config.shift))
            videos = [to_pixels(self._vae.decode(latent.to(self._dtype))[0]) for latent in made.split(1)]
            rewards += [self._judged(video, caption) for video in videos]
            parts.append((made, text[:1].expand(config.group, -1, -1)))
        told = torch.tensor([reward.result() for reward in rewards], device=device)
        made_latents, texts = (torch.cat(part) for part in zip(*parts, strict=True))
        return Made(made_latents, texts, told)

    def _judged(self, video: UInt8[np.ndarray, "f h w 3"], caption: Caption) -> "Future[float]":
        """Let another process judge while the next videos are made, for stages that have workers."""
        if self._pool is not None:
            return self._pool.submit(self._judge, video, caption)
        done: Future[float] = Future()
        done.set_result(self._judge(video, caption))
        return done

    def _guided(self, maker: DiT, text: Float[Tensor, "2 k d"], group: int) -> Velocity:
        """The velocity of videos of one prompt, away from the empty one; `text` is both."""
        prompt, both = (maker.text_kv(part.to(self._dtype).repeat_interleave(group, 0)) for part in (text[:1], text))

        def velocity(latent: Tensor, time: Tensor, text: TextKV) -> Tensor:
            return maker(latent.to(self._dtype), time.expand(len(latent), latent.shape[2]), text).float()

        return classifier_free(
            lambda latent, time: velocity(latent, time, prompt),
            lambda latent, time: velocity(latent.repeat(2, 1, 1, 1, 1), time, both),
            self._config.guidance,
        )


def advantages(rewards: Float[Tensor, " b"], group: int) -> Float[Tensor, " b"]:
    """How much better than others of its prompt each video is, from -1 to 1, in standard deviations of all.

    Where all videos of all prompts are alike there is nothing to learn, and all are 0.
    """
    relative = (rewards.view(-1, group) - rewards.view(-1, group).mean(dim=1, keepdim=True)).flatten()
    spread = relative.square().mean().sqrt()
    return torch.zeros_like(relative) if spread < LEAST_SPREAD else (relative / spread).clamp(-1, 1)


def negative_aware_loss(
    velocity: Float[Tensor, "b c t y x"],
    old: Float[Tensor, "b c t y x"],
    data: Float[Tensor, "b c t y x"],
    noise: Float[Tensor, "b c t y x"],
    advantage: Float[Tensor, " b"],
    strength: float = 1.0,
    channels: Float[Tensor, " c"] | None = None,
) -> Float[Tensor, ""]:
    """Flow matching of good videos with the velocity, and of bad ones with its mirror image in the old velocity.

    Good and bad are shares of each video: (1 + advantage) / 2 of it is good. Without any advantage the best velocity
    is the old one. Source: DiffusionNFT (arXiv 2509.16117), algorithm 1; `strength` is its beta.
    """
    change = strength * (velocity - old)
    good = clip_losses(old + change, data, noise, channels=channels)
    bad = clip_losses(old - change, data, noise, channels=channels)
    return ((1 + advantage) / 2 * good + (1 - advantage) / 2 * bad).mean()
