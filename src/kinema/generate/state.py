"""What a solver moves: latents in which some frames are being made and the others are given.

Text-to-video is the edit whose mask is all ones; a first image, the end of a video to continue or key frames are latent
frames whose mask is 0. Given frames stand at time 0 while the others go from 1 to 0, as in Wan2.2-TI2V-5B. Where only
a part of a frame is given, or the model was never shown frames at time 0, what is given goes from noise to data beside
the rest, along the straight path that ends at it (the known region of RePaint, arXiv 2201.09865, on a rectified flow).
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

    mask: Float[Tensor, "b 1 t #y #x"]
    """1 for what is to be made, 0 for what is given: whole latent frames, or cells of them."""

    times: Float[Tensor, "b t"]
    """The time of each latent frame, from 1 (noise) to 0 (data); frames given at time 0 stand there."""

    path: Float[Tensor, "b c t y x"] | None = None
    """Velocity of the given cells that go from noise to data beside the rest; zero elsewhere. None = all stand."""

    @classmethod
    def to_generate(cls, noise: Float[Tensor, "b c t y x"]) -> "LatentState":
        """Start a video of which nothing is given."""
        b, _, t, _, _ = noise.shape
        ones = torch.ones(b, t, device=noise.device)
        return cls(latent=noise, clean=torch.zeros_like(noise), mask=ones.view(b, 1, t, 1, 1), times=ones)

    @classmethod
    def given_frames(
        cls,
        noise: Float[Tensor, "b c t y x"],
        frames: dict[int, Float[Tensor, "b c y x"]],
        *,
        shows_clean: bool = True,
    ) -> "LatentState":
        """Start a video some of whose latent frames are given, by their index; a negative index counts from the end.

        `shows_clean` is that of `edited`. Raises IndexError for a frame beyond the video.
        """
        state = cls.to_generate(noise)
        clean, mask = state.clean.clone(), state.mask.clone()
        for index, frame in frames.items():
            clean[:, :, index] = frame.to(clean)
            mask[:, :, index] = 0
        if not shows_clean:
            return cls.edited(noise, clean, mask.expand(-1, -1, -1, *noise.shape[3:]), shows_clean=False)
        return replace(state, clean=clean, mask=mask, latent=noise, times=mask[:, 0, :, 0, 0]).moved(noise, 1.0)

    @classmethod
    def edited(
        cls,
        noise: Float[Tensor, "b c t y x"],
        clean: Float[Tensor, "b c t y x"],
        mask: Float[Tensor, "b 1 t y x"],
        *,
        strength: float = 1.0,
        shows_clean: bool,
    ) -> "LatentState":
        """Start from the latents of a video, of which the cells whose mask is 0 are given.

        What is to be made starts at time `strength`, on the way between noise (1) and what `clean` holds there.
        `shows_clean` says that the model knows whole frames at time 0.
        """
        is_given = mask == 0
        path = torch.where(is_given, noise - clean, 0)
        if shows_clean:
            path = path * mask.amax(dim=(3, 4), keepdim=True)  # frames given whole stand
        known = torch.where(is_given, clean, 0)
        start = torch.where(is_given, clean + strength * path, (1 - strength) * clean + strength * noise)
        state = cls(latent=start, clean=known, mask=mask, times=mask[:, 0, :, 0, 0], path=path if path.any() else None)
        return replace(state, times=state.frame_times(torch.as_tensor(strength)))

    def part(self, start: int, stop: int) -> "LatentState":
        """The latent frames from `start` to before `stop` alone."""
        return LatentState(
            latent=self.latent[:, :, start:stop],
            clean=self.clean[:, :, start:stop],
            mask=self.mask[:, :, start:stop],
            times=self.times[:, start:stop],
            path=None if self.path is None else self.path[:, :, start:stop],
        )

    @property
    def is_given(self) -> bool:
        """Whether nothing of it is to be made."""
        return not self.mask.any()

    def moved(self, latent: Float[Tensor, "b c t y x"], time: float) -> "LatentState":
        """Return the state whose made frames are those of `latent`, at `time`; given frames stay what they are."""
        return replace(self, latent=self._seen(latent), times=self.frame_times(torch.as_tensor(time)))

    def restore(self, latent: Float[Tensor, "b c t y x"]) -> Float[Tensor, "b c t y x"]:
        """Put what is given back into `latent`, bit for bit, at the end of its way."""
        return torch.where(self.mask > 0, latent, self.clean)

    def _seen(self, latent: Tensor) -> Tensor:
        """What the network is shown: what stands as it is, what moves as far as the solver has come."""
        moves = self.mask > 0 if self.path is None else (self.mask > 0) | (self.path != 0)
        return torch.where(moves, latent, self.clean)

    def frame_times(self, time: Float[Tensor, "*b"]) -> Float[Tensor, "b t"]:
        """Spread one time (or one per sample) over the latent frames: `time` for those that move, 0 for the others."""
        moves = self.mask.amax(dim=(1, 3, 4))
        if self.path is not None:
            moves = torch.maximum(moves, (self.path != 0).any(dim=1).amax(dim=(2, 3)).to(moves))
        return moves * time.to(moves).reshape(-1, 1)

    def velocity(self, network: FrameVelocity, *, is_renoised: bool = False) -> Velocity:
        """Make the velocity that a solver may follow: what is given stands still, or moves along its path.

        `is_renoised` says that the solver draws other noise at each step: the path is then that from where it stands.
        """

        def masked(latent: Tensor, time: Tensor) -> Tensor:
            predicted = self.mask * network(self._seen(latent), self.frame_times(torch.as_tensor(time)))
            if self.path is None:
                return predicted
            if is_renoised:
                return predicted + torch.where(self.path != 0, (latent - self.clean) / time, 0)
            return predicted + self.path

        return masked
