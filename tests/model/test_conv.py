"""Convolutions that leave out what is known: doubled pixels are met once, and zeros before a video not at all."""

import pytest
import torch

from kinema.model.causal_conv import CausalConv3d, TimeCache
from kinema.model.conv import Conv2d


def _doubled(x):
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8)])
def test_a_doubled_picture_need_not_be_made(size, bias):
    torch.manual_seed(0)
    conv, x = Conv2d(6, 4, 3, padding=1, bias=bias), torch.randn(2, 6, *size)
    with torch.no_grad():
        torch.testing.assert_close(conv.on_doubled(x), conv(_doubled(x)), rtol=0, atol=1e-5)


def test_its_gradients_are_those_of_the_doubled_picture():
    torch.manual_seed(0)
    conv, x = Conv2d(6, 4, 3, padding=1), torch.randn(2, 6, 3, 5, requires_grad=True)
    wanted = torch.randn(2, 4, 6, 10)
    both = [
        torch.autograd.grad((made * wanted).sum(), [x, *conv.parameters()])
        for made in (conv.on_doubled(x), conv(_doubled(x)))
    ]
    for mine, expected in zip(*both, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("channels", [6, 32])
def test_a_picture_is_the_same_alone_and_among_others(channels):
    torch.manual_seed(0)
    conv, x = Conv2d(channels, 16, 3, padding=1), torch.randn(5, channels, 8, 8)
    together = conv.on_doubled(x)
    assert all(torch.equal(conv.on_doubled(x[i : i + 1]), together[i : i + 1]) for i in range(5))


@torch.no_grad()
def test_in_bfloat16_it_stays_about_as_near_as_the_plain_one():
    torch.manual_seed(0)
    conv, x = Conv2d(32, 16, 3, padding=1), torch.randn(2, 32, 8, 8)
    exact = conv(_doubled(x))
    half, rounded = conv.bfloat16(), x.bfloat16()
    errors = [(made.float() - exact).square().mean() for made in (half.on_doubled(rounded), half(_doubled(rounded)))]
    assert errors[0] < 2.0 * errors[1]  # added weights are rounded once more


@torch.no_grad()
@pytest.mark.parametrize("kernel", [(3, 3, 3), (3, 1, 1), (1, 1, 1)])
@pytest.mark.parametrize("chunks", [[5], [1, 4], [1, 1, 3], [2, 3], [1, 1, 1, 1, 1]])
def test_zeros_before_a_video_need_not_be_multiplied(kernel, chunks):
    torch.manual_seed(0)
    conv, x = CausalConv3d(6, 4, kernel), torch.randn(2, 6, 5, 4, 4)
    padded = torch.nn.functional.pad(x, (0, 0, 0, 0, kernel[0] - 1, 0))
    cache = TimeCache()
    made = torch.cat([conv(part, cache) for part in x.split(chunks, dim=2)], dim=2)
    expected = torch.nn.functional.conv3d(padded, conv.weight, conv.bias, padding=(0, kernel[1] // 2, kernel[2] // 2))
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)
    assert torch.equal(made, conv(x))  # however the frames are cut
