"""Our sizes as the `config.json` files of diffusers and transformers, and back."""

from collections.abc import Mapping
from typing import Any

import torch

from kinema.errors import SpecError
from kinema.model.clip import MEAN, STD, ImageEncoderConfig
from kinema.model.dit import DiTConfig
from kinema.model.presets import WAN21_VAE
from kinema.model.text import TextEncoderConfig
from kinema.model.vae import VAEConfig


def dit_config(data: Mapping[str, Any]) -> DiTConfig:
    """Read the config of a WanTransformer3DModel. Raises SpecError for a variant that is not ours."""
    _refuse_other_class(data, "WanTransformer3DModel")
    _refuse_others(data, cross_attn_norm=True, qk_norm="rms_norm_across_heads")
    t, y, x = data.get("patch_size", (1, 2, 2))
    width = data.get("num_attention_heads", 40) * data.get("attention_head_dim", 128)
    image_dim = data.get("image_dim")
    if data.get("added_kv_proj_dim") != (width if image_dim else None):
        raise SpecError(
            f"image_dim={image_dim} and added_kv_proj_dim={data.get('added_kv_proj_dim')} are a variant that Kinema "
            f"does not have; it reads images with added_kv_proj_dim={width}, or has neither"
        )
    return DiTConfig(
        num_heads=data.get("num_attention_heads", 40),
        head_dim=data.get("attention_head_dim", 128),
        num_layers=data.get("num_layers", 40),
        ffn_dim=data.get("ffn_dim", 13_824),
        in_channels=data.get("in_channels", 16),
        out_channels=data.get("out_channels") or data.get("in_channels", 16),
        text_dim=data.get("text_dim", 4096),
        freq_dim=data.get("freq_dim", 256),
        patch_size=(t, y, x),
        eps=data.get("eps", 1e-6),
        image_dim=image_dim,
        image_positions=data.get("pos_embed_seq_len"),
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
    return VAEConfig(
        base_dim=data.get("base_dim", 96),
        decoder_base_dim=data.get("decoder_base_dim"),
        z_dim=data.get("z_dim", 16),
        dim_mult=tuple(data.get("dim_mult", (1, 2, 4, 4))),
        num_res_blocks=data.get("num_res_blocks", 2),
        temporal_downsample=tuple(data.get("temperal_downsample", (False, True, True))),
        is_residual=data.get("is_residual", False),
        patch_size=data.get("patch_size") or 1,
        latents_mean=tuple(data.get("latents_mean", WAN21_VAE.latents_mean)),
        latents_std=tuple(data.get("latents_std", WAN21_VAE.latents_std)),
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
    return TextEncoderConfig(
        vocab_size=data["vocab_size"],
        d_model=data["d_model"],
        d_ff=data["d_ff"],
        num_layers=data["num_layers"],
        num_heads=data["num_heads"],
        head_dim=data["d_kv"],
        num_buckets=data.get("relative_attention_num_buckets", 32),
        max_distance=data.get("relative_attention_max_distance", 128),
        eps=data.get("layer_norm_epsilon", 1e-6),
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
    """Read the config of a CLIPVisionModel, with transformers' defaults for what it leaves out. Raises SpecError."""
    data = data.get("vision_config", data)
    if data.get("model_type") != "clip_vision_model":
        found = data.get("model_type")
        raise SpecError(f"model_type={found!r} is not an image encoder that Kinema has; it has 'clip_vision_model'")
    activation = data.get("hidden_act", "quick_gelu")
    if activation not in ("gelu", "quick_gelu"):
        raise SpecError(f"hidden_act={activation!r} is a variant that Kinema does not have; it has gelu and quick_gelu")
    return ImageEncoderConfig(
        width=data.get("hidden_size", 768),
        ffn_dim=data.get("intermediate_size", 3072),
        num_layers=data.get("num_hidden_layers", 12),
        num_heads=data.get("num_attention_heads", 12),
        image_size=data.get("image_size", 224),
        patch_size=data.get("patch_size", 32),
        eps=data.get("layer_norm_eps", 1e-5),
        activation=activation,
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


def _refuse_other_class(data: Mapping[str, Any], name: str) -> None:
    found = data.get("_class_name", name)
    if found != name:
        raise SpecError(f"_class_name={found!r} is not a network that Kinema has; it has {name!r}")


def _refuse_others(data: Mapping[str, Any], **expected: Any) -> None:
    for key, value in expected.items():
        if data.get(key, value) != value:
            raise SpecError(f"{key}={data[key]!r} is a variant that Kinema does not have; it has {key}={value!r}")
