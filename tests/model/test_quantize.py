"""Eight-bit weights compute nearly the same, and take what is said of them."""

import pytest
import torch

from kinema.errors import SpecError
from kinema.model import PRESETS, DiT, quantize
from kinema.model.linear import linear, linear_gelu

CPU = torch.device("cpu")


def _layer(dtype):
    torch.manual_seed(0)
    return torch.nn.Linear(64, 96).to(dtype), torch.randn(2, 5, 64, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_a_layer_of_eight_bits_gives_nearly_the_same(dtype):
    pytest.importorskip("torchao")
    layer, x = _layer(dtype)
    expected = layer(x).float()
    activated = torch.nn.functional.gelu(expected, approximate="tanh")
    small = quantize.quantized(layer.weight, "int8")
    layer.weight = torch.nn.Parameter(small, requires_grad=False)
    for made, wanted in ((linear(x, layer), expected), (linear_gelu(x, layer), activated)):
        assert made.dtype == dtype
        assert (made.float() - wanted).norm() / wanted.norm() < 0.02


def test_the_size_that_is_planned_is_the_size_that_is_taken():
    pytest.importorskip("torchao")
    layer, _ = _layer(torch.bfloat16)
    small = quantize.quantized(layer.weight, "int8")
    parts, _ = small.__tensor_flatten__()
    taken = sum(getattr(small, part).nbytes for part in parts)
    assert taken == quantize.quantized_bytes(layer.weight)
    assert taken < layer.weight.nbytes * 0.55


def test_only_linear_layers_of_blocks_get_eight_bits():
    dit = DiT(PRESETS["tiny"].dit)
    chosen = {name for name, weight in dit.named_parameters() if quantize.is_quantized(name, weight)}
    linears = {
        f"blocks.{name}.weight" for name, each in dit.blocks.named_modules() if isinstance(each, torch.nn.Linear)
    }
    assert chosen == linears
    assert len(chosen) == 2 * 10


def test_what_cannot_be_had_is_refused(monkeypatch):
    with pytest.raises(SpecError, match=r"unknown quantize 'int4'.*fp8, int8"):
        quantize.check_quantize("int4", CPU)
    with pytest.raises(SpecError, match="fp8 needs an NVIDIA GPU, and this is cpu; use int8"):
        quantize.check_quantize("fp8", CPU)

    def missing():
        raise ImportError

    monkeypatch.setattr(quantize, "_torchao", missing)
    with pytest.raises(SpecError, match=r"pip install .*\[quantize\]"):
        quantize.check_quantize("int8", CPU)
