"""An autoencoder that learns more and stays what it was: what was learnt on its latents keeps most of its worth.

A transformer takes days to learn what latents mean, an autoencoder hours to give better ones. So the latents are held
where they were, each channel as firmly as the decoder of before made something of it: channels that it left unused are
free to carry what was missing.
"""

import copy

import torch
from jaxtyping import Float
from torch import Tensor

from kinema.model.vae import VideoVAE
from kinema.train.channels import CLIPS, measure_gains
from kinema.train.corpus import Corpus
from kinema.train.precision import device_of


class Anchor:
    """The autoencoder as it is when this is made."""

    @torch.no_grad()
    def __init__(self, vae: VideoVAE, corpus: Corpus) -> None:
        self._vae = copy.deepcopy(vae).requires_grad_(False).eval()
        clips = corpus.frames(range(min(CLIPS, corpus.config.clips)), device=device_of(vae))
        gains = measure_gains(self._vae, self._vae.encode(clips))
        self._weights = (gains * len(gains))[:, None, None, None]

    def distance(self, frames: Float[Tensor, "b f h w 3"], mean: Float[Tensor, "b c t y x"]) -> Float[Tensor, ""]:
        """Mean squared change of the normalised latents of `frames`, whose raw ones are `mean` now.

        Each channel counts by what the decoder made of it, 1 on average.
        """
        with torch.no_grad():
            before = self._vae.encode(frames).float()
        return (self._weights * (self._vae.normalise(mean.float()) - before).square()).mean()
