"""Exponential moving average of weights, in float32."""

from collections.abc import Mapping

import torch
from torch import Tensor


class EMA:
    """Averages a set of named tensors; early on the average is short, so that it forgets the random start.

    The decay of update k is min(decay, (1 + k) / (10 + k)), as in TensorFlow's `ExponentialMovingAverage`.
    """

    def __init__(self, tensors: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self.tensors = {name: tensor.detach().clone().float() for name, tensor in tensors.items()}

    @torch.no_grad()
    def update(self, tensors: Mapping[str, Tensor]) -> None:
        """Move the average towards `tensors`, which carry the names given at the start."""
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        averages = [self.tensors[name] for name in tensors]
        torch._foreach_lerp_(averages, [tensor.detach().float() for tensor in tensors.values()], 1.0 - decay)
