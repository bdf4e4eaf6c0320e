"""Linear layers, in one pass of oneDNN where that is quicker: bfloat16 on a CPU, with nothing to differentiate."""

import platform

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

LAID_OUT = 2**19
"""Numbers of the largest weight that is kept a second time, in the layout that oneDNN multiplies: 1 MB."""

_KEEPS_LAYOUTS = platform.machine().lower() in ("x86_64", "amd64")  # elsewhere not measured
_layouts: WeakIdKeyDictionary = WeakIdKeyDictionary()


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
    weight = laid_out(layer.weight)
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, layer.bias, activation, [], form)
    return y


def laid_out(weight: Tensor) -> Tensor:
    """The weight in the layout that oneDNN multiplies, made when it is first asked for and after each change.

    oneDNN would otherwise make it at every call, on one thread: a fifth of the time of 640 tokens of 256 channels on
    two cores. The numbers are the same. A large weight is given as it is: kept twice, it costs more than it wins.
    """
    if not _KEEPS_LAYOUTS or weight.numel() > LAID_OUT or weight.is_inference():
        return weight
    state = weight._version, weight.data_ptr()
    known = _layouts.get(weight)
    if known is None or known[0] != state:
        with torch.inference_mode(False), torch.no_grad():
            known = _layouts[weight] = state, torch.ops.mkldnn._reorder_linear_weight(weight.detach())
    layout: Tensor = known[1]
    return layout
