"""Sample a consistency model: jump to the data, put noise back, jump again."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from kinema.diffusion.schedule import Schedule
from kinema.diffusion.solver import OnStep, Velocity


def consistency(
    velocity: Velocity,
    latent: Float[Tensor, "*latent"],
    schedule: Schedule,
    noise: Callable[[int], Tensor],
    on_step: OnStep | None = None,
) -> Float[Tensor, "*latent"]:
    """Predict the data at each level of `schedule` and renoise it to the next, with fresh noise `noise(step)`.

    One network call per step; what the last step predicts is returned, so the schedule must end at 0. Source: Song et
    al. 2023, "Consistency models" (arXiv 2303.01469), algorithm 1, on straight paths, as in Self-Forcing (arXiv
    2506.08009), algorithm 1.
    """
    assert schedule.sigmas[-1] == 0
    for step, (sigma, time) in enumerate(zip(schedule.sigmas, schedule.times, strict=False)):
        here = torch.tensor(time, dtype=torch.float32, device=latent.device)
        data = latent - sigma * velocity(latent, here).to(latent.dtype)
        following = schedule.sigmas[step + 1]
        latent = (1 - following) * data + following * noise(step + 1).to(latent) if following else data
        if on_step is not None:
            on_step(step, latent)
    return latent
