"""The video autoencoder: frames to latents and back (Wan2.1 and Wan2.2 layouts, one pass over the whole clip)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kinema.errors import SpecError
from kinema.model.causal_conv import CausalConv3d, FrameAttention, ResidualBlock, RMSNormSiLU, TimeCache
from kinema.model.resample import AverageDown, Downsample, RepeatUp, Upsample
from kinema.shapes import Stride, VideoShape

LOGVAR_RANGE = (-30.0, 20.0)


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """The sizes of a video autoencoder; a latent cell covers `stride` frames, rows and columns."""

    base_dim: int = 96
    """Channels at full resolution; stage i has base_dim * dim_mult[i]."""
    decoder_base_dim: int | None = None
    """The same for the decoder; None = base_dim."""
    z_dim: int = 16
    """Channels of a latent."""
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    """One number per stage; between two stages height and width halve."""
    num_res_blocks: int = 2
    """Residual blocks per encoder stage; the decoder has one more."""
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    """Between which stages the number of frames halves too."""
    is_residual: bool = False
    """Averaging and repeating shortcuts around every stage (Wan2.2)."""
    patch_size: int = 1
    """Pixels per side that are folded into channels before the first convolution (Wan2.2: 2)."""
    latents_mean: tuple[float, ...] = ()
    """Per-channel mean of raw latents; empty = zeros. `encode` subtracts it."""
    latents_std: tuple[float, ...] = ()
    """Per-channel standard deviation of raw latents; empty = ones. `encode` divides by it."""

    def __post_init__(self) -> None:
        """Refuse sizes that contradict each other."""
        if len(self.temporal_downsample) != len(self.dim_mult) - 1:
            raise SpecError(
                f"temporal_downsample has {len(self.temporal_downsample)} entries, but {len(self.dim_mult)} stages "
                f"(dim_mult) have {len(self.dim_mult) - 1} steps between them; give that many"
            )
        for name in ("latents_mean", "latents_std"):
            if len(getattr(self, name)) not in (0, self.z_dim):
                raise SpecError(
                    f"{name} has {len(getattr(self, name))} values, but z_dim is {self.z_dim}; give that many, or none"
                )

    @property
    def stride(self) -> Stride:
        """Frames, rows and columns per latent cell."""
        space = self.patch_size * 2 ** (len(self.dim_mult) - 1)
        return Stride(2 ** sum(self.temporal_downsample), space, space)

    @property
    def patch_channels(self) -> int:
        """Channels of a patch: three colours of patch_size x patch_size pixels."""
        return 3 * self.patch_size**2


@dataclass(frozen=True)
class VAEOutput:
    """What a training step needs: the reconstruction and the posterior it was drawn from."""

    reconstruction: Float[Tensor, "b f h w 3"]
    """Frames, not clamped."""
    mean: Float[Tensor, "b c t y x"]
    """Posterior mean of the raw (not normalised) latent."""
    logvar: Float[Tensor, "b c t y x"]
    """Posterior log variance, within [-30, 20]."""


class Middle(nn.Module):
    """Residual block, attention within frames, residual block: the lowest resolution of either half."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block1 = ResidualBlock(channels, channels)
        self.attention = FrameAttention(channels)
        self.block2 = ResidualBlock(channels, channels)

    def forward(self, x: Tensor, cache: TimeCache | None) -> Tensor:
        """Map `b c t y x` to the same shape."""
        return self.block2(self.attention(self.block1(x, cache)), cache)


class DownStage(nn.Module):
    """Residual blocks at one resolution, then a step down; Wan2.2 adds an averaging shortcut around them."""

    def __init__(self, in_channels: int, out_channels: int, blocks: int, *, down: bool, time: bool, shortcut: bool):
        super().__init__()
        channels = [in_channels] + [out_channels] * blocks
        self.blocks = nn.ModuleList(ResidualBlock(c, d) for c, d in pairwise(channels))
        self.down = Downsample(out_channels, halve_time=time) if down else None
        factors = {"time": 2 if time else 1, "space": 2 if down else 1}
        self.shortcut = AverageDown(out_channels, **factors) if shortcut else None

    def forward(self, x: Tensor, cache: TimeCache | None) -> Tensor:
        """Map `b c t y x` to the next resolution."""
        h = x
        for block in self.blocks:
            h = block(h, cache)
        if self.down is not None:
            h = self.down(h, cache)
        return h if self.shortcut is None else h + self.shortcut(x)


class UpStage(nn.Module):
    """Residual blocks at one resolution, then a step up; Wan2.2 adds a repeating shortcut around them."""

    def __init__(
        self, in_channels: int, out_channels: int, blocks: int, *, up_channels: int | None, time: bool, shortcut: bool
    ):
        super().__init__()
        channels = [in_channels] + [out_channels] * blocks
        self.blocks = nn.ModuleList(ResidualBlock(c, d) for c, d in pairwise(channels))
        self.up = None if up_channels is None else Upsample(out_channels, up_channels, double_time=time)
        is_around = shortcut and up_channels is not None
        self.shortcut = RepeatUp(in_channels, out_channels, time=2 if time else 1, space=2) if is_around else None

    def forward(self, x: Tensor, cache: TimeCache | None, *, is_first: bool) -> Tensor:
        """Map `b c t y x` to the next resolution; `is_first` says that x starts the clip."""
        h = x
        for block in self.blocks:
            h = block(h, cache)
        if self.up is not None:
            h = self.up(h, cache)
        return h if self.shortcut is None else h + self.shortcut(x, is_first=is_first)


