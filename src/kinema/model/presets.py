"""The named architectures: sizes only; weights come from a folder or a hub id."""

from dataclasses import dataclass

from kinema.model.clip import ImageEncoderConfig
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
    image: ImageEncoderConfig | None = None
    """The image encoder, for models whose cross-attention reads a picture."""
    boundary: float | None = None
    """Time from which on a second transformer of the same sizes takes over, for models of two experts."""
    reads_frames: bool = False
    """Given frames stand at time 0 among those being made (Wan2.2-TI2V-5B's way)."""
    hub_id: str | None = None
    """Where its weights are published, as a pipeline folder."""
    licence: str = "Apache-2.0"
    """Licence of the weights."""


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

WAN22_VAE = VAEConfig(
    base_dim=160,
    decoder_base_dim=256,
    z_dim=48,
    is_residual=True,
    patch_size=2,
    latents_mean=(
        *(-0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557),
        *(-0.1382, 0.0542, 0.2813, 0.0891, 0.1570, -0.0098, 0.0375, -0.1825),
        *(-0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502),
        *(-0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230),
        *(-0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.0520, 0.3748),
        *(0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667),
    ),
    latents_std=(
        *(0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013),
        *(0.8158, 1.0344, 0.5894, 1.0901, 0.6885, 0.6165, 0.8454, 0.4978),
        *(0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659),
        *(0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093),
        *(0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887),
        *(0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744),
    ),
)
"""The autoencoder of Wan2.2-TI2V-5B, with the statistics of its latents."""

MINI_VAE = VAEConfig(
    base_dim=32, z_dim=32, dim_mult=(1, 2, 4), num_res_blocks=1, temporal_downsample=(True, True), patch_size=2
)
"""The autoencoder of the models that are trained here."""

MINI_TEXT = TextEncoderConfig(vocab_size=4096, d_model=256, d_ff=512, num_layers=4, num_heads=4)
"""Their text encoder."""

CLIP_H14 = ImageEncoderConfig()
"""The image encoder of the Wan2.1 models that start from a picture."""


def _wan_dit(
    num_heads: int,
    num_layers: int,
    ffn_dim: int,
    channels: int = 16,
    *,
    condition_channels: int = 0,
    image_dim: int | None = None,
    image_positions: int | None = None,
) -> DiTConfig:
    return DiTConfig(
        image_dim=image_dim,
        image_positions=image_positions,
        num_heads=num_heads,
        head_dim=128,
        num_layers=num_layers,
        ffn_dim=ffn_dim,
        in_channels=channels + condition_channels,
        out_channels=channels,
        text_dim=UMT5_XXL.d_model,
    )


def _wan_defaults(
    frames: int,
    height: int,
    width: int,
    fps: float,
    shift: float,
    *,
    steps: int = 50,
    guidance: float = 5.0,
    guidance_low: float | None = None,
) -> ModelDefaults:
    return ModelDefaults(
        frames=frames,
        height=height,
        width=width,
        fps=fps,
        steps=steps,
        guidance=guidance,
        guidance_low=guidance_low,
        solver="unipc",
        shift=shift,
    )


def _wan_14b(
    condition_channels: int = 0, image_dim: int | None = None, image_positions: int | None = None
) -> DiTConfig:
    return _wan_dit(
        40,
        40,
        13_824,
        condition_channels=condition_channels,
        image_dim=image_dim,
        image_positions=image_positions,
    )


MASK_CHANNELS = 4
"""Channels that tell image models which of the frames that a latent frame stands for are given."""


