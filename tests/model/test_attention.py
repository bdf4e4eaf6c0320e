import pytest
import torch

from kinema.model.attention import _attend_by_products, attend


@pytest.mark.parametrize("biased", [False, True])
def test_products_agree_with_the_fused_kernel(biased):
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 5, 3, 8), torch.randn(2, 7, 3, 8), torch.randn(2, 7, 3, 8)
    bias = torch.randn(1, 3, 5, 7) if biased else None
    fused = attend(query, key, value, bias=bias)
    torch.testing.assert_close(_attend_by_products(query, key, value, 8**-0.5, bias), fused, rtol=0, atol=1e-5)
    rounded = attend(*(x.bfloat16() for x in (query, key, value)), bias=None if bias is None else bias.bfloat16())
    torch.testing.assert_close(rounded.float(), fused, rtol=0, atol=0.05)


def test_a_scale_of_its_own_replaces_the_usual_one():
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 4, 1, 16) for _ in range(3))
    expected = torch.softmax(query[0, :, 0] @ key[0, :, 0].T, dim=-1) @ value[0, :, 0]
    torch.testing.assert_close(attend(query, key, value, scale=1.0)[0, :, 0], expected)