class Encoder(nn.Module):
    """Patches of frames to the moments of raw latents."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        widths = [config.base_dim * m for m in (1, *config.dim_mult)]
        last = len(config.dim_mult) - 1
        self.conv_in = CausalConv3d(config.patch_channels, widths[0], (3, 3, 3))
        self.stages = nn.ModuleList(
            DownStage(
                widths[i],
                widths[i + 1],
                config.num_res_blocks,
                down=i < last,
                time=i < last and config.temporal_downsample[i],
                shortcut=config.is_residual,
            )
            for i in range(last + 1)
        )
        self.middle = Middle(widths[-1])
        self.norm_out = RMSNormSiLU(widths[-1])
        self.conv_out = CausalConv3d(widths[-1], 2 * config.z_dim, (3, 3, 3))

    def forward(self, x: Tensor, cache: TimeCache | None = None) -> Tensor:
        """Map patches `b c f h w` to moments `b 2c t y x`."""
        return self.whole(self.near(x, cache), cache)

    def near(self, x: Tensor, cache: TimeCache | None) -> Tensor:
        """Map patches to features of latent cells; a feature depends on the pixels around it only."""
        x = self.conv_in(x, cache)
        for stage in self.stages:
            x = stage(x, cache)
        return x

    def whole(self, x: Tensor, cache: TimeCache | None) -> Tensor:
        """Map features to moments; attention sees the whole picture."""
        return self.conv_out(self.middle(x, cache), cache, norm=self.norm_out)


class Decoder(nn.Module):
    """Raw latents to patches of frames."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        base_dim = config.decoder_base_dim or config.base_dim
        multipliers = config.dim_mult[::-1]
        widths = [base_dim * m for m in (multipliers[0], *multipliers)]
        doubles_time = (*config.temporal_downsample[::-1], False)
        last = len(multipliers) - 1
        self.conv_in = CausalConv3d(config.z_dim, widths[0], (3, 3, 3))
        self.middle = Middle(widths[0])
        self.stages = nn.ModuleList()
        for i, width in enumerate(widths[1:]):
            in_channels = widths[i] if config.is_residual or i == 0 else widths[i] // 2
            up_channels = width if config.is_residual else width // 2
            self.stages.append(
                UpStage(
                    in_channels,
                    width,
                    config.num_res_blocks + 1,
                    up_channels=up_channels if i < last else None,
                    time=doubles_time[i],
                    shortcut=config.is_residual,
                )
            )
        self.norm_out = RMSNormSiLU(widths[-1])
        self.conv_out = CausalConv3d(widths[-1], config.patch_channels, (3, 3, 3))

    def forward(self, x: Tensor, cache: TimeCache | None = None) -> Tensor:
        """Map raw latents `b c t y x` to patches `b c f h w`."""
        is_first = cache is None or cache.is_new(self.conv_in)
        return self.near(self.whole(x, cache), cache, is_first=is_first)

    def whole(self, x: Tensor, cache: TimeCache | None) -> Tensor:
        """Map raw latents to features of latent cells; attention sees the whole picture."""
        return self.middle(self.conv_in(x, cache), cache)

    def near(self, x: Tensor, cache: TimeCache | None, *, is_first: bool) -> Tensor:
        """Map features to patches, which depend on cells around them only; `is_first` says that x starts the clip."""
        for stage in self.stages:
            x = stage(x, cache, is_first=is_first)
        return self.conv_out(x, cache, norm=self.norm_out)


def patchify(frames: Float[Tensor, "b f h w 3"], patch: int) -> Float[Tensor, "b c f y x"]:
    """Fold patch x patch pixels into channels (order: colour, column, row), as Wan2.2 does."""
    x = frames.unflatten(3, (-1, patch)).unflatten(2, (-1, patch))  # b f y row x column 3
    return x.permute(0, 1, 2, 4, 6, 5, 3).flatten(4).permute(0, 4, 1, 2, 3)


def unpatchify(x: Float[Tensor, "b c f y x"], patch: int) -> Float[Tensor, "b f h w 3"]:
    """Unfold channels into pixels; the inverse of `patchify`."""
    x = x.permute(0, 2, 3, 4, 1).unflatten(4, (3, patch, patch))  # b f y x 3 column row
    return x.permute(0, 1, 2, 6, 3, 5, 4).flatten(4, 5).flatten(2, 3)


