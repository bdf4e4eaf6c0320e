"""Optimizers and the learning rate as a function of the clips seen."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from kinema.train.config import OptimConfig


def learning_rate_share(config: OptimConfig, clips_seen: int, clips: int) -> float:
    """Share of the peak learning rate after `clips_seen` of `clips`: linear warm-up, then the schedule."""
    if clips_seen < config.warmup_clips:
        return (clips_seen + 1) / config.warmup_clips
    if config.schedule == "constant":
        return 1.0
    progress = (clips_seen - config.warmup_clips) / max(1, clips - config.warmup_clips)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return config.final_share + (1.0 - config.final_share) * cosine


def build_optimizers(
    named_parameters: Iterable[tuple[str, nn.Parameter]], config: OptimConfig
) -> list[torch.optim.Optimizer]:
    """AdamW for all parameters, or Muon (Jordan et al. 2024) for the hidden matrices and AdamW for the others.

    Matrices that read tokens or write the output (embeddings, `proj_out`) stay with AdamW, as Muon's authors advise.
    Vectors are not decayed.
    """
    matrices: list[Tensor] = []
    decayed: list[Tensor] = []
    plain: list[Tensor] = []
    for name, parameter in named_parameters:
        is_hidden = parameter.ndim == 2 and not any(word in name for word in ("embed", "proj_out", "bias"))
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
        muon = torch.optim.Muon(
            matrices, lr=config.muon_learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        optimizers.append(muon)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def set_learning_rate(optimizers: Iterable[torch.optim.Optimizer], share: float) -> None:
    """Set every group to `share` of its peak learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * share
