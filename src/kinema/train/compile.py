"""Compiling for training: what repeats is compiled once, and what is around it stays as it is."""

import torch
from torch import nn

from kinema.model.dit import Block
from kinema.model.text import TextLayer
from kinema.model.vae import VideoVAE


def compile_parts(networks: nn.Module) -> None:
    """Compile every block of transformers and text encoders, and autoencoders whole, in place.

    Only `forward` is replaced: names of weights stay, and hooks on a block still hear it.
    """
    for module in networks.modules():
        if isinstance(module, Block | TextLayer | VideoVAE):
            module.forward = torch.compile(module.forward)  # type: ignore[method-assign, assignment]