PRESETS: dict[str, ModelPreset] = {
    # Trained here and shipped; measured scores in weights/mini/README.md.
    "mini": ModelPreset(
        dit=DiTConfig(
            num_heads=4,
            head_dim=64,
            num_layers=8,
            ffn_dim=1024,
            in_channels=32,
            out_channels=32,
            text_dim=256,
            patch_size=(1, 1, 1),
        ),
        vae=MINI_VAE,
        text=MINI_TEXT,
        defaults=ModelDefaults(
            frames=17, height=64, width=64, fps=8.0, steps=30, guidance=2.5, solver="unipc", shift=5.0
        ),
        max_tokens=64,
    ),
    # The next size of mini: 128 x 128 at 12 frames per second, 57 MB.  # not measured
    "mini-128": ModelPreset(
        dit=DiTConfig(
            num_heads=5,
            head_dim=64,
            num_layers=10,
            ffn_dim=1280,
            in_channels=32,
            out_channels=32,
            text_dim=256,
            patch_size=(1, 1, 1),
        ),
        vae=MINI_VAE,
        text=MINI_TEXT,
        defaults=ModelDefaults(
            frames=25, height=128, width=128, fps=12.0, steps=30, guidance=4.0, solver="unipc", shift=5.0
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
        hub_id="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    ),
    # Wan-AI/Wan2.1-T2V-14B-Diffusers  # not measured
    "wan2.1-14b": ModelPreset(
        dit=_wan_14b(),
        vae=WAN21_VAE,
        text=UMT5_XXL,
        defaults=_wan_defaults(81, 720, 1280, 16.0, 5.0),
        max_tokens=512,
        hub_id="Wan-AI/Wan2.1-T2V-14B-Diffusers",
    ),
    # Wan-AI/Wan2.1-I2V-14B-480P-Diffusers  # not measured
    "wan2.1-i2v-14b": ModelPreset(
        dit=_wan_14b(MASK_CHANNELS + 16, image_dim=CLIP_H14.width),
        vae=WAN21_VAE,
        text=UMT5_XXL,
        image=CLIP_H14,
        defaults=_wan_defaults(81, 480, 832, 16.0, 3.0, steps=40),
        max_tokens=512,
        hub_id="Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
    ),
    # Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers  # not measured
    "wan2.1-flf2v-14b": ModelPreset(
        dit=_wan_14b(MASK_CHANNELS + 16, image_dim=CLIP_H14.width, image_positions=2 * CLIP_H14.num_tokens),
        vae=WAN21_VAE,
        text=UMT5_XXL,
        image=CLIP_H14,
        defaults=_wan_defaults(81, 720, 1280, 16.0, 16.0),
        max_tokens=512,
        hub_id="Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers",
    ),
    # Wan-AI/Wan2.2-TI2V-5B-Diffusers  # not measured
    "wan2.2-5b": ModelPreset(
        dit=_wan_dit(24, 30, 14_336, channels=48),
        vae=WAN22_VAE,
        text=UMT5_XXL,
        defaults=_wan_defaults(121, 704, 1280, 24.0, 5.0),
        max_tokens=512,
        reads_frames=True,
        hub_id="Wan-AI/Wan2.2-TI2V-5B-Diffusers",
    ),
    # Wan-AI/Wan2.2-T2V-A14B-Diffusers  # not measured
    "wan2.2-a14b": ModelPreset(
        dit=_wan_14b(),
        vae=WAN21_VAE,
        text=UMT5_XXL,
        boundary=0.875,
        defaults=_wan_defaults(81, 720, 1280, 16.0, 12.0, steps=40, guidance=4.0, guidance_low=3.0),
        max_tokens=512,
        hub_id="Wan-AI/Wan2.2-T2V-A14B-Diffusers",
    ),
    # Wan-AI/Wan2.2-I2V-A14B-Diffusers  # not measured
    "wan2.2-i2v-a14b": ModelPreset(
        dit=_wan_14b(MASK_CHANNELS + 16),
        vae=WAN21_VAE,
        text=UMT5_XXL,
        boundary=0.9,
        defaults=_wan_defaults(81, 720, 1280, 16.0, 5.0, steps=40, guidance=3.5, guidance_low=3.5),
        max_tokens=512,
        hub_id="Wan-AI/Wan2.2-I2V-A14B-Diffusers",
    ),
}
