"""How the causal transformer learns from its own videos: it makes them as it will, and is told how they should change.

Two networks that see whole clips judge what it made at a random time: the teacher, which knows true video, and the
critic, which knows the student's. Where they differ is how the student's video must change, so that the distribution
of what it makes becomes that of the teacher (distribution matching).
"""

from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kinema.diffusion.guidance import classifier_free
from kinema.diffusion.objective import data_from_velocity, flow_matching_loss, interpolate, shift_times
from kinema.diffusion.schedule import shifted_times
from kinema.model.causal import CausalConfig
from kinema.model.dit import DiT
from kinema.model.vae import VideoVAE
from kinema.train.config import SelfForcingStage
from kinema.train.flow import Sampler
from kinema.train.forcing import Forcing
from kinema.train.order import step_seed
from kinema.train.precision import autocast, device_of

WARM_UP = 3
"""Latent frames from which the picture at the beginning of a later stretch is decoded."""


def roll_out(
    dit: DiT,
    causal: CausalConfig,
    text: Float[Tensor, "b k text_dim"],
    size: tuple[int, int, int, int],
    times: tuple[float, ...],
    last_step: int,
    generator: torch.Generator,
    *,
    with_gradient: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "b c t y x"]:
    """Make latents of `size` "c t y x" block by block, each of which leaves after `last_step` of the steps from 0.

    The gradient flows through that step alone, not through what is remembered. Source: Self-Forcing (arXiv 2506.08009),
    algorithm 1.
    """
    channels, frames, *sides = size
    batch, device = len(text), text.device
    cache = dit.new_cache(causal, (sides[0], sides[1]), batch=batch, max_frames=frames, dtype=dtype)

    def draw(length: int) -> Tensor:
        return torch.randn(batch, channels, length, *sides, generator=generator, device=device)

    with torch.no_grad():
        remembered = dit.text_kv(text)
    learnt = dit.text_kv(text) if with_gradient else remembered
    blocks = []
    for start in range(0, frames, causal.block):
        length = min(causal.block, frames - start)
        cache.open(length)
        latent = draw(length)
        for step in range(last_step + 1):
            is_learnt = with_gradient and step == last_step
            at = torch.full((batch, length), times[step], device=device)
            with torch.set_grad_enabled(is_learnt):
                velocity = dit(latent, at, learnt if is_learnt else remembered, cache=cache).float()
                data = data_from_velocity(latent, velocity, at)
            if step < last_step:
                latent = interpolate(data, draw(length), torch.tensor(times[step + 1], device=device))
        blocks.append(data)
        with torch.no_grad():
            seen = data.detach()
            if causal.context_noise:
                seen = interpolate(seen, draw(length), torch.tensor(causal.context_noise, device=device))
            dit(seen, torch.full((batch, length), causal.context_noise, device=device), remembered, cache=cache)
        cache.close()
    return torch.cat(blocks, dim=2)


