"""How other projects name and shape the weights that we hold: one table per network and layout.

A table says what our name becomes there; the way back is the same table read from our names. In memory: diffusers'
`WanTransformer3DModel` and `AutoencoderKLWan`, and transformers' `UMT5EncoderModel`, are the layouts of a model folder.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """Names and shapes of weights in another project."""

    names: tuple[tuple[str, str], ...]
    """Regular expressions over our names and what takes their place, applied in this order."""
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Regular expressions over our names and the shape (one -1 is what remains) that the weight has there."""
    copies: tuple[tuple[str, str], ...] = ()
    """Pairs (copy, original) of their names: where a file holds both, the copy is what the network reads."""

    def name(self, ours: str) -> str:
        """Their name of our weight."""
        for pattern, replacement in self.names:
            ours = re.sub(pattern, replacement, ours)
        return ours

    def shape(self, ours: str, shape: Sequence[int]) -> tuple[int, ...]:
        """Their shape of our weight of this shape."""
        for pattern, template in self.shapes:
            if re.fullmatch(pattern, ours):
                size = known = 1
                for length in shape:
                    size *= length
                for length in template:
                    known *= max(length, 1)
                return tuple(size // known if length == -1 else length for length in template)
        return tuple(shape)


def dit_diffusers(in_channels: int, patch_size: tuple[int, int, int]) -> Layout:
    """The transformer as diffusers' WanTransformer3DModel; the patch embedding is a convolution there."""
    return Layout(
        names=(
            (r"^patch_embed\.", "patch_embedding."),
            (r"^time_embed\.linear(\d)", r"condition_embedder.time_embedder.linear_\1"),
            (r"^time_proj\.", "condition_embedder.time_proj."),
            (r"^text_embed\.linear(\d)", r"condition_embedder.text_embedder.linear_\1"),
            (r"^(blocks\.\d+)\.self_attention\.", r"\1.attn1."),
            (r"^(blocks\.\d+)\.cross_attention\.", r"\1.attn2."),
            (r"\.to_out\.", ".to_out.0."),
            (r"^(blocks\.\d+)\.cross_norm\.", r"\1.norm2."),
            (r"^(blocks\.\d+)\.up\.", r"\1.ffn.net.0.proj."),
            (r"^(blocks\.\d+)\.down\.", r"\1.ffn.net.2."),
            (r"^(blocks\.\d+)\.modulation$", r"\1.scale_shift_table"),
            (r"^out_modulation$", "scale_shift_table"),
        ),
        shapes=(
            (r"patch_embed\.weight", (-1, in_channels, *patch_size)),
            (r"blocks\.\d+\.modulation", (1, 6, -1)),
            (r"out_modulation", (1, 2, -1)),
        ),
    )


def vae_diffusers(num_stages: int, blocks_per_stage: int, *, is_residual: bool) -> Layout:
    """The autoencoder as diffusers' AutoencoderKLWan; Wan2.1's encoder counts blocks through all stages there."""
    encoder: list[tuple[str, str]] = []
    if is_residual:
        encoder += [(r"^encoder\.stages\.(\d+)\.blocks\.", r"encoder.down_blocks.\1.resnets.")]
        encoder += [(r"^encoder\.stages\.(\d+)\.down\.", r"encoder.down_blocks.\1.downsampler.")]
        upsampler = "upsampler"
    else:
        for stage in range(num_stages):
            first = stage * (blocks_per_stage + 1)
            for block in range(blocks_per_stage):
                ours, theirs = rf"^encoder\.stages\.{stage}\.blocks\.{block}\.", f"encoder.down_blocks.{first + block}."
                encoder.append((ours, theirs))
            last = first + blocks_per_stage
            encoder.append((rf"^encoder\.stages\.{stage}\.down\.", f"encoder.down_blocks.{last}."))
        upsampler = "upsamplers.0"
    return Layout(
        names=(
            *encoder,
            (r"^decoder\.stages\.(\d+)\.blocks\.", r"decoder.up_blocks.\1.resnets."),
            (r"^decoder\.stages\.(\d+)\.up\.", rf"decoder.up_blocks.\1.{upsampler}."),
            (r"\.space_conv\.", ".resample.1."),
            (r"\.shortcut\.", ".conv_shortcut."),
            (r"\.middle\.block1\.", ".mid_block.resnets.0."),
            (r"\.middle\.block2\.", ".mid_block.resnets.1."),
            (r"\.middle\.attention\.gamma$", ".mid_block.attentions.0.norm.gamma"),
            (r"\.middle\.attention\.to_out\.", ".mid_block.attentions.0.proj."),
            (r"\.middle\.attention\.", ".mid_block.attentions.0."),
            (r"^to_moments\.", "quant_conv."),
            (r"^from_latent\.", "post_quant_conv."),
        ),
        shapes=((r".*\.attention\.gamma", (-1, 1, 1)), (r".*\.gamma", (-1, 1, 1, 1))),
    )


TEXT_TRANSFORMERS = Layout(
    names=(
        (r"^embed\.", "shared."),
        (r"^norm_out\.", "encoder.final_layer_norm."),
        (r"^layers\.(\d+)\.attention\.to_([qkv])\.", r"encoder.block.\1.layer.0.SelfAttention.\2."),
        (r"^layers\.(\d+)\.attention\.to_out\.", r"encoder.block.\1.layer.0.SelfAttention.o."),
        (
            r"^layers\.(\d+)\.attention\.position_bias\.",
            r"encoder.block.\1.layer.0.SelfAttention.relative_attention_bias.",
        ),
        (r"^layers\.(\d+)\.norm1\.", r"encoder.block.\1.layer.0.layer_norm."),
        (r"^layers\.(\d+)\.norm2\.", r"encoder.block.\1.layer.1.layer_norm."),
        (r"^layers\.(\d+)\.gate\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_0."),
        (r"^layers\.(\d+)\.up\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_1."),
        (r"^layers\.(\d+)\.down\.", r"encoder.block.\1.layer.1.DenseReluDense.wo."),
    ),
    copies=(("encoder.embed_tokens.weight", "shared.weight"),),
)
"""The text encoder as transformers' UMT5EncoderModel, which may hold its embedding twice."""
