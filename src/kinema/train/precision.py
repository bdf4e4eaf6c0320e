"""Where a network is, and the arithmetic of its forward and backward passes."""

from contextlib import AbstractContextManager

import torch
from torch import nn

from kinema.train.config import Precision


def device_of(network: nn.Module) -> torch.device:
    """Give the device of a network's weights."""
    return next(network.parameters()).device


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """Compute matrix products and convolutions in bfloat16 where `precision` says so; weights stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