class VideoVAE(nn.Module):
    """Compress video to latents and back.

    Frames are `b f h w 3` in [-1, 1], latents `b c t y x` with f = (t - 1) * stride.time + 1: the first latent frame
    stands for one lone frame. The same numbers as diffusers' AutoencoderKLWan (Wan, arXiv 2503.20314).
    """

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        self.stride = config.stride
        self.encoder = Encoder(config)
        self.to_moments = CausalConv3d(2 * config.z_dim, 2 * config.z_dim, (1, 1, 1))
        self.from_latent = CausalConv3d(config.z_dim, config.z_dim, (1, 1, 1))
        self.decoder = Decoder(config)
        for weight in self.parameters():
            if weight.dim() > 3:
                layout = torch.channels_last if weight.dim() == 4 else torch.channels_last_3d
                weight.data = weight.data.contiguous(memory_format=layout)

    def forward(self, frames: Float[Tensor, "b f h w 3"], generator: torch.Generator | None = None) -> VAEOutput:
        """Encode, draw from the posterior and decode: one step of training."""
        mean, logvar = self.encode_moments(frames)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        return VAEOutput(self._decode_raw(mean + torch.exp(0.5 * logvar) * noise), mean, logvar)

    def encode_moments(
        self, frames: Float[Tensor, "b f h w 3"]
    ) -> tuple[Float[Tensor, "b c t y x"], Float[Tensor, "b c t y x"]]:
        """Give mean and log variance of the raw latents; refuses a shape that does not fit the stride (SpecError)."""
        VideoShape(*frames.shape[1:4]).to_latent(self.stride)
        mean, logvar = self.to_moments(self.encoder(self.to_patches(frames))).chunk(2, dim=1)
        return mean, logvar.clamp(*LOGVAR_RANGE)

    def encode(self, frames: Float[Tensor, "b f h w 3"]) -> Float[Tensor, "b c t y x"]:
        """Turn frames into normalised latents (the posterior's mode); f must be k * stride.time + 1 (SpecError)."""
        return self.normalise(self.encode_moments(frames)[0])

    def decode(self, latent: Float[Tensor, "b c t y x"]) -> Float[Tensor, "b f h w 3"]:
        """Turn normalised latents into frames in [-1, 1]."""
        return self._decode_raw(self.denormalise(latent)).clamp(-1, 1)

    def decode_stream(self, latents: Iterable[Float[Tensor, "b c _ y x"]]) -> Iterator[Float[Tensor, "b _ h w 3"]]:
        """Turn chunks of latents, cut anywhere along t, into chunks of frames; together they equal `decode`."""
        cache = TimeCache()
        for latent in latents:
            yield self.decode_chunk(latent, cache)

    def decode_chunk(self, latent: Float[Tensor, "b c _ y x"], cache: TimeCache) -> Float[Tensor, "b _ h w 3"]:
        """Turn the next latents of a stream into frames in [-1, 1]; `cache` holds what came before them."""
        return self._decode_raw(self.denormalise(latent), cache).clamp(-1, 1)

    def encode_stream(self, frames: Iterable[Float[Tensor, "b _ h w 3"]]) -> Iterator[Float[Tensor, "b c _ y x"]]:
        """Turn chunks of frames, cut anywhere, into chunks of latents; together they equal `encode`.

        Frames wait until they fill a latent. Raises SpecError if some are left at the end.
        """
        cache, waiting = TimeCache(), None
        for chunk in frames:
            waiting = chunk if waiting is None else torch.cat([waiting, chunk], dim=1)
            is_first = cache.is_new(self.encoder.conv_in)
            num_ready = (waiting.shape[1] - is_first) // self.stride.time * self.stride.time + is_first
            if num_ready:
                ready, waiting = waiting[:, :num_ready], waiting[:, num_ready:]
                mean, _ = self.to_moments(self.encoder(self.to_patches(ready), cache)).chunk(2, dim=1)
                yield self.normalise(mean)
        if waiting is not None and waiting.shape[1]:
            raise SpecError(
                f"the stream ended {waiting.shape[1]} frames after a whole latent; "
                f"a clip has a multiple of {self.stride.time} frames plus 1"
            )

    def to_patches(self, frames: Float[Tensor, "b f h w 3"]) -> Float[Tensor, "b c f y x"]:
        """Fold frames into what the encoder reads."""
        return patchify(frames.to(self.to_moments.weight.dtype), self.config.patch_size)

    def _decode_raw(self, latent: Tensor, cache: TimeCache | None = None) -> Tensor:
        patches = self.decoder(self.from_latent(latent.to(self.from_latent.weight.dtype)), cache)
        return unpatchify(patches, self.config.patch_size)

    def normalise(self, raw: Float[Tensor, "b c t y x"]) -> Float[Tensor, "b c t y x"]:
        """Turn raw latents into those that the transformer knows."""
        mean, std = self._statistics(raw)
        return (raw - mean) / std

    def denormalise(self, latent: Float[Tensor, "b c t y x"]) -> Float[Tensor, "b c t y x"]:
        """Turn normalised latents back into raw ones."""
        mean, std = self._statistics(latent)
        return latent * std + mean

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.config.latents_mean or (0.0,) * self.config.z_dim
        std = self.config.latents_std or (1.0,) * self.config.z_dim
        return like.new_tensor(mean).view(-1, 1, 1, 1), like.new_tensor(std).view(-1, 1, 1, 1)
