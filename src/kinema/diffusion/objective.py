"""What the network learns: the straight path between data and noise, its velocity, and the times to train at.

Time: 1 is noise, 0 is data; x_t = (1 - t) x_0 + t e and velocity = e - x_0 everywhere. A time is one value per clip
(`b`) or one per latent frame (`b t`): frames that are given stand at time 0 and take no part in the loss.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kinema.errors import SpecError

Latent = Float[Tensor, "b c t y x"]
Times = Float[Tensor, ""] | Float[Tensor, "b"] | Float[Tensor, "b t"]


def interpolate(data: Latent, noise: Latent, time: Times) -> Latent:
    """Mix data and noise to the latent seen at `time`: x_t = (1 - t) x_0 + t e; frames at time 0 are the data, exactly.

    Source: Liu et al. 2022, "Flow Straight and Fast" (arXiv 2209.03003), equation 1, with time reversed.
    """
    time = _over_latent(time)
    return (1 - time) * data + time * noise


def velocity_target(data: Latent, noise: Latent) -> Latent:
    """Return the velocity of the straight path, e - x_0, the same at every time."""
    return noise - data


def data_from_velocity(latent: Latent, velocity: Latent, time: Times) -> Latent:
    """Return the data that a latent at `time` is heading for: x_0 = x_t - t v."""
    return latent - _over_latent(time) * velocity


def noise_from_velocity(latent: Latent, velocity: Latent, time: Times) -> Latent:
    """Return the noise that a latent at `time` came from: e = x_t + (1 - t) v."""
    return latent + (1 - _over_latent(time)) * velocity


def shift_times(times: Float[Tensor, "*times"], shift: float) -> Float[Tensor, "*times"]:
    """Move times towards noise, t' = s t / (1 + (s - 1) t), as `schedule.shift_time` does for one value."""
    return (shift * times / (1 + (shift - 1) * times)).clamp(max=1)


@dataclass(frozen=True, kw_only=True)
class TimeSampling:
    """At which times a training run looks at its clips; the defaults are Stable Diffusion 3's."""

    distribution: Literal["uniform", "logit_normal"] = "logit_normal"
    """`logit_normal` looks most at middle times, `uniform` at all alike."""
    mean: float = 0.0
    """Mean of the logit of the time; above 0 looks more at noise. Only for logit_normal."""
    std: float = 1.0
    """Standard deviation of the logit of the time. Only for logit_normal."""
    shift: float = 1.0
    """Times are then moved towards noise by this much (see `shift_times`); 1 moves nothing."""
    stratified: bool = True
    """Spread the times of one batch evenly over the distribution; each clip's own time is distributed as without it."""

    def __post_init__(self) -> None:
        for name in ("std", "shift"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise SpecError(
                    f"{name}={value} does not make a distribution of times; give a number above 0, such as 1.0"
                )

    def sample(self, num_clips: int, generator: torch.Generator | None = None) -> Float[Tensor, "b"]:
        """Draw one time in [0, 1] per clip, float32, on the generator's device.

        Logit-normal: t = sigmoid(mean + std z), z normal. Source: Esser et al. 2024 (arXiv 2403.03206), section 3.1.
        Stratified: one shared offset plus i / b, modulo 1. Source: Kingma et al. 2021 (arXiv 2107.00630), appendix I.1.
        """
        device = generator.device if generator is not None else torch.device("cpu")
        num_draws = 1 if self.stratified else num_clips
        uniform = torch.rand(num_draws, generator=generator, device=device, dtype=torch.float64)
        if self.stratified:
            uniform = (uniform + torch.arange(num_clips, dtype=torch.float64, device=device) / num_clips) % 1
        if self.distribution == "logit_normal":
            uniform = torch.sigmoid(self.mean + self.std * torch.special.ndtri(uniform))
        return shift_times(uniform, self.shift).float()


def frame_times(time: Float[Tensor, "b"], clean: Bool[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Give each latent frame its time: the clip's own, and 0 where the frame is given (`clean`)."""
    return torch.where(clean, torch.zeros_like(time)[:, None], time[:, None])


def clip_losses(
    velocity: Latent,
    data: Latent,
    noise: Latent,
    clean: Bool[Tensor, "b t"] | None = None,
    weight: Float[Tensor, "b t y x"] | None = None,
    channels: Float[Tensor, " c"] | None = None,
) -> Float[Tensor, "b"]:
    """Return each clip's mean squared error of the velocity, in float32, over the frames that are not given.

    `weight` says how much each place counts; the mean is then a weighted one, over each frame. `channels`, 1 on
    average, says the same of channels. A clip whose frames are all given has nothing to learn and scores 0.
    """
    squared = (velocity.float() - velocity_target(data.float(), noise.float())).square()
    if channels is not None:
        squared = squared * channels[:, None, None, None]
    squared = squared.mean(dim=1)  # b t y x
    if weight is not None:
        squared = squared * (weight / weight.mean(dim=(2, 3), keepdim=True))
    error = squared.mean(dim=(2, 3))
    if clean is None:
        return error.mean(dim=1)
    wanted = (~clean).to(error.dtype)
    return torch.where(clean, 0.0, error).sum(dim=1) / wanted.sum(dim=1).clamp_min(1)


def flow_matching_loss(
    velocity: Latent,
    data: Latent,
    noise: Latent,
    clean: Bool[Tensor, "b t"] | None = None,
    weight: Float[Tensor, "b t y x"] | None = None,
    channels: Float[Tensor, " c"] | None = None,
) -> Float[Tensor, ""]:
    """Return the training loss: the mean over clips of `clip_losses`; given frames neither count nor pass a gradient.

    Source: Lipman et al. 2023 (arXiv 2210.02747), conditional flow matching, on straight paths.
    """
    return clip_losses(velocity, data, noise, clean, weight, channels).mean()


def _over_latent(time: Tensor) -> Tensor:
    if time.ndim == 2:
        return time[:, None, :, None, None]
    return time.reshape(-1, 1, 1, 1, 1) if time.ndim == 1 else time
