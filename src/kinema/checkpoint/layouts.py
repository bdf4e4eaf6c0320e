"""How other projects name and shape the weights that we hold: one table per network and layout.

A table says what our name becomes there; the way back is the same table read from our names. Two families: a model
folder holds diffusers' `WanTransformer3DModel` and `AutoencoderKLWan` and transformers' `UMT5EncoderModel` and
`CLIPVisionModel`; what the Wan team publishes itself, and what is trained on it, has the names of their own code.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """Names and shapes of weights in another project."""

    names: tuple[tuple[str, str], ...]
    """Regular expressions over our names and what takes their place, applied in this order.

    Where several of our weights get one name, they stand there one after the other along the first axis."""
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Regular expressions over our names and the shape (one -1 is what remains) that the weight has there."""
    copies: tuple[tuple[str, str], ...] = ()
    """Pairs (copy, original) of their names: where a file holds both, the copy is what the network reads."""
    prefix: str = ""
    """Stands before every name in the files that we write; in those that we read it may be missing."""
    ignored: tuple[str, ...] = ()
    """Regular expressions over their names: tensors beside the weights, which are passed over."""

    @property
    def copy_of(self) -> dict[str, str]:
        """The copy of each of their names that has one."""
        return {original: copy for copy, original in self.copies}

    def is_ignored(self, theirs: str) -> bool:
        """Whether a tensor of theirs is none of our weights, and is not to be."""
        return any(re.fullmatch(pattern, theirs) for pattern in self.ignored)

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
            (r"\.image_k\.", ".add_k_proj."),
            (r"\.image_v\.", ".add_v_proj."),
            (r"\.norm_image_k\.", ".norm_added_k."),
            (r"^image_embed\.", "condition_embedder.image_embedder."),
            (r"image_embedder\.linear1\.", "image_embedder.ff.net.0.proj."),
            (r"image_embedder\.linear2\.", "image_embedder.ff.net.2."),
            (r"image_embedder\.positions$", "image_embedder.pos_embed"),
        ),
        shapes=_dit_shapes(in_channels, patch_size),
    )


def dit_wan(in_channels: int, patch_size: tuple[int, int, int]) -> Layout:
    """The transformer as the Wan team's own code names it, and Self-Forcing, LongLive and others after it."""
    return Layout(
        names=(
            (r"^patch_embed\.", "patch_embedding."),
            (r"^(time|text)_embed\.linear1\.", r"\1_embedding.0."),
            (r"^(time|text)_embed\.linear2\.", r"\1_embedding.2."),
            (r"^time_proj\.", "time_projection.1."),
            (r"^(blocks\.\d+)\.(self|cross)_attention\.", r"\1.\2_attn."),
            (r"_attn\.to_([qkv])\.", r"_attn.\1."),
            (r"_attn\.to_out\.", "_attn.o."),
            (r"_attn\.image_([kv])\.", r"_attn.\1_img."),
            (r"_attn\.norm_image_k\.", "_attn.norm_k_img."),
            (r"^(blocks\.\d+)\.cross_norm\.", r"\1.norm3."),
            (r"^(blocks\.\d+)\.up\.", r"\1.ffn.0."),
            (r"^(blocks\.\d+)\.down\.", r"\1.ffn.2."),
            (r"^out_modulation$", "head.modulation"),
            (r"^proj_out\.", "head.head."),
            (r"^image_embed\.positions$", "img_emb.emb_pos"),
            (r"^image_embed\.norm1\.", "img_emb.proj.0."),
            (r"^image_embed\.linear1\.", "img_emb.proj.1."),
            (r"^image_embed\.linear2\.", "img_emb.proj.3."),
            (r"^image_embed\.norm2\.", "img_emb.proj.4."),
        ),
        shapes=_dit_shapes(in_channels, patch_size),
        ignored=(r"freqs",),
    )


