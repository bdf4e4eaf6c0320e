"""Convolution, normalisation and attention that never look ahead in time: the layers of the video autoencoder.

A clip runs through in one pass; a stream runs through in chunks, with a `TimeCache` that carries the last frames of
each layer from chunk to chunk. Inside, tensors are `b c t y x` in memory as `b t y x c` (channels last).
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kinema.model.conv import Conv2d, Conv3d
from kinema.model.norm import outer

MAX_SCORES = 2**24
"""Largest matrix of attention scores that is held at once, in numbers, unless that made too many of them."""

MAX_PIECES = 256
"""Into how many parts the pixels of a picture are split at most."""


class TimeCache:
    """What each causal layer remembers of the frames before the present chunk of a stream."""

    def __init__(self) -> None:
        self._past: dict[nn.Module, Tensor] = {}

    def copy(self) -> "TimeCache":
        """Give a second memory of the same past; what one remembers from now on, the other does not see."""
        twin = TimeCache()
        twin._past = dict(self._past)  # what is kept is never written to
        return twin

    def is_new(self, layer: nn.Module) -> bool:
        """True until `layer` has remembered something: its chunk is the first of the stream."""
        return layer not in self._past

    def remember(self, layer: nn.Module, frames: Tensor) -> None:
        """Keep a copy of `frames` for the next chunk."""
        self._past[layer] = frames.detach().clone()

    def recall(self, layer: nn.Module) -> Tensor:
        """Give back what `layer` remembered."""
        return self._past[layer]


def to_frames(x: Float[Tensor, "b c t y x"]) -> Float[Tensor, "bt c y x"]:
    """See a clip as a batch of pictures (no copy when channels come last in memory)."""
    return x.transpose(1, 2).flatten(0, 1)


def to_clip(x: Float[Tensor, "bt c y x"], batch: int) -> Float[Tensor, "b c t y x"]:
    """See a batch of pictures as clips again; the inverse of `to_frames`."""
    return x.unflatten(0, (batch, -1)).transpose(1, 2)


def rms_norm(x: Float[Tensor, "b c *pixels"], gamma: Float[Tensor, " c"]) -> Float[Tensor, "b c *pixels"]:
    """Scale each pixel's channels to unit root mean square, then by `gamma`; a pixel of zeros stays zero."""
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(1e-12)
    inverse_rms = (x.shape[1] ** 0.5 / norm).to(x.dtype)
    return x * inverse_rms * gamma.to(x.dtype).view(-1, *(1,) * (x.dim() - 2))


