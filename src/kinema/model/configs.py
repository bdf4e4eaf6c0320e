"""Our sizes as the `config.json` files of diffusers and transformers, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch

from kinema.config import from_dict
from kinema.errors import SpecError
from kinema.model.clip import MEAN, STD, ImageEncoderConfig
from kinema.model.dit import DiTConfig
from kinema.model.presets import WAN21_VAE
from kinema.model.text import TextEncoderConfig
from kinema.model.vae import VAEConfig

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class WanTransformer3DModel:
    """The sizes that diffusers writes for its class of this name, with that class's defaults."""

    num_attention_heads: int = 40
    attention_head_dim: int = 128
    num_layers: int = 40
    ffn_dim: int = 13_824
    in_channels: int = 16
    out_channels: int | None = None
    text_dim: int = 4096
    freq_dim: int = 256
    patch_size: tuple[int, int, int] = (1, 2, 2)
    eps: float = 1e-6
    image_dim: int | None = None
    added_kv_proj_dim: int | None = None
    pos_embed_seq_len: int | None = None


@dataclass(frozen=True, kw_only=True)
class AutoencoderKLWan:
    """The sizes that diffusers writes for its class of this name, with that class's defaults and its spelling."""

    base_dim: int = 96
    decoder_base_dim: int | None = None
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    temperal_downsample: tuple[bool, ...] = (False, True, True)
    is_residual: bool = False
    patch_size: int | None = None
    latents_mean: tuple[float, ...] = WAN21_VAE.latents_mean
    latents_std: tuple[float, ...] = WAN21_VAE.latents_std


@dataclass(frozen=True, kw_only=True)
class UMT5EncoderModel:
    """The sizes that transformers writes for its class of this name; of some, its defaults are no model's."""

    vocab_size: int
    d_model: int
    d_ff: int
    num_layers: int
    num_heads: int
    d_kv: int
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    layer_norm_epsilon: float = 1e-6


