"""Convolutions whose result for a frame does not depend on how many frames come with it."""

import torch
from torch import Tensor, nn


def _must_call_onednn(x: Tensor) -> bool:
    """True where PyTorch would choose between oneDNN and a kernel of its own by the size of the input.

    It does so for float32 on CPUs, and the two round differently: a clip in chunks would differ in the last bit from
    the clip as a whole. Its own kernel is also up to eight times slower at the sizes of one clip. Training and autocast
    keep PyTorch's choice.
    """
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
    )


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` that rounds alike for any number of pictures."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002 - PyTorch's name
        if _must_call_onednn(input):
            return _onednn(self, input, weight, bias)
        return super()._conv_forward(input, weight, bias)


class Conv3d(nn.Conv3d):
    """`nn.Conv3d` that rounds alike for any number of frames."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002 - PyTorch's name
        if _must_call_onednn(input):
            return _onednn(self, input, weight, bias)
        return super()._conv_forward(input, weight, bias)


def _onednn(conv: nn.Conv2d | nn.Conv3d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    assert not isinstance(conv.padding, str)
    y: Tensor = torch.ops.aten.mkldnn_convolution(
        channels_last(x), weight, bias, conv.padding, conv.stride, conv.dilation, conv.groups
    )
    return y


def channels_last(x: Tensor) -> Tensor:
    """Lay x out as `n ... c`, with the strides that say so even where an axis has length 1 and any stride would do.

    oneDNN's kernel is chosen by strides: with others, a single frame would round differently from one of many.
    """
    x = x.movedim(1, -1).contiguous()
    strides = [1]
    for length in reversed(x.shape[1:]):
        strides.append(strides[-1] * length)
    return x.as_strided(x.shape, strides[::-1]).movedim(-1, 1)
