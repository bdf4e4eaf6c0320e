"""The networks: diffusion transformer, causal video autoencoder, text encoder, and folders that hold them."""

from kinema.model.causal import CAUSAL_PRESETS, CausalConfig
from kinema.model.causal_conv import TimeCache
from kinema.model.clip import ImageEncoder, ImageEncoderConfig
from kinema.model.dit import DiT, DiTConfig, TextKV
from kinema.model.folder import load_model, shipped_models
from kinema.model.kv_cache import CacheState
from kinema.model.model import Model
from kinema.model.presets import PRESETS, ModelPreset
from kinema.model.save import save_model
from kinema.model.text import TextEncoder, TextEncoderConfig, Tokenizer
from kinema.model.tiles import Tiles, decode_clip, encode_clip
from kinema.model.vae import VAEConfig, VAEOutput, VideoVAE

__all__ = [
    "CAUSAL_PRESETS",
    "PRESETS",
    "CacheState",
    "CausalConfig",
    "DiT",
    "DiTConfig",
    "ImageEncoder",
    "ImageEncoderConfig",
    "Model",
    "ModelPreset",
    "TextEncoder",
    "TextEncoderConfig",
    "TextKV",
    "Tiles",
    "TimeCache",
    "Tokenizer",
    "VAEConfig",
    "VAEOutput",
    "VideoVAE",
    "decode_clip",
    "encode_clip",
    "load_model",
    "save_model",
    "shipped_models",
]
