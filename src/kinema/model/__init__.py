"""The networks: diffusion transformer, causal video autoencoder, text encoder, and folders that hold them."""

from kinema.model.causal import CausalConfig
from kinema.model.clip import ImageEncoder, ImageEncoderConfig
from kinema.model.dit import DiT, DiTConfig, TextKV
from kinema.model.folder import Model, load_model, save_model
from kinema.model.presets import PRESETS, ModelPreset
from kinema.model.text import TextEncoder, TextEncoderConfig, Tokenizer
from kinema.model.vae import VAEConfig, VAEOutput, VideoVAE

__all__ = [
    "PRESETS",
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
    "Tokenizer",
    "VAEConfig",
    "VAEOutput",
    "VideoVAE",
    "load_model",
    "save_model",
]
