"""Which channels of the latents matter: an autoencoder leaves some unused, and no velocity of theirs is ever seen.

A small divergence makes the posterior of a channel that the decoder does not need as wide as its prior. Normalised,
what is left of it is as large as any other channel, and harder to predict; so an error that counts all channels alike
is for a good part about nothing.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from kinema.model.vae import VideoVAE
from kinema.train.latents import Latents
from kinema.train.precision import device_of

CLIPS = 16
"""Clips that the decoder is tried on."""
STEP = 0.5
"""Standard deviation of the noise that each channel is tried with, in normalised latents."""
LEAST = 0.1
"""Weight of a channel that the decoder does not see, against 1 for one of the average gain."""


@torch.no_grad()
def measure_gains(vae: VideoVAE, data: Float[Tensor, "b c t y x"]) -> Float[Tensor, " c"]:
    """Mean squared change of the pixels by noise in each channel of normalised latents, in shares of their sum."""
    data = data.to(device_of(vae), next(vae.parameters()).dtype)
    noise = STEP * torch.randn(data[:, 0].shape, generator=torch.Generator().manual_seed(0)).to(data)
    frames = vae.decode(data).float()
    changes = []
    for channel in range(data.shape[1]):
        moved = data.clone()
        moved[:, channel] += noise
        changes.append((vae.decode(moved).float() - frames).square().mean())
    gains = torch.stack(changes)
    return gains / gains.sum()


def channel_weights(gains: Float[Tensor, " c"], power: float) -> Float[Tensor, " c"]:
    """How much the error of each channel counts, 1 on average: its gain to `power`, and a little for any.

    Power 1 is the error of the pixels as far as the decoder is linear, 0 counts all alike. Any positive weights have
    the same best velocity; they say where a network that cannot have it should come near.
    """
    relative = (gains * len(gains)) ** power
    weights = relative + LEAST
    return weights / weights.mean()


def weights_for(power: float, vae: VideoVAE, latents: Latents) -> Float[Tensor, " c"] | None:
    """The weights that a stage asks for by its `channel_power`; None = all channels count alike."""
    if power == 0:
        return None
    data = latents.training(torch.arange(min(CLIPS, latents.num_training)))
    return channel_weights(measure_gains(vae, data), power).to(device_of(vae))