def _dit_shapes(in_channels: int, patch_size: tuple[int, int, int]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return (
        (r"patch_embed\.weight", (-1, in_channels, *patch_size)),
        (r"blocks\.\d+\.modulation", (1, 6, -1)),
        (r"out_modulation", (1, 2, -1)),
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
        shapes=_VAE_SHAPES,
    )


def vae_wan(num_stages: int, blocks_per_stage: int, *, is_residual: bool) -> Layout:
    """The autoencoder as the Wan team's own code names it; Wan2.1 counts the blocks of all stages in one row."""
    places: list[tuple[str, str]] = []
    for half, kind, blocks in (("encoder", "down", blocks_per_stage), ("decoder", "up", blocks_per_stage + 1)):
        for stage in range(num_stages):
            ours = rf"^{half}\.stages\.{stage}\."
            row = f"{half}.{kind}samples."
            first = 0 if is_residual else stage * (blocks + 1)
            if is_residual:
                row += f"{stage}.{kind}samples."
            places += [(rf"{ours}blocks\.{block}\.", f"{row}{first + block}.") for block in range(blocks)]
            places.append((rf"{ours}{kind}\.", f"{row}{first + blocks}."))
    return Layout(
        names=(
            *places,
            (r"\.middle\.block1\.", ".middle.0."),
            (r"\.middle\.block2\.", ".middle.2."),
            (r"\.middle\.attention\.gamma$", ".middle.1.norm.gamma"),
            (r"\.middle\.attention\.to_out\.", ".middle.1.proj."),
            (r"\.middle\.attention\.", ".middle.1."),
            (r"\.norm1\.", ".residual.0."),
            (r"\.conv1\.", ".residual.2."),
            (r"\.norm2\.", ".residual.3."),
            (r"\.conv2\.", ".residual.6."),
            (r"\.space_conv\.", ".resample.1."),
            (r"\.conv_in\.", ".conv1."),
            (r"\.norm_out\.", ".head.0."),
            (r"\.conv_out\.", ".head.2."),
            (r"^to_moments\.", "conv1."),
            (r"^from_latent\.", "conv2."),
        ),
        shapes=_VAE_SHAPES,
    )


_VAE_SHAPES = ((r".*\.attention\.gamma", (-1, 1, 1)), (r".*\.gamma", (-1, 1, 1, 1)))


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

TEXT_WAN = Layout(
    names=(
        (r"^embed\.", "token_embedding."),
        (r"^norm_out\.", "norm."),
        (r"^layers\.", "blocks."),
        (r"\.attention\.to_([qkv])\.", r".attn.\1."),
        (r"\.attention\.to_out\.", ".attn.o."),
        (r"\.attention\.position_bias\.", ".pos_embedding.embedding."),
        (r"\.gate\.", ".ffn.gate.0."),
        (r"\.up\.", ".ffn.fc1."),
        (r"\.down\.", ".ffn.fc2."),
    ),
)
"""The text encoder as the Wan team's own code names it."""

CLIP_TRANSFORMERS = Layout(
    names=(
        (r"^class_token$", "embeddings.class_embedding"),
        (r"^positions$", "embeddings.position_embedding.weight"),
        (r"^patch_embed\.", "embeddings.patch_embedding."),
        (r"^norm_in\.", "pre_layrnorm."),
        (r"^norm_out\.", "post_layernorm."),
        (r"^layers\.", "encoder.layers."),
        (r"\.norm([12])\.", r".layer_norm\1."),
        (r"\.to_([qkv])\.", r".self_attn.\1_proj."),
        (r"\.to_out\.", ".self_attn.out_proj."),
        (r"\.up\.", ".mlp.fc1."),
        (r"\.down\.", ".mlp.fc2."),
    ),
    prefix="vision_model.",
    ignored=(r"embeddings\.position_ids",),
)
"""The image encoder as transformers' CLIPVisionModel."""


def clip_wan(width: int) -> Layout:
    """The image encoder as the Wan team's own code names it: one half of an open_clip model, the other half unused."""
    return Layout(
        names=(
            (r"^class_token$", "cls_embedding"),
            (r"^positions$", "pos_embedding"),
            (r"^patch_embed\.", "patch_embedding."),
            (r"^norm_in\.", "pre_norm."),
            (r"^norm_out\.", "post_norm."),
            (r"^layers\.", "transformer."),
            (r"\.to_[qkv]\.", ".attn.to_qkv."),
            (r"\.to_out\.", ".attn.proj."),
            (r"\.up\.", ".mlp.0."),
            (r"\.down\.", ".mlp.2."),
            (r"^", "visual."),
        ),
        shapes=((r"class_token", (1, 1, -1)), (r"positions", (1, -1, width))),
        ignored=(r"visual\.head", r"textual\..*", r"log_scale"),
    )
