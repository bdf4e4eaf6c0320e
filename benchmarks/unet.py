"""A plain 3D U-Net that reads what the transformer reads: the other side of `scaling.py`.

Convolutions of 3 x 3 x 3 in pre-activation residual blocks (Cicek et al. 2016, arXiv 1606.06650; He et al. 2016), two
resolutions, attention at the lower one and onto the text at both, and a time per frame that scales and shifts each
block (Ho et al. 2022, arXiv 2204.03458, whose videos stand at one time).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.model.attention import Attention
from kinema.model.dit import DiTConfig, Projection, TextKV
from kinema.model.rope import video_rotation

GROUPS, HEAD = 8, 32
"""Groups of a norm; channels of an attention head."""


class ResidualBlock(nn.Module):
    """Two convolutions; the second starts at zero, and the time decides scale and shift before it."""

    def __init__(self, channels: int, out: int, time_dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(GROUPS, channels), nn.GroupNorm(GROUPS, out)
        self.conv1, self.conv2 = nn.Conv3d(channels, out, 3, padding=1), nn.Conv3d(out, out, 3, padding=1)
        self.time = nn.Linear(time_dim, 2 * out)
        self.skip = nn.Identity() if channels == out else nn.Conv3d(channels, out, 1)
        for weight in (self.conv2.weight, self.conv2.bias, self.time.weight, self.time.bias):
            assert weight is not None
            nn.init.zeros_(weight)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Map `b c t y x` at times embedded as `b t e`."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.time(F.silu(time)).transpose(1, 2)[..., None, None].chunk(2, dim=1)
        return self.skip(x) + self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))


class Look(nn.Module):
    """Attention of all cells onto the text and, where asked, onto each other."""

    def __init__(self, channels: int, text_dim: int, *, over_video: bool) -> None:
        super().__init__()
        heads = channels // HEAD
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.text = nn.Linear(text_dim, channels)
        self.onto_text = Attention(channels, heads, 1e-6)
        self.over_video = Attention(channels, heads, 1e-6) if over_video else None

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """Map `b c t y x` before a text `b k d`."""
        tokens = x.flatten(2).transpose(1, 2)  # b n c
        if self.over_video is not None:
            rotation = video_rotation(tuple(x.shape[2:]), HEAD, device=x.device)
            tokens = tokens + self.over_video.over(self.norm1(tokens), rotation)
        tokens = tokens + self.onto_text.onto(self.norm2(tokens), *self.onto_text.key_value(self.text(text)))
        return tokens.transpose(1, 2).reshape(x.shape)


class UNet3D(nn.Module):
    """Predict the velocity of latents `b c t y x` at times `b t` under a text, as `kinema.model.DiT` does."""

    def __init__(self, config: DiTConfig, width: int = 80) -> None:
        """`config` tells the channels and the width of the text only."""
        super().__init__()
        self.config = config
        time_dim, deep = 4 * width, 2 * width
        self.patch_embed = nn.Conv3d(config.in_channels, width, 3, padding=1)
        self.time_embed = Projection(config.freq_dim, time_dim)

        def stage(channels: int, out: int, *, over_video: bool) -> nn.ModuleList:
            look = Look(out, config.text_dim, over_video=over_video)
            return nn.ModuleList([ResidualBlock(channels, out, time_dim), look])

        self.down = nn.ModuleList([stage(width, width, over_video=False) for _ in range(2)])
        self.shrink = nn.Conv3d(width, deep, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.middle = nn.ModuleList([stage(deep, deep, over_video=True) for _ in range(4)])
        self.grow = nn.Conv3d(deep, width, 3, padding=1)
        self.up = nn.ModuleList([stage(2 * width, width, over_video=False) for _ in range(2)])
        self.norm_out = nn.GroupNorm(GROUPS, width)
        self.proj_out = nn.Conv3d(width, config.out_channels, 3, padding=1)
        nn.init.zeros_(self.proj_out.weight)
        assert self.proj_out.bias is not None
        nn.init.zeros_(self.proj_out.bias)

    def text_kv(self, text: Tensor, image: Tensor | None = None, *, repeats: int = 1) -> TextKV:
        """Keep the text as it is: every stage reads it by weights of its own; its last token stands for `repeats`."""
        assert image is None
        text = torch.cat([text[:, :-1], text[:, -1:].expand(-1, repeats, -1)], dim=1)
        return TextKV((text,), (text,))

    def forward(self, latent: Tensor, time: Tensor, text: "TextKV | Tensor", **_: object) -> Tensor:
        """Give the velocity, in the data type of `latent`."""
        dtype = self.patch_embed.weight.dtype
        text = (text.keys[0] if isinstance(text, TextKV) else text).to(dtype)
        if len(latent) < len(text):  # one latent under prompt and negative prompt
            latent, time = latent.expand(len(text), -1, -1, -1, -1), time.expand(len(text), -1)
        steps = torch.arange(self.config.freq_dim // 2, device=latent.device)
        angles = 1000.0 * time.float()[..., None] * torch.exp(-9.21 / len(steps) * steps)
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1).to(dtype)
        embedded = self.time_embed.linear2(F.silu(self.time_embed.linear1(waves)))
        x = self.patch_embed(latent.to(dtype))
        kept = []
        for block, look in self.down:  # type: ignore[misc]  # stages are pairs
            x = look(block(x, embedded), text)
            kept.append(x)
        h = self.shrink(x)
        for block, look in self.middle:  # type: ignore[misc]
            h = look(block(h, embedded), text)
        x = self.grow(F.interpolate(h, scale_factor=(1, 2, 2), mode="nearest"))
        for block, look in self.up:  # type: ignore[misc]
            x = look(block(torch.cat([x, kept.pop()], dim=1), embedded), text)
        velocity: Tensor = self.proj_out(F.silu(self.norm_out(x)))
        return velocity.to(latent.dtype)
