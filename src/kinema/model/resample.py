"""Halve and double a clip in space and time, causally; the first frame always stands alone (f = 2 k + 1 <-> k + 1)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.model.causal_conv import CausalConv3d, TimeCache, to_clip, to_frames
from kinema.model.conv import Conv2d, Conv3d


class Downsample(nn.Module):
    """Halve height and width and, if asked, time: 2 k + 1 frames become k + 1, the first of them unchanged."""

    def __init__(self, channels: int, *, halve_time: bool) -> None:
        super().__init__()
        self.space_conv = Conv2d(channels, channels, 3, stride=2)
        self.time_conv = Conv3d(channels, channels, (3, 1, 1), stride=(2, 1, 1)) if halve_time else None

    def forward(self, x: Tensor, cache: TimeCache | None = None) -> Tensor:
        """Map `b c t y x`; a first chunk has an odd number of frames, later ones an even number."""
        x = to_clip(self.space_conv(F.pad(to_frames(x), (0, 1, 0, 1))), x.shape[0])
        if self.time_conv is None:
            return x
        is_first = cache is None or cache.is_new(self)
        if cache is not None and not is_first:
            x = torch.cat([cache.recall(self), x], dim=2)
        if cache is not None:
            cache.remember(self, x[:, :, -1:])
        if not is_first:
            return self.time_conv(x)
        return torch.cat([x[:, :, :1], self.time_conv(x)], dim=2) if x.shape[2] > 1 else x


class Upsample(nn.Module):
    """Double height and width and, if asked, time: k + 1 frames become 2 k + 1, the first of them staying one."""

    def __init__(self, in_channels: int, out_channels: int, *, double_time: bool) -> None:
        super().__init__()
        self.time_conv = CausalConv3d(in_channels, 2 * in_channels, (3, 1, 1)) if double_time else None
        self.space_conv = Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor, cache: TimeCache | None = None) -> Tensor:
        """Map `b c t y x`; the time convolution starts after the first frame and never sees it, as Wan's does."""
        if self.time_conv is not None:
            x = self._double_time(self.time_conv, x, cache)
        return to_clip(self.space_conv.on_doubled(to_frames(x)), x.shape[0])

    def _double_time(self, time_conv: CausalConv3d, x: Tensor, cache: TimeCache | None) -> Tensor:
        is_first = cache is None or cache.is_new(self)
        head, tail = (x[:, :, :1], x[:, :, 1:]) if is_first else (x[:, :, :0], x)
        if cache is not None and is_first:
            cache.remember(self, head[..., :0])
        if tail.shape[2] == 0:
            return head
        pairs = time_conv(tail, cache).unflatten(1, (2, -1))  # b 2 c t y x
        tail = pairs.permute(0, 2, 3, 1, 4, 5).flatten(2, 3)  # b c 2t y x
        return torch.cat([head, tail], dim=2)


class AverageDown(nn.Module):
    """The Wan2.2 shortcut around a `Downsample`: average blocks of pixels and channels, without parameters."""

    def __init__(self, out_channels: int, *, time: int, space: int) -> None:
        super().__init__()
        self.out_channels, self.time, self.space = out_channels, time, space

    def forward(self, x: Tensor) -> Tensor:
        """Map `b c t y x`; an odd number of frames gets one frame of zeros before it."""
        x = F.pad(x, (0, 0, 0, 0, -x.shape[2] % self.time, 0))
        x = x.unflatten(4, (-1, self.space)).unflatten(3, (-1, self.space)).unflatten(2, (-1, self.time))
        x = x.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(1, 4)  # b (c time space space) t y x
        return x.unflatten(1, (self.out_channels, -1)).mean(dim=2)


class RepeatUp(nn.Module):
    """The Wan2.2 shortcut around an `Upsample`: repeat pixels and channels, without parameters."""

    def __init__(self, in_channels: int, out_channels: int, *, time: int, space: int) -> None:
        super().__init__()
        self.time, self.space = time, space
        self.repeats = out_channels * time * space * space // in_channels

    def forward(self, x: Tensor, *, is_first: bool) -> Tensor:
        """Map `b c t y x`; in the first chunk of a stream the first frame is not doubled."""
        x = x.repeat_interleave(self.repeats, dim=1)
        x = x.unflatten(1, (-1, self.time, self.space, self.space))  # b c time space space t y x
        x = x.permute(0, 1, 5, 2, 6, 3, 7, 4).flatten(6, 7).flatten(4, 5).flatten(2, 3)
        return x[:, :, self.time - 1 :] if is_first else x
