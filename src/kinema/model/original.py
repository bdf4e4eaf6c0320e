"""Models as their authors publish them: the Wan team's own folders, and what is trained on them, sizes read off."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kinema.checkpoint.detect import Found, FoundPart, Part
from kinema.checkpoint.layouts import (
    CLIP_TRANSFORMERS,
    TEXT_TRANSFORMERS,
    TEXT_WAN,
    Layout,
    clip_wan,
    dit_diffusers,
    dit_wan,
    vae_diffusers,
    vae_wan,
)
from kinema.checkpoint.source import Source
from kinema.checkpoint.weights import read_json
from kinema.errors import CheckpointError, SpecError
from kinema.model.clip import ImageEncoder
from kinema.model.dit import DiT, DiTConfig
from kinema.model.presets import PRESETS, ModelPreset
from kinema.model.sizes import clip_sizes, dit_sizes, text_sizes, vae_sizes
from kinema.model.text import TextEncoder
from kinema.model.vae import VAEConfig, VideoVAE


@dataclass(frozen=True)
class Networks:
    """The networks of a model that came without a pipeline folder; None for those that were not found."""

    dit: DiT | None
    dit_low: DiT | None
    vae: VideoVAE | None
    text: TextEncoder | None
    image: ImageEncoder | None
    is_causal: bool
    """Whether the transformer came out of a training run of Self-Forcing's kind."""
    sources: dict[nn.Module, Callable[[], Source]] = field(default_factory=dict)
    """What opens the files of each network again."""


def outline_networks(found: Found, dtype: torch.dtype) -> Networks:
    """Build every network that was found, without memory, of the sizes its weights have.

    Raises CheckpointError, naming file and tensor.
    """
    sources: dict[nn.Module, Callable[[], Source]] = {}
    parts = {name: _build(part, found.parts[part], dtype, sources) for name, part in _PARTS if part in found.parts}
    wrapper = found.parts["transformer"].tensors.wrapper if "transformer" in found.parts else None
    return Networks(
        dit=parts.get("dit"),
        dit_low=parts.get("dit_low"),
        vae=parts.get("vae"),
        text=parts.get("text"),
        image=parts.get("image"),
        is_causal=wrapper is not None and wrapper.startswith("generator"),
        sources=sources,
    )


def matching_preset(dit: DiTConfig, *, has_experts: bool) -> ModelPreset | None:
    """The published model whose transformer has these sizes."""
    matches = (preset for preset in PRESETS.values() if preset.dit == dit)
    return next((preset for preset in matches if (preset.boundary is not None) == has_experts), None)


_PARTS: tuple[tuple[str, Part], ...] = (
    ("dit", "transformer"),
    ("dit_low", "transformer_2"),
    ("vae", "vae"),
    ("text", "text_encoder"),
    ("image", "image_encoder"),
)


def _build(part: Part, found: FoundPart, dtype: torch.dtype, sources: dict[nn.Module, Callable[[], Source]]) -> Any:
    shapes = {name: entry.shape for name, entry in found.tensors.entries.items()}
    file = found.tensors.files[0]
    try:
        network, config, layout = _sizes(part, found, shapes, _config_beside(file))
    except (SpecError, CheckpointError, ZeroDivisionError) as error:
        raise CheckpointError(f"{file}: {error}") from error
    with torch.device("meta"):
        module: nn.Module = network(config)
    sources[module] = lambda: Source(module, found.tensors, layout)
    return module.to(dtype).eval()


def _sizes(
    part: Part, found: FoundPart, shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]
) -> tuple[Any, Any, Layout]:
    """Which class, which sizes and which names the weights of a network have."""
    is_wan = found.layout == "wan"
    if part == "vae":
        is_residual = "encoder.downsamples.0.downsamples.0.residual.2.weight" in shapes or (
            "encoder.down_blocks.0.resnets.0.conv1.weight" in shapes
        )
        layout = vae_layout(VAEConfig(is_residual=is_residual), is_wan=is_wan)
        return VideoVAE, vae_sizes(shapes, layout, is_residual=is_residual), layout
    if part == "text_encoder":
        layout = TEXT_WAN if is_wan else TEXT_TRANSFORMERS
        return TextEncoder, text_sizes(shapes, layout), layout
    if part == "image_encoder":
        clip = clip_sizes(shapes, clip_wan(1) if is_wan else CLIP_TRANSFORMERS)
        return ImageEncoder, clip, clip_wan(clip.width) if is_wan else CLIP_TRANSFORMERS
    make = dit_wan if is_wan else dit_diffusers
    sizes = dit_sizes(shapes, make(0, (1, 1, 1)), config)
    return DiT, sizes, make(sizes.in_channels, sizes.patch_size)


def vae_layout(config: VAEConfig, *, is_wan: bool = False) -> Layout:
    """The names of an autoencoder of these sizes."""
    make = vae_wan if is_wan else vae_diffusers
    return make(len(config.dim_mult), config.num_res_blocks, is_residual=config.is_residual)


def _config_beside(file: Path) -> Mapping[str, Any]:
    path = file.parent / "config.json"
    return read_json(path) if path.exists() else {}
