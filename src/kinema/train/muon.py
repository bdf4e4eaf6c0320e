"""Muon: momentum whose direction is made orthogonal, for matrices and for the kernels of convolutions."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that drives singular values towards 1 within five rounds (Jordan et al. 2024)."""

ROUNDS = 5

RMS_OF_ADAMW = 0.2
"""Root mean square of a step of AdamW at a learning rate of 1; Muon's steps are scaled to it (Liu et al. 2025)."""


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonal steps, as large as AdamW's, so that learning rates and decay carry over.

    A kernel `out in f h w` counts as a matrix `out (in f h w)`. Sources: Jordan et al. 2024, "Muon: an optimizer for
    hidden layers in neural networks"; Liu et al. 2025, "Muon is scalable for LLM training" (arXiv 2502.16982), section
    2.2. torch.optim.Muon takes matrices only.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # nobody evaluates the loss twice
        """Move every parameter that has a gradient; matrices of one shape are made orthogonal together."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(state["momentum"], group["momentum"])  # Nesterov's look ahead
                matrix = ahead.flatten(1)
                alike.setdefault(matrix.shape, []).append((parameter, matrix))
            for shape, pairs in alike.items():
                steps = orthogonalise(torch.stack([matrix for _, matrix in pairs]))
                size = RMS_OF_ADAMW * max(shape) ** 0.5 * group["lr"]
                for (parameter, _), step in zip(pairs, steps, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(step.view_as(parameter), alpha=-size)


def orthogonalise(matrices: Tensor) -> Tensor:
    """Bring all singular values of each matrix, `n rows columns`, near 1 (0.7 to 1.2) and keep its singular vectors.

    Newton-Schulz rounds in bfloat16, on the shorter side (Jordan et al. 2024).
    """
    a, b, c = COEFFICIENTS
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    x = (x / (torch.linalg.matrix_norm(x)[:, None, None] + 1e-7)).bfloat16()
    for _ in range(ROUNDS):
        gram = torch.bmm(x, x.mT)
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return (x.mT if is_tall else x).to(matrices.dtype)