@dataclass(frozen=True, kw_only=True)
class CLIPVisionModel:
    """The sizes that transformers writes for its class of this name, with that class's defaults."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    image_size: int = 224
    patch_size: int = 32
    layer_norm_eps: float = 1e-5
    hidden_act: Literal["gelu", "quick_gelu"] = "quick_gelu"


def dit_config(data: Mapping[str, Any]) -> DiTConfig:
    """Read the config of a WanTransformer3DModel. Raises SpecError for a variant that is not ours."""
    _refuse_other_class(data, "WanTransformer3DModel")
    _refuse_others(data, cross_attn_norm=True, qk_norm="rms_norm_across_heads")
    sizes = _sizes(WanTransformer3DModel, data)
    width = sizes.num_attention_heads * sizes.attention_head_dim
    if sizes.added_kv_proj_dim != (width if sizes.image_dim else None):
        raise SpecError(
            f"image_dim={sizes.image_dim} and added_kv_proj_dim={sizes.added_kv_proj_dim} are a variant that Kinema "
            f"does not have; it reads images with added_kv_proj_dim={width}, or has neither"
        )
    return DiTConfig(
        num_heads=sizes.num_attention_heads,
        head_dim=sizes.attention_head_dim,
        num_layers=sizes.num_layers,
        ffn_dim=sizes.ffn_dim,
        in_channels=sizes.in_channels,
        out_channels=sizes.out_channels or sizes.in_channels,
        text_dim=sizes.text_dim,
        freq_dim=sizes.freq_dim,
        patch_size=sizes.patch_size,
        eps=sizes.eps,
        image_dim=sizes.image_dim,
        image_positions=sizes.pos_embed_seq_len,
    )


def dit_json(config: DiTConfig) -> dict[str, Any]:
    """Write the config of a WanTransformer3DModel."""
    return {
        "_class_name": "WanTransformer3DModel",
        "patch_size": list(config.patch_size),
        "num_attention_heads": config.num_heads,
        "attention_head_dim": config.head_dim,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "text_dim": config.text_dim,
        "freq_dim": config.freq_dim,
        "ffn_dim": config.ffn_dim,
        "num_layers": config.num_layers,
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
        "eps": config.eps,
        "image_dim": config.image_dim,
        "added_kv_proj_dim": None if config.image_dim is None else config.width,
        "rope_max_seq_len": 1024,
        "pos_embed_seq_len": config.image_positions,
    }


def vae_config(data: Mapping[str, Any]) -> VAEConfig:
    """Read the config of an AutoencoderKLWan. Raises SpecError for a variant that is not ours."""
    _refuse_other_class(data, "AutoencoderKLWan")
    _refuse_others(data, attn_scales=[], dropout=0.0)
    sizes = _sizes(AutoencoderKLWan, data)
    return VAEConfig(
        base_dim=sizes.base_dim,
        decoder_base_dim=sizes.decoder_base_dim,
        z_dim=sizes.z_dim,
        dim_mult=sizes.dim_mult,
        num_res_blocks=sizes.num_res_blocks,
        temporal_downsample=sizes.temperal_downsample,
        is_residual=sizes.is_residual,
        patch_size=sizes.patch_size or 1,
        latents_mean=sizes.latents_mean,
        latents_std=sizes.latents_std,
    )


def vae_json(config: VAEConfig) -> dict[str, Any]:
    """Write the config of an AutoencoderKLWan."""
    return {
        "_class_name": "AutoencoderKLWan",
        "base_dim": config.base_dim,
        "decoder_base_dim": config.decoder_base_dim,
        "z_dim": config.z_dim,
        "dim_mult": list(config.dim_mult),
        "num_res_blocks": config.num_res_blocks,
        "attn_scales": [],
        "temperal_downsample": list(config.temporal_downsample),
        "dropout": 0.0,
        "latents_mean": list(config.latents_mean or (0.0,) * config.z_dim),
        "latents_std": list(config.latents_std or (1.0,) * config.z_dim),
        "is_residual": config.is_residual,
        "in_channels": config.patch_channels,
        "out_channels": config.patch_channels,
        "patch_size": None if config.patch_size == 1 else config.patch_size,
        "scale_factor_temporal": config.stride.time,
        "scale_factor_spatial": config.stride.height,
    }


def text_config(data: Mapping[str, Any]) -> TextEncoderConfig:
    """Read the config of a UMT5EncoderModel. Raises SpecError for a variant that is not ours."""
    if data.get("model_type") != "umt5":
        raise SpecError(f"model_type={data.get('model_type')!r} is not a text encoder that Kinema has; it has 'umt5'")
    _refuse_others(data, feed_forward_proj="gated-gelu")
    sizes = _sizes(UMT5EncoderModel, data)
    return TextEncoderConfig(
        vocab_size=sizes.vocab_size,
        d_model=sizes.d_model,
        d_ff=sizes.d_ff,
        num_layers=sizes.num_layers,
        num_heads=sizes.num_heads,
        head_dim=sizes.d_kv,
        num_buckets=sizes.relative_attention_num_buckets,
        max_distance=sizes.relative_attention_max_distance,
        eps=sizes.layer_norm_epsilon,
    )


def text_json(config: TextEncoderConfig, dtype: torch.dtype) -> dict[str, Any]:
    """Write the config of a UMT5EncoderModel whose weights have this data type."""
    return {
        "architectures": ["UMT5EncoderModel"],
        "model_type": "umt5",
        "vocab_size": config.vocab_size,
        "d_model": config.d_model,
        "d_kv": config.head_dim,
        "d_ff": config.d_ff,
        "num_layers": config.num_layers,
        "num_heads": config.num_heads,
        "relative_attention_num_buckets": config.num_buckets,
        "relative_attention_max_distance": config.max_distance,
        "layer_norm_epsilon": config.eps,
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.0,
        "is_encoder_decoder": False,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "dtype": str(dtype).removeprefix("torch."),
    }


def clip_config(data: Mapping[str, Any]) -> ImageEncoderConfig:
    """Read the config of a CLIPVisionModel. Raises SpecError for a variant that is not ours."""
    data = data.get("vision_config", data)
    if data.get("model_type") != "clip_vision_model":
        found = data.get("model_type")
        raise SpecError(f"model_type={found!r} is not an image encoder that Kinema has; it has 'clip_vision_model'")
    sizes = _sizes(CLIPVisionModel, data)
    return ImageEncoderConfig(
        width=sizes.hidden_size,
        ffn_dim=sizes.intermediate_size,
        num_layers=sizes.num_hidden_layers,
        num_heads=sizes.num_attention_heads,
        image_size=sizes.image_size,
        patch_size=sizes.patch_size,
        eps=sizes.layer_norm_eps,
        activation=sizes.hidden_act,
    )


def clip_json(config: ImageEncoderConfig) -> dict[str, Any]:
    """Write the config of a CLIPVisionModel."""
    return {
        "architectures": ["CLIPVisionModel"],
        "model_type": "clip_vision_model",
        "hidden_size": config.width,
        "intermediate_size": config.ffn_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_channels": 3,
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "layer_norm_eps": config.eps,
        "hidden_act": config.activation,
        "projection_dim": 1024,
    }


def clip_processor_json(config: ImageEncoderConfig) -> dict[str, Any]:
    """Write how transformers' CLIPImageProcessor makes a picture ready for the image encoder."""
    side = config.image_size
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": side},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(MEAN),
        "image_std": list(STD),
        "do_convert_rgb": True,
    }


def _sizes(kind: type[T], data: Mapping[str, Any]) -> T:
    """Read the fields that size the network, out of all that its file says. Raises SpecError, naming the field."""
    return from_dict(kind, {name: value for name, value in data.items() if name in kind.__annotations__})


def _refuse_other_class(data: Mapping[str, Any], name: str) -> None:
    found = data.get("_class_name", name)
    if found != name:
        raise SpecError(f"_class_name={found!r} is not a network that Kinema has; it has {name!r}")


def _refuse_others(data: Mapping[str, Any], **expected: Any) -> None:
    for key, value in expected.items():
        if data.get(key, value) != value:
            raise SpecError(f"{key}={data[key]!r} is a variant that Kinema does not have; it has {key}={value!r}")
