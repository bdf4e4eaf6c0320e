"""Linear layers, in one pass of oneDNN where that is quicker: bfloat16 on a CPU, with nothing to differentiate."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def linear(x: Float[Tensor, "*tokens d"], layer: nn.Linear) -> Float[Tensor, "*tokens d_out"]:
    """Apply a linear layer; PyTorch would first write the bias to every row of the result, to add the product to it."""
    if _is_quick(x, layer):
        return _fused(x, layer, "none", "")
    y: Tensor = layer(x)
    return y


def linear_gelu(x: Float[Tensor, "*tokens d"], layer: nn.Linear) -> Float[Tensor, "*tokens d_out"]:
    """Apply a linear layer, then GELU in its tanh form.

    In bfloat16 on a CPU the activation alone takes almost as long as the product; oneDNN does both in one pass, 1.6
    times as fast, and rounds once.
    """
    if _is_quick(x, layer):
        return _fused(x, layer, "gelu", "tanh")
    return F.gelu(layer(x), approximate="tanh")


def _is_quick(x: Tensor, layer: nn.Linear) -> bool:
    if x.device.type != "cpu" or torch.is_grad_enabled() or not torch.backends.mkldnn.is_available():
        return False
    if type(layer.weight) is not nn.Parameter:
        return False  # eight bits (`quantize.py`), which say that they are bfloat16
    is_half = x.dtype == layer.weight.dtype == torch.bfloat16
    return is_half and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _fused(x: Tensor, layer: nn.Linear, activation: str, form: str) -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, activation, [], form)
    return y