class SelfForcingTask:
    """Trains `networks["dit"]`, the student, and `networks["critic"]` in turn, on words alone.

    Sources: distribution matching distillation (Yin et al. 2024, arXiv 2405.14867, equations 4 and 8) on rollouts
    (Self-Forcing, arXiv 2506.08009, section 3.2); stretches of long rollouts as in LongLive (arXiv 2509.22622).
    """

    def __init__(
        self,
        student: DiT,
        critic: DiT,
        teacher: DiT,
        vae: VideoVAE,
        forcing: Forcing,
        causal: CausalConfig,
        clip: tuple[int, int, int, int],
        config: SelfForcingStage,
        sampler: Sampler,
    ) -> None:
        """`clip` is the size of the clips that teacher and critic know, "c t y x" in latents."""
        self.networks = nn.ModuleDict({"dit": student, "critic": critic})
        self._teacher, self._vae = teacher.requires_grad_(False), vae
        self._forcing, self._causal, self._clip = forcing, causal, clip
        self._config, self._sampler = config, sampler
        self._times = shifted_times(config.steps, config.shift)
        self._dtype = getattr(torch, config.precision)

    def loss(self, clips_seen: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the critic's loss, or after every `critic_steps` of those the student's."""
        turn = clips_seen // self._config.batch_size % (self._config.critic_steps + 1)
        is_student = turn == self._config.critic_steps
        text = self._forcing.batch(clips_seen).text
        video = self._stretch(
            self._roll_out(self.networks["dit"], text, generator, with_gradient=is_student), generator
        )
        if is_student:
            loss, length = self._matching_loss(video, text, generator)
            return loss, {"student_loss": loss, "correction": length}
        loss = self._critic_loss(self.networks["critic"], video, text, generator)
        return loss, {"critic_loss": loss}

    @torch.no_grad()
    def validate(self, averaged: nn.ModuleDict) -> dict[str, float]:
        """How the critic judges rollouts of fixed words and noise, and how far the teacher would move them."""
        device = device_of(averaged)
        generator = torch.Generator(device).manual_seed(step_seed(self._config.seed, "validation"))
        with autocast(device, self._config.precision):
            _, text, _ = self._forcing.validation(16)
            video = self._stretch(self._roll_out(averaged["dit"], text, generator), generator)
            critic = self._critic_loss(averaged["critic"], video, text, generator)
            _, length = self._matching_loss(video, text, generator)
        return {"validation_loss": critic.item(), "validation_correction": length.item()}

    def sample(self, averaged: nn.ModuleDict, path: Path) -> dict[str, float]:
        """Generate block by block from validation prompts, in few steps; what comes back is the sampler's score."""
        return self._sampler(averaged, path)

    def _roll_out(
        self, dit: nn.Module, text: Tensor, generator: torch.Generator, *, with_gradient: bool = False
    ) -> Tensor:
        channels, _, *sides = self._clip
        last = int(torch.randint(self._config.steps, (), generator=generator, device=generator.device))
        return roll_out(
            cast("DiT", dit),
            self._causal,
            text,
            (channels, self._config.frames, sides[0], sides[1]),
            self._times,
            last,
            generator,
            with_gradient=with_gradient,
            dtype=self._dtype,
        )

    def _stretch(self, video: Tensor, generator: torch.Generator) -> Tensor:
        """Cut as many frames as a clip has; the first of a later stretch becomes a lone frame, as clips begin with."""
        length = self._clip[1]
        last = video.shape[2] - length
        start = int(torch.randint(last + 1, (), generator=generator, device=generator.device))
        if start == 0:
            return video[:, :, :length]
        with torch.no_grad():
            before = video[:, :, max(0, start + 1 - WARM_UP) : start + 1].detach()
            picture = self._vae.decode(before.to(self._dtype))[:, -1:]
            lone = self._vae.encode(picture).float()
        return torch.cat([lone, video[:, :, start + 1 : start + length]], dim=2)

    def _noised(self, video: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Bring a video to a random time, one for each clip: what networks see, the times of its frames, the noise."""
        low, high = self._config.times
        drawn = torch.rand(len(video), generator=generator, device=video.device)
        times = shift_times(drawn, self._config.shift).clamp(low, high)[:, None].expand(-1, video.shape[2])
        noise = torch.randn(video.shape, generator=generator, device=video.device)
        return interpolate(video, noise, times), times, noise

    def _critic_loss(self, critic: nn.Module, video: Tensor, text: Tensor, generator: torch.Generator) -> Tensor:
        """Flow matching on what the student makes: so the critic knows its distribution."""
        video = video.detach()
        noisy, times, noise = self._noised(video, generator)
        return flow_matching_loss(critic(noisy, times, text), video, noise)

    def _matching_loss(self, video: Tensor, text: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A loss whose gradient moves the video from where the critic sees it to where the teacher does."""
        with torch.no_grad():
            noisy, times, _ = self._noised(video.detach(), generator)
            both = torch.cat([text, self._forcing.empty.expand_as(text)])
            guided = classifier_free(
                lambda latent, at: self._teacher(latent, at, text).float(),
                lambda latent, at: self._teacher(torch.cat([latent] * 2), torch.cat([at] * 2), both).float(),
                self._config.guidance,
            )
            real = data_from_velocity(noisy, guided(noisy, times), times)
            fake = data_from_velocity(noisy, self.networks["critic"](noisy, times, text).float(), times)
            scale = (video - real).abs().mean(dim=(1, 2, 3, 4), keepdim=True).clamp_min(1e-6)
            correction = torch.nan_to_num((fake - real) / scale)
            target = video - correction
        return 0.5 * (video - target).square().mean(), correction.square().mean().sqrt()