class RMSNormSiLU(nn.Module):
    """Scale each pixel's channels to unit root mean square, weight them and pass them through SiLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor, past: Tensor | None = None) -> Tensor:
        """Give silu(gamma x / rms(x)) for x of `b c t y x`, with the frames of `past` before it as they are."""
        y: Tensor = _RMSNormSiLU.apply(x, self.gamma, past)[0]
        return y


class _RMSNormSiLU(torch.autograd.Function):
    """Normalise, weight, activate and put after `past` in few passes over memory; `past` gets no gradient.

    Nothing but x and one number per pixel is kept for backward.
    """

    @staticmethod
    def forward(x: Tensor, gamma: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        x = x.permute(0, 2, 3, 4, 1)  # b t y x c
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(1e-12)
        inverse_rms = (x.shape[-1] ** 0.5 / norm).to(x.dtype).reshape(-1, 1)
        normed = outer(inverse_rms, gamma.to(x.dtype)).view(x.shape).mul_(x)
        num_past = _length(past)
        y = x.new_empty(x.shape[0], num_past + x.shape[1], *x.shape[2:])
        if past is not None:
            y[:, :num_past] = past.permute(0, 2, 3, 4, 1)
        # The kernel rounds the last few numbers of a call otherwise than the rest: frames must not share one call.
        is_exact = x.dtype == torch.float32 and x.device.type == "cpu"
        for frames in range(x.shape[1]) if is_exact else (slice(None),):
            torch.ops.aten.silu.out(normed[:, frames], out=y[:, num_past:][:, frames])
        return y.permute(0, 4, 1, 2, 3), inverse_rms

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: tuple[Tensor, Tensor]) -> None:
        x, gamma, past = inputs
        ctx.num_past = _length(past)
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(x, gamma, output[1])

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
        """With n = g x / r: dx = g dn / r - x (x . g dn) / (c r^3) and dg = the sum of x dn / r, at rms r."""
        x, gamma, inverse_rms = ctx.saved_tensors
        x = x.permute(0, 2, 3, 4, 1)
        channels, weight = x.shape[-1], gamma.to(x.dtype)
        scale = outer(inverse_rms, weight).view(x.shape)
        grad = torch.ops.aten.silu_backward(grad_y[:, :, ctx.num_past :].permute(0, 2, 3, 4, 1), scale * x)
        product = (grad * x).reshape(-1, channels)
        grad_gamma = torch.mm(inverse_rms.view(1, -1), product).view(-1).to(gamma.dtype)
        along_x = torch.mm(product, weight[:, None]) * inverse_rms**3 / -channels
        grad = grad.mul_(scale).addcmul_(x, outer(along_x, torch.ones_like(weight)).view(x.shape))
        return grad.permute(0, 4, 1, 2, 3), grad_gamma, None


def _length(past: Tensor | None) -> int:
    return 0 if past is None else past.shape[2]


class CausalConv3d(Conv3d):
    """Convolve over time and space with zeros before the first frame, so that no frame sees a later one."""

    def __init__(self, in_channels: int, out_channels: int, kernel: tuple[int, int, int]) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=(0, kernel[1] // 2, kernel[2] // 2))
        self.num_past = kernel[0] - 1

    def forward(self, x: Tensor, cache: TimeCache | None = None, *, norm: RMSNormSiLU | None = None) -> Tensor:
        """Map `b c t y x` to as many frames, after `norm` if one is given.

        With a `cache`, the frames before x are those of the last chunk instead of zeros. Zeros are never multiplied:
        the first frames of a video meet the last slices of the kernel only, the very first one a third of it.
        """
        past = cache.recall(self) if cache is not None and not cache.is_new(self) else None
        num_past = _length(past)
        if norm is not None:
            x = norm(x, past)
        elif past is not None:
            x = torch.cat([past, x], dim=2)
        if cache is not None and self.num_past:
            cache.remember(self, x[:, :, -self.num_past :])
        if num_past == self.num_past:
            return super().forward(x)
        short = range(num_past + 1, min(self.num_past, x.shape[2]) + 1)  # frames that each of the first ones meets
        parts = [self.last_slices(x[:, :, :length]) for length in short]
        if x.shape[2] > self.num_past:
            parts.append(super().forward(x))
        return torch.cat(parts, dim=2)


class FrameAttention(nn.Module):
    """Single-head self-attention among the pixels of each frame, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.to_qkv = Conv2d(channels, 3 * channels, 1)
        self.to_out = Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c t y x"]) -> Float[Tensor, "b c t y x"]:
        """Attend within frames only, so that chunks of a stream need no memory of each other here."""
        frames = to_frames(x)
        q, k, v = self.to_qkv(rms_norm(frames, self.gamma)).flatten(2).transpose(1, 2).chunk(3, dim=-1)  # bt yx c
        is_exact = q.dtype == torch.float32 and q.device.type == "cpu"  # products round by their batch
        size = 1 if is_exact or len(q) * q.shape[1] ** 2 > MAX_SCORES else len(q)
        mixed = torch.cat([_mix(*part) for part in zip(q.split(size), k.split(size), v.split(size), strict=True)])
        mixed = mixed.transpose(1, 2).unflatten(2, frames.shape[2:])  # bt c y x
        return x + to_clip(self.to_out(mixed), x.shape[0])


def _mix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    rows = max(MAX_SCORES // k.shape[1], k.shape[1] // MAX_PIECES, 1)
    if len(q) == 1 and q.shape[1] > rows:  # a large picture: some pixels at a time
        return torch.cat([_mix(part, k, v) for part in q.split(rows, dim=1)], dim=1)
    weights = torch.softmax(q @ k.transpose(1, 2) * q.shape[-1] ** -0.5, dim=-1, dtype=torch.float32)
    return weights.to(v.dtype) @ v


class ResidualBlock(nn.Module):
    """Two normalised causal 3x3x3 convolutions beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = RMSNormSiLU(in_channels)
        self.conv1 = CausalConv3d(in_channels, out_channels, (3, 3, 3))
        self.norm2 = RMSNormSiLU(out_channels)
        self.conv2 = CausalConv3d(out_channels, out_channels, (3, 3, 3))
        self.shortcut = CausalConv3d(in_channels, out_channels, (1, 1, 1)) if in_channels != out_channels else None

    def forward(self, x: Tensor, cache: TimeCache | None = None) -> Tensor:
        """Map `b c t y x` to `b out_channels t y x`."""
        h = self.conv2(self.conv1(x, cache, norm=self.norm1), cache, norm=self.norm2)
        return h + (x if self.shortcut is None else self.shortcut(x))
