"""Linear layers give the same numbers in one pass or in several."""

import platform
import weakref

import pytest
import torch
import torch.nn.functional as F

from kinema.model.linear import LAID_OUT, laid_out, linear, linear_gelu

needs_bf16 = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64") or not torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    reason="weights are laid out for bfloat16 products of x86-64",
)


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize(("dtype", "rtol", "atol"), [(torch.float32, 1e-5, 1e-6), (torch.bfloat16, 0.01, 0.02)])
def test_a_layer_is_the_same_in_one_pass_or_in_several(dtype, rtol, atol, is_training):
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(32, 64).to(dtype), torch.randn(2, 5, 32, dtype=dtype)
    exact = F.linear(x.double(), layer.weight.double(), layer.bias.double())
    with torch.set_grad_enabled(is_training):
        plain, activated = linear(x, layer), linear_gelu(x, layer)
    assert plain.dtype == activated.dtype == dtype
    torch.testing.assert_close(plain.double(), exact, rtol=rtol, atol=atol)
    torch.testing.assert_close(activated.double(), F.gelu(exact, approximate="tanh"), rtol=rtol, atol=atol)


@needs_bf16
def test_a_weight_is_laid_out_once_and_anew_after_it_changed():
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(32, 64).bfloat16(), torch.randn(5, 32).bfloat16()
    with torch.no_grad():
        before = linear(x, layer)
        assert laid_out(layer.weight) is laid_out(layer.weight)
        layer.weight.mul_(2), layer.bias.mul_(2)
        torch.testing.assert_close(linear(x, layer), 2 * before, rtol=0, atol=0)
        layer.weight = torch.nn.Parameter(layer.weight / 2)
        layer.bias.div_(2)
        torch.testing.assert_close(linear(x, layer), before, rtol=0, atol=0)


@needs_bf16
def test_what_was_laid_out_goes_with_its_weight():
    layer = torch.nn.Linear(32, 64).bfloat16()
    layout = weakref.ref(laid_out(layer.weight))
    assert layout() is not None
    del layer
    assert layout() is None


def test_a_large_weight_and_one_that_nobody_counts_the_changes_of_are_taken_as_they_are():
    large = torch.zeros(LAID_OUT // 256 + 1, 256, dtype=torch.bfloat16)
    with torch.inference_mode():
        uncounted = torch.zeros(32, 64, dtype=torch.bfloat16)
    assert laid_out(large) is large
    assert laid_out(uncounted) is uncounted
