"""What is done to the parts that repeat, in training: compiled once, or computed again rather than kept.

Only `forward` is replaced, in place: names of weights stay, and hooks on a block still hear it.
"""

from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from kinema.model.dit import Block
from kinema.model.text import TextLayer
from kinema.model.vae import VideoVAE


def compile_parts(networks: nn.Module) -> None:
    """Compile every block of transformers and text encoders, and autoencoders whole."""
    for module in networks.modules():
        if isinstance(module, Block | TextLayer | VideoVAE):
            module.forward = torch.compile(module.forward)  # type: ignore[method-assign, assignment]


def recompute_blocks(networks: nn.Module) -> None:
    """Keep the input of each block of a transformer only, and compute the rest again in the backward pass.

    A third more arithmetic, and activations of one block instead of all. Source: Chen et al. 2016 (arXiv 1604.06174).
    To be called after `compile_parts`.
    """
    for module in networks.modules():
        if isinstance(module, Block):
            module.forward = partial(checkpoint, module.forward, use_reentrant=False)  # type: ignore[method-assign]
