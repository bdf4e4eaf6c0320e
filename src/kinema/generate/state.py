"""What a solver moves: latents in which some frames are being made and the others are given.

Text-to-video is the edit whose mask is all ones; a first image, the end of a video to continue or key frames are latent
frames whose mask is 0. Given frames stand at time 0 while the others go from 1 to 0, as in Wan2.2-TI2V-5B.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

FrameVelocity = Callable[[Tensor, Tensor], Tensor]
"""Velocity of a latent `b c t y x` whose frames stand at times `b t`: what the network predicts."""

Velocity = Callable[[Tensor, Tensor], Tensor]
"""Velocity of a latent `b c t y x` at one time: what a solver asks for."""


@dataclass(frozen=True, kw_only=True)
class LatentState:
    """Latents on their way from noise to video, float32; `mask` tells which frames are being made.

    Make one with `to_generate` (all frames) or `given_frames` (some are known). States do not change: `moved` returns
    the next one.
    """

    latent: Float[Tensor, "b c t y x"]
    """The frames being made at their present time, and the given ones as they are."""

    clean: Float[Tensor, "b c t y x"]
    """The given latent frames; zero where a frame is to be made."""

    mask: Float[Tensor, "b 1 t 1 1"]
    """1 for a latent frame to be made, 0 for a given one."""

    times: Float[Tensor, "b t"]
    """The time of each latent frame, from 1 (noise) to 0 (data); given frames stand at 0."""

    @classmethod
    def to_generate(cls, noise: Float[Tensor, "b c t y x"]) -> "LatentState":
        """Start a video of which nothing is given."""
        b, _, t, _, _ = noise.shape
        ones = torch.ones(b, t, device=noise.device)
        return cls(latent=noise, clean=torch.zeros_like(noise), mask=ones.view(b, 1, t, 1, 1), times=ones)

    @classmethod
    def given_frames(
        cls, noise: Float[Tensor, "b c t y x"], frames: dict[int, Float[Tensor, "b c y x"]]
    ) -> "LatentState":
        """Start a video some of whose latent frames are given, by their index; a negative index counts from the end.

        Raises IndexError for a frame beyond the video.
        """
        state = cls.to_generate(noise)
        clean, mask = state.clean.clone(), state.mask.clone()
        for index, frame in frames.items():
            clean[:, :, index] = frame.to(clean)
            mask[:, :, index] = 0
        return replace(state, clean=clean, mask=mask, latent=noise, times=mask[:, 0, :, 0, 0]).moved(noise, 1.0)

    def moved(self, latent: Float[Tensor, "b c t y x"], time: float) -> "LatentState":
        """Return the state whose made frames are those of `latent`, at `time`; given frames stay what they are."""
        return replace(self, latent=self.restore(latent), times=self.frame_times(torch.as_tensor(time)))

    def restore(self, latent: Float[Tensor, "b c t y x"]) -> Float[Tensor, "b c t y x"]:
        """Put the given frames back into `latent`, bit for bit."""
        return torch.where(self.mask > 0, latent, self.clean)

    def frame_times(self, time: Float[Tensor, "*b"]) -> Float[Tensor, "b t"]:
        """Spread one time (or one per sample) over the latent frames: `time` for those being made, 0 for given ones."""
        return self.mask[:, 0, :, 0, 0] * time.to(self.mask).reshape(-1, 1)

    def velocity(self, network: FrameVelocity) -> Velocity:
        """Make the velocity that a solver may follow: the network sees given frames at time 0, and they stand still."""

        def masked(latent: Tensor, time: Tensor) -> Tensor:
            return self.mask * network(self.restore(latent), self.frame_times(torch.as_tensor(time)))

        return masked
