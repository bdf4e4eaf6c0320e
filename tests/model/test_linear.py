"""Linear layers give the same numbers in one pass or in several."""

import pytest
import torch
import torch.nn.functional as F

from kinema.model.linear import linear, linear_gelu


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
