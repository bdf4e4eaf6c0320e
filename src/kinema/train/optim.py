"""Optimizers and the learning rate as a function of the clips seen."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from kinema.train.config import OptimConfig
from kinema.train.muon import Muon

OUTER = ("embed", "conv_in", "conv_out", "proj_out", "bias")
"""Words in the names of matrices and kernels that are not hidden, and of tables that are none."""

UNSCALED = "text."
"""How the names of the text encoder begin. The logits of T5's attention are neither scaled nor normed, and Muon let
those of `mini` grow until every token looked at one other, whatever was learnt: nothing could be bound to anything."""


def learning_rate_share(config: OptimConfig, clips_seen: int, clips: int) -> float:
    """Share of the peak learning rate after `clips_seen` of `clips`: linear warm-up, then the schedule.

    Cosine: Loshchilov and Hutter 2017 (arXiv 1608.03983); stable_decay: Hu et al. 2024 (arXiv 2404.06395), section 4.
    """
    if clips_seen < config.warmup_clips:
        return (clips_seen + 1) / config.warmup_clips
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "stable_decay":
        left = (clips - clips_seen) / max(1.0, config.decay_share * clips)
        return config.final_share + (1.0 - config.final_share) * min(1.0, max(0.0, left))
    progress = (clips_seen - config.warmup_clips) / max(1, clips - config.warmup_clips)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return config.final_share + (1.0 - config.final_share) * cosine


def build_optimizers(
    named_parameters: Iterable[tuple[str, nn.Parameter]], config: OptimConfig
) -> list[torch.optim.Optimizer]:
    """AdamW for all parameters, or Muon for hidden matrices and kernels and AdamW for the others.

    What reads pixels, tokens or times and what writes the output (embeddings, `conv_in`, `conv_out`, `proj_out`) stays
    with AdamW, as Muon's authors advise, and so does the text encoder (`UNSCALED`). Vectors are not decayed.
    """
    matrices: list[nn.Parameter] = []
    decayed: list[Tensor] = []
    plain: list[Tensor] = []
    for name, parameter in named_parameters:
        is_outer = any(word in name for word in OUTER) or name.startswith(UNSCALED)
        is_hidden = parameter.ndim in (2, 4, 5) and not is_outer
        if config.muon_learning_rate is not None and is_hidden:
            matrices.append(parameter)
        elif parameter.ndim >= 2:
            decayed.append(parameter)
        else:
            plain.append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=config.learning_rate, betas=config.betas, fused=True
        )
    ]
    if matrices and config.muon_learning_rate is not None:
        optimizers.append(Muon(matrices, lr=config.muon_learning_rate, weight_decay=config.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def set_learning_rate(optimizers: Iterable[torch.optim.Optimizer], share: float) -> None:
    """Set every group to `share` of its peak learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * share
