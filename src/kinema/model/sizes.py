"""The sizes of a network, read off the shapes of its weights: for files that come without a configuration."""

import math
import re
from collections.abc import Mapping
from typing import Any

from kinema.checkpoint.layouts import Layout
from kinema.errors import CheckpointError
from kinema.model.clip import ImageEncoderConfig
from kinema.model.dit import DiTConfig
from kinema.model.presets import WAN21_VAE, WAN22_VAE
from kinema.model.text import TextEncoderConfig
from kinema.model.vae import VAEConfig

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of tensors by their names in the file."""

HEAD_DIM = 128
"""Channels of a head in every published transformer."""

CLIP_HEAD_DIM = 80
"""The same in the published image encoder."""


def dit_sizes(shapes: Shapes, layout: Layout, config: Mapping[str, Any]) -> DiTConfig:
    """Read the sizes of a transformer off its weights; `config` (the Wan team's config.json, or {}) gives num_heads."""
    of = _Reader(shapes, layout)
    width, in_channels, t, y, x = of("patch_embed.weight", 5)
    num_heads = config.get("num_heads", width // HEAD_DIM)
    has_image = layout.name("image_embed.norm1.weight") in shapes
    positions = shapes.get(layout.name("image_embed.positions"))
    return DiTConfig(
        num_heads=num_heads,
        head_dim=width // num_heads if num_heads else 0,
        num_layers=of.count("blocks"),
        ffn_dim=of("blocks.0.up.weight", 2)[0],
        in_channels=in_channels,
        out_channels=of("proj_out.weight", 2)[0] // (t * y * x),
        text_dim=of("text_embed.linear1.weight", 2)[1],
        freq_dim=of("time_embed.linear1.weight", 2)[1],
        patch_size=(t, y, x),
        eps=config.get("eps", 1e-6),
        image_dim=of("image_embed.norm1.weight", 1)[0] if has_image else None,
        image_positions=positions[1] if positions else None,
    )


def vae_sizes(shapes: Shapes, layout: Layout, *, is_residual: bool) -> VAEConfig:
    """Read the sizes of an autoencoder off its weights; stages and strides are those of Wan2.1 or Wan2.2."""
    of = _Reader(shapes, layout)
    base_dim, patch_channels = of("encoder.conv_in.weight", 5)[:2]
    decoder_dim = of("decoder.conv_out.weight", 5)[1]
    z_dim = of("from_latent.weight", 5)[0]
    known = {preset.z_dim: preset for preset in (WAN21_VAE, WAN22_VAE)}.get(z_dim)
    return VAEConfig(
        base_dim=base_dim,
        decoder_base_dim=None if decoder_dim == base_dim else decoder_dim,
        z_dim=z_dim,
        is_residual=is_residual,
        patch_size=math.isqrt(patch_channels // 3),
        latents_mean=known.latents_mean if known else (),
        latents_std=known.latents_std if known else (),
    )


def text_sizes(shapes: Shapes, layout: Layout) -> TextEncoderConfig:
    """Read the sizes of a UMT5 encoder off its weights."""
    of = _Reader(shapes, layout)
    vocab_size, d_model = of("embed.weight", 2)
    num_buckets, num_heads = of("layers.0.attention.position_bias.weight", 2)
    return TextEncoderConfig(
        vocab_size=vocab_size,
        d_model=d_model,
        d_ff=of("layers.0.gate.weight", 2)[0],
        num_layers=of.count("layers"),
        num_heads=num_heads,
        head_dim=of("layers.0.attention.to_q.weight", 2)[0] // num_heads,
        num_buckets=num_buckets,
    )


def clip_sizes(shapes: Shapes, layout: Layout) -> ImageEncoderConfig:
    """Read the sizes of CLIP's image encoder off its weights."""
    of = _Reader(shapes, layout)
    width, _, patch, _ = of("patch_embed.weight", 4)
    num_tokens = of("positions", 2)[-2]
    return ImageEncoderConfig(
        width=width,
        ffn_dim=of("layers.0.up.weight", 2)[0],
        num_layers=of.count("layers"),
        num_heads=max(1, width // CLIP_HEAD_DIM),
        image_size=math.isqrt(num_tokens - 1) * patch,
        patch_size=patch,
    )


class _Reader:
    """Shapes by our names."""

    def __init__(self, shapes: Shapes, layout: Layout) -> None:
        self._shapes = shapes
        self._layout = layout

    def __call__(self, ours: str, axes: int) -> tuple[int, ...]:
        """The shape of our weight; CheckpointError if there is none with so many axes (or one more, of length 1)."""
        theirs = self._layout.name(ours)
        shape = self._shapes.get(theirs)
        if shape is None:
            raise CheckpointError(f"tensor {theirs} is missing; fetch the file again")
        if len(shape) == axes + 1 and shape[0] == 1:
            shape = shape[1:]
        if len(shape) != axes:
            raise CheckpointError(f"tensor {theirs} has {len(shape)} axes, but is to have {axes}; fetch the file again")
        return shape

    def count(self, ours: str) -> int:
        """How many layers there are in the list of this name."""
        pattern = re.compile(re.escape(self._layout.name(f"{ours}.0.x")).replace("0", r"(\d+)").removesuffix("x"))
        numbers = [int(found[1]) for name in self._shapes if (found := pattern.match(name))]
        return max(numbers, default=-1) + 1
