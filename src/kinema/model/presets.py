"""The named architectures: sizes only; weights come from a folder or a hub id."""

from dataclasses import dataclass

from kinema.model.dit import DiTConfig
from kinema.model.text import TextEncoderConfig
from kinema.model.vae import VAEConfig
from kinema.spec import ModelDefaults


@dataclass(frozen=True, kw_only=True)
class ModelPreset:
    """The sizes of one model, and what it makes by default."""

    dit: DiTConfig
    vae: VAEConfig
    text: TextEncoderConfig
    defaults: ModelDefaults
    max_tokens: int
    """Longest prompt, in tokens, the end mark included."""


UMT5_XXL = TextEncoderConfig(vocab_size=256_384, d_model=4096, d_ff=10_240, num_layers=24, num_heads=64)
"""The text encoder of all published Wan models."""

WAN21_VAE = VAEConfig(
    latents_mean=(
        *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
        *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
    ),
    latents_std=(
        *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
        *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
    ),
)
"""The autoencoder of the Wan2.1 models (and of Wan2.2-A14B), with the statistics of its latents."""

WAN22_VAE = VAEConfig(base_dim=160, decoder_base_dim=256, z_dim=48, is_residual=True, patch_size=2)
"""The autoencoder of Wan2.2-TI2V-5B; the statistics of its latents stand in its folder."""


def _wan_dit(num_heads: int, num_layers: int, ffn_dim: int, channels: int = 16) -> DiTConfig:
    return DiTConfig(
        num_heads=num_heads,
        head_dim=128,
        num_layers=num_layers,
        ffn_dim=ffn_dim,
        in_channels=channels,
        out_channels=channels,
        text_dim=UMT5_XXL.d_model,
    )


def _wan_defaults(frames: int, height: int, width: int, fps: float, shift: float) -> ModelDefaults:
    return ModelDefaults(
        frames=frames, height=height, width=width, fps=fps, steps=50, guidance=5.0, solver="unipc", shift=shift
    )


PRESETS: dict[str, ModelPreset] = {
    # Trained here and shipped; measured scores in weights/mini/README.md.
    "mini": ModelPreset(
        dit=DiTConfig(
            num_heads=4, head_dim=64, num_layers=8, ffn_dim=1024, in_channels=32, out_channels=32, text_dim=256
        ),
        vae=VAEConfig(
            base_dim=32, z_dim=32, dim_mult=(1, 2, 4), num_res_blocks=1, temporal_downsample=(True, True), patch_size=2
        ),
        text=TextEncoderConfig(vocab_size=4096, d_model=256, d_ff=512, num_layers=4, num_heads=4),
        defaults=ModelDefaults(
            frames=17, height=64, width=64, fps=8.0, steps=30, guidance=4.0, solver="unipc", shift=3.0
        ),
        max_tokens=64,
    ),
    # For tests: every part, nothing learned.  # not measured
    "tiny": ModelPreset(
        dit=DiTConfig(num_heads=2, head_dim=16, num_layers=2, ffn_dim=64, in_channels=4, out_channels=4, text_dim=32),
        vae=VAEConfig(
            base_dim=8, z_dim=4, dim_mult=(1, 2, 2), num_res_blocks=1, temporal_downsample=(True, True), patch_size=2
        ),
        text=TextEncoderConfig(vocab_size=512, d_model=32, d_ff=64, num_layers=2, num_heads=2, head_dim=16),
        defaults=ModelDefaults(
            frames=5, height=32, width=32, fps=8.0, steps=4, guidance=3.0, solver="unipc", shift=3.0
        ),
        max_tokens=64,
    ),
    # Wan-AI/Wan2.1-T2V-1.3B-Diffusers  # not measured
    "wan2.1-1.3b": ModelPreset(
        dit=_wan_dit(12, 30, 8960),
        vae=WAN21_VAE,
        text=UMT5_XXL,
        defaults=_wan_defaults(81, 480, 832, 16.0, 3.0),
        max_tokens=512,
    ),
    # Wan-AI/Wan2.1-T2V-14B-Diffusers  # not measured
    "wan2.1-14b": ModelPreset(
        dit=_wan_dit(40, 40, 13_824),
        vae=WAN21_VAE,
        text=UMT5_XXL,
        defaults=_wan_defaults(81, 720, 1280, 16.0, 5.0),
        max_tokens=512,
    ),
    # Wan-AI/Wan2.2-TI2V-5B-Diffusers  # not measured
    "wan2.2-5b": ModelPreset(
        dit=_wan_dit(24, 30, 14_336, channels=48),
        vae=WAN22_VAE,
        text=UMT5_XXL,
        defaults=_wan_defaults(121, 704, 1280, 24.0, 5.0),
        max_tokens=512,
    ),
}
