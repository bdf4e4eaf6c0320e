"""Convolution, normalisation and attention that never look ahead in time: the layers of the video autoencoder.

A clip runs through in one pass; a stream runs through in chunks, with a `TimeCache` that carries the last frames of
each layer from chunk to chunk. Inside, tensors are `b c t y x` in memory as `b t y x c` (channels last).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class TimeCache:
    """What each causal layer remembers of the frames before the present chunk of a stream."""

    def __init__(self) -> None:
        self._past: dict[nn.Module, Tensor] = {}

    def is_new(self, layer: nn.Module) -> bool:
        """True until `layer` has remembered something: its chunk is the first of the stream."""
        return layer not in self._past

    def remember(self, layer: nn.Module, frames: Tensor) -> None:
        """Keep a copy of `frames` for the next chunk."""
        self._past[layer] = frames.clone()

    def recall(self, layer: nn.Module) -> Tensor:
        """Give back what `layer` remembered."""
        return self._past[layer]


def to_frames(x: Float[Tensor, "b c t y x"]) -> Float[Tensor, "bt c y x"]:
    """See a clip as a batch of pictures (no copy when channels come last in memory)."""
    return x.transpose(1, 2).flatten(0, 1)


def to_clip(x: Float[Tensor, "bt c y x"], batch: int) -> Float[Tensor, "b c t y x"]:
    """See a batch of pictures as clips again; the inverse of `to_frames`."""
    return x.unflatten(0, (batch, -1)).transpose(1, 2)


class CausalConv3d(nn.Conv3d):
    """Convolve over time and space with zeros before the first frame, so that no frame sees a later one."""

    def __init__(self, in_channels: int, out_channels: int, kernel: tuple[int, int, int], time_stride: int = 1) -> None:
        padding = (0, kernel[1] // 2, kernel[2] // 2)
        super().__init__(in_channels, out_channels, kernel, stride=(time_stride, 1, 1), padding=padding)
        self.num_past = kernel[0] - 1

    def forward(self, x: Tensor, cache: TimeCache | None = None) -> Tensor:
        """Map `b c t y x` to as many frames; with a `cache`, the frames before `x` are those of the last chunk."""
        if self.num_past == 0:
            return super().forward(x)
        if cache is None or cache.is_new(self):
            x = F.pad(x, (0, 0, 0, 0, self.num_past, 0))
        else:
            x = torch.cat([cache.recall(self), x], dim=2)
        if cache is not None:
            cache.remember(self, x[:, :, -self.num_past :])
        return super().forward(x)


class RMSNormSiLU(nn.Module):
    """Scale each pixel's channels to unit root mean square, weight them and pass them through SiLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x: Float[Tensor, "b c t y x"]) -> Float[Tensor, "b c t y x"]:
        """y = silu(gamma x / rms(x))."""
        return F.silu(rms_norm(x, self.gamma))


def rms_norm(x: Float[Tensor, "b c *pixels"], gamma: Float[Tensor, " c"]) -> Float[Tensor, "b c *pixels"]:
    """Scale each pixel's channels to unit root mean square, then by `gamma`; a pixel of zeros stays zero."""
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(1e-12)
    inverse_rms = (x.shape[1] ** 0.5 / norm).to(x.dtype)
    return x * inverse_rms * gamma.to(x.dtype).view(-1, *(1,) * (x.dim() - 2))


class FrameAttention(nn.Module):
    """Single-head self-attention among the pixels of each frame, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.to_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c t y x"]) -> Float[Tensor, "b c t y x"]:
        """Attend within frames only, so that chunks of a stream need no memory of each other here."""
        frames = to_frames(x)
        q, k, v = self.to_qkv(rms_norm(frames, self.gamma)).flatten(2).transpose(1, 2).chunk(3, dim=-1)  # bt yx c
        weights = torch.softmax(q @ k.transpose(1, 2) * q.shape[-1] ** -0.5, dim=-1, dtype=torch.float32)
        mixed = (weights.to(v.dtype) @ v).transpose(1, 2).unflatten(2, frames.shape[2:])  # bt c y x
        return x + to_clip(self.to_out(mixed), x.shape[0])


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
        h = self.conv1(self.norm1(x), cache)
        h = self.conv2(self.norm2(h), cache)
        return h + (x if self.shortcut is None else self.shortcut(x))
