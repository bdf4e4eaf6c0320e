"""Optimizers and the learning rate as a function of the clips seen."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from kinema.train.config import OptimConfig
from kinema.train.muon import Muon

OUTER = ("embed", "conv_in", "conv_out", "proj_out", "bias")
"""Words in the names of matrices and kernels that are not hidden, and of tables that are none."""

TEXT = "text."
"""How the names of the text encoder begin, which Muon leaves alone. The logits of T5's attention are neither scaled nor
normed, and Muon let those of `mini` grow until every token looked at one other, whatever was learnt."""

TEXT_RATES = {".to_q.": 0.125, ".to_k.": 0.5, ".position_bias.": 20.0}
"""Learning rates of the text encoder's queries, keys and position biases, in those of the rest. AdamW moves all numbers
alike, but queries start e^-1/2 times as large (`init_text_weights`), and a bias must reach several units before a token
can look at its neighbour alone. At one rate for all, logits outgrow biases, and what stands together is not bound."""


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
    with AdamW, as Muon's authors advise, and so does the text encoder (`TEXT`), whose parts have rates of their own
    (`TEXT_RATES`). Vectors are not decayed.
    """
    matrices: list[nn.Parameter] = []
    others: dict[tuple[float, float], list[nn.Parameter]] = {}  # by learning rate and decay
    for name, parameter in named_parameters:
        is_text = name.startswith(TEXT)
        is_outer = is_text or any(word in name for word in OUTER)
        if config.muon_learning_rate is not None and parameter.ndim in (2, 4, 5) and not is_outer:
            matrices.append(parameter)
        else:
            rate = next((rate for word, rate in TEXT_RATES.items() if is_text and word in name), 1.0)
            decay = config.weight_decay if parameter.ndim >= 2 else 0.0
            others.setdefault((rate * config.learning_rate, decay), []).append(parameter)
    groups = [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in others.items()]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)
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
