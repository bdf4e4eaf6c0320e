"""Convolutions whose result for a frame does not depend on how many frames come with it."""

import itertools

import torch
from jaxtyping import Float
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

    def on_doubled(self, x: Float[Tensor, "n c y x"]) -> Float[Tensor, "n c_out y2 x2"]:
        """Convolve pictures whose every pixel stands there twice along rows and columns, without doubling them.

        For kernels of 3 x 3 with a padding of 1. Each pixel of the result meets 2 x 2 pixels of x, so the parts of the
        kernel that meet the same one are added first: four kernels of 2 x 2 for the four places that a result has in
        the pixel it lies in, 4/9 of the products, and no picture of four times the size to be read.
        """
        rows = _fold(self.weight, 2)  # of an upper and of a lower result
        weight = torch.cat([kernel for part in rows for kernel in _fold(part, 3)])  # 4 c_out, c, 2, 2
        bias = None if self.bias is None else self.bias.repeat(4)
        found = self._conv_forward(x, weight, bias).permute(0, 2, 3, 1).unflatten(3, (2, 2, -1))  # n y+1 x+1 2 2 c_out
        height, width = x.shape[2:]
        result = found.new_empty(len(x), height, 2, width, 2, found.shape[-1])
        for lower, right in itertools.product((0, 1), (0, 1)):
            result[:, :, lower, :, right] = found[:, lower : lower + height, right : right + width, lower, right]
        return result.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


def _fold(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Add the parts of a kernel of three that meet the same pixel, for the first and the second of two results."""
    before, here, after = weight.unbind(axis)
    return torch.stack([before, here + after], axis), torch.stack([before + here, after], axis)


class Conv3d(nn.Conv3d):
    """`nn.Conv3d` that rounds alike for any number of frames."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002 - PyTorch's name
        if _must_call_onednn(input):
            return _onednn(self, input, weight, bias)
        return super()._conv_forward(input, weight, bias)

    def last_slices(self, x: Float[Tensor, "b c t y x"]) -> Float[Tensor, "b c_out 1 y2 x2"]:
        """Convolve as few frames as x has by the last slices of the kernel, as if zeros stood before them."""
        return self._conv_forward(x, self.weight[:, :, -x.shape[2] :], self.bias)


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
