"""What the files of a model folder are called, and how the weights in them are laid out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from kinema.checkpoint.layouts import CLIP_TRANSFORMERS, TEXT_TRANSFORMERS, dit_diffusers
from kinema.model.clip import ImageEncoder
from kinema.model.dit import DiT
from kinema.model.original import vae_layout
from kinema.model.text import TextEncoder
from kinema.model.vae import VideoVAE

READS_FRAMES = "_reads_frames"
"""Our key in `model_index.json` for models whose tokens diffusers cannot give times of their own; it skips it."""

SHIPPED = Path(__file__).parents[1] / "weights"
"""Where the models that come with the package are: one folder per name."""

INDEX_FILE = "model_index.json"
"""What a pipeline folder consists of, as diffusers reads it."""

DEFAULTS_FILE = "kinema.json"
"""What a model makes by default; stands beside model_index.json and means nothing to diffusers."""

CAUSAL_FILE = "causal.json"
"""How a causal model looks back; other models have none."""


def file_stem(module: nn.Module) -> str:
    """How the names of a network's files begin."""
    return "model" if isinstance(module, TextEncoder | ImageEncoder) else "diffusion_pytorch_model"


def layout_of(module: nn.Module) -> Any:
    """How a network's weights are named in its files."""
    if isinstance(module, DiT):
        return dit_diffusers(module.config.in_channels, module.config.patch_size)
    if isinstance(module, VideoVAE):
        return vae_layout(module.config)
    return CLIP_TRANSFORMERS if isinstance(module, ImageEncoder) else TEXT_TRANSFORMERS


def may_read_frames(index: Mapping[str, Any]) -> bool:
    """Whether given frames may stand among those being made, by what `model_index.json` holds."""
    return bool(index.get(READS_FRAMES, index.get("expand_timesteps", False)))
