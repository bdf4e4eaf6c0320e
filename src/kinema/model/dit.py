"""The diffusion transformer: noisy latents, a time per latent frame and a text in, velocity out."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kinema.errors import SpecError
from kinema.model.attention import Attention, Mix
from kinema.model.causal import CausalConfig, Sight
from kinema.model.kv_cache import KVCache, LayerMemory
from kinema.model.linear import linear, linear_gelu
from kinema.model.rope import Rotation, video_rotation
from kinema.model.step_cache import StepCache

TIME_SCALE = 1000.0
"""Times in [0, 1] are multiplied by this before the sinusoid, as all models of this family were trained."""


@dataclass(frozen=True, kw_only=True)
class DiTConfig:
    """The sizes of a diffusion transformer."""

    num_heads: int
    """Attention heads."""
    head_dim: int
    """Channels of a head; the width is num_heads * head_dim."""
    num_layers: int
    """Transformer blocks."""
    ffn_dim: int
    """Hidden width of the feed-forward layers."""
    in_channels: int
    """Channels of the latents that come in."""
    out_channels: int
    """Channels of the velocity."""
    text_dim: int
    """Width of the text encoder's output."""
    freq_dim: int = 256
    """Channels of the sinusoid of time."""
    patch_size: tuple[int, int, int] = (1, 2, 2)
    """Latent frames, rows and columns that make one token."""
    eps: float = 1e-6
    """Added to variances."""
    image_dim: int | None = None
    """Width of the image encoder's tokens, which cross-attention reads beside the text; None = it reads text only."""
    image_positions: int | None = None
    """How many image tokens are told apart by learned positions (two pictures, the first and the last); None = none."""

    def __post_init__(self) -> None:
        """Refuse sizes that the architecture cannot have."""
        if self.patch_size[0] != 1:
            raise SpecError(
                f"patch_size {self.patch_size} joins {self.patch_size[0]} latent frames; every frame has a time of its "
                "own, so the first number must be 1"
            )
        if self.head_dim % 2 or self.head_dim < 6 or self.freq_dim % 2:
            raise SpecError(
                f"head_dim={self.head_dim} and freq_dim={self.freq_dim} do not fit: both must be even, head_dim >= 6"
            )

    @property
    def width(self) -> int:
        """Channels of a token."""
        return self.num_heads * self.head_dim


class TextKV(NamedTuple):
    """Keys and values of a text for every layer's cross-attention: computed once per prompt, used at every step.

    Models that read image tokens have those of the pictures beside them. What pads a text to its full length is one
    vector again and again, and may stand there once: as the last key and value, which count `repeats` times.
    """

    keys: tuple[Float[Tensor, "b k a e"], ...]
    values: tuple[Float[Tensor, "b k a e"], ...]
    image_keys: tuple[Float[Tensor, "b m a e"], ...] = ()
    image_values: tuple[Float[Tensor, "b m a e"], ...] = ()
    repeats: int = 1

    def texts(self, which: slice) -> "TextKV":
        """The same of some texts of the batch only."""
        keys, values, image_keys, image_values = (tuple(part[which] for part in parts) for parts in self.tensors)
        return TextKV(keys, values, image_keys, image_values, self.repeats)

    @property
    def tensors(self) -> tuple[tuple[Tensor, ...], ...]:
        """Keys and values of the texts, then those of the pictures, one for each layer."""
        return self[:4]


class Modulation(NamedTuple):
    """How a normalised activation is scaled and shifted, and how its result is weighed; per latent frame."""

    shift: Float[Tensor, "b t 1 d"]
    scale: Float[Tensor, "b t 1 d"]
    gate: Float[Tensor, "b t 1 d"]


class Projection(nn.Module):
    """Two linear layers with an activation between them: embeds time and text."""

    def __init__(self, in_dim: int, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(in_dim, width)
        self.linear2 = nn.Linear(width, width)


class ImageProjection(nn.Module):
    """Two linear layers between two norms: brings image tokens to the width of the transformer."""

    def __init__(self, config: DiTConfig, image_dim: int) -> None:
        super().__init__()
        self.positions = None
        if config.image_positions is not None:
            self.positions = nn.Parameter(torch.zeros(1, config.image_positions, image_dim))
        self.norm1 = nn.LayerNorm(image_dim)
        self.linear1 = nn.Linear(image_dim, image_dim)
        self.linear2 = nn.Linear(image_dim, config.width)
        self.norm2 = nn.LayerNorm(config.width)

    def forward(self, tokens: Float[Tensor, "b m image_dim"]) -> Float[Tensor, "b m d"]:
        """Map the tokens of one picture, or of as many as there are positions for."""
        if self.positions is not None:
            if tokens.shape[1] != self.positions.shape[1]:
                raise SpecError(
                    f"this model reads {self.positions.shape[1]} image tokens, those of a first and a last picture, "
                    f"not {tokens.shape[1]}; give both pictures"
                )
            tokens = tokens + self.positions
        return self.norm2(self.linear2(F.gelu(self.linear1(self.norm1(tokens)))))


class Block(nn.Module):
    """Self-attention, cross-attention onto the text and a feed-forward layer, the first and last modulated by time."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width = config.width
        self.eps = config.eps
        self.self_attention = Attention(width, config.num_heads, config.eps)
        self.cross_norm = nn.LayerNorm(width, config.eps)
        self.cross_attention = Attention(width, config.num_heads, config.eps, reads_image=config.image_dim is not None)
        self.up = nn.Linear(width, config.ffn_dim)
        self.down = nn.Linear(config.ffn_dim, width)
        self.modulation = nn.Parameter(torch.zeros(6, width))

    def forward(
        self,
        x: Float[Tensor, "#b t s d"],
        time: Float[Tensor, "#b t 6 d"],
        text_key: Float[Tensor, "b k a e"],
        text_value: Float[Tensor, "b k a e"],
        rotation: Rotation,
        sights: Sequence[Sight] | None = None,
        memory: LayerMemory | None = None,
        image: tuple[Tensor, Tensor] | None = None,
        repeats: int = 1,
    ) -> Float[Tensor, "b t s d"]:
        """Map the tokens, `s` per latent frame, to tokens of the same shape.

        `image` is keys and values; the last key of the text counts `repeats` times.
        """
        chunks = (self.modulation.to(time.dtype) + time).unsqueeze(3).unbind(2)  # six of b t 1 d
        attention, feed_forward = Modulation(*chunks[:3]), Modulation(*chunks[3:])
        h = modulated_norm(x, attention.shift, attention.scale, self.eps)
        h = self.self_attention.over(h.flatten(1, 2), rotation, sights=sights, memory=memory)
        x = torch.addcmul(x, h.view(x.shape), attention.gate)
        h = F.layer_norm(
            x, x.shape[-1:], self.cross_norm.weight.to(x.dtype), self.cross_norm.bias.to(x.dtype), self.eps
        )
        h = self.cross_attention.onto(h.flatten(1, 2), text_key, text_value, image, repeats)
        x = x + h.unflatten(1, x.shape[1:3])
        h = modulated_norm(x, feed_forward.shift, feed_forward.scale, self.eps)
        h = linear(linear_gelu(h, self.up), self.down)
        return torch.addcmul(x, h, feed_forward.gate)


class DiT(nn.Module):
    """Predict the velocity of noisy latents (Wan, arXiv 2503.20314; the same numbers as WanTransformer3DModel).

    Every latent frame has a time of its own (Wan2.2-TI2V-5B's way): given frames stand at time 0.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        patch = math.prod(config.patch_size)
        self.patch_embed = nn.Linear(config.in_channels * patch, width)
        self.time_embed = Projection(config.freq_dim, width)
        self.time_proj = nn.Linear(width, 6 * width)
        self.text_embed = Projection(config.text_dim, width)
        self.image_embed = None if config.image_dim is None else ImageProjection(config, config.image_dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.visit: Callable[[nn.ModuleList], Iterator[nn.Module]] = iter  # weights may come and go as it goes on
        self.out_modulation = nn.Parameter(torch.zeros(2, width))
        self.proj_out = nn.Linear(width, config.out_channels * patch)
        if not self.patch_embed.weight.is_meta:  # to draw nothing would import the compiler, which takes a second
            init_weights(self)

    def forward(
        self,
        latent: Float[Tensor, "#b c t y x"],
        time: Float[Tensor, "#b t"],
        text: "TextKV | Float[Tensor, 'b k text_dim']",
        *,
        frames: Sequence[int] | None = None,
        sights: Sequence[Sight] | None = None,
        cache: KVCache | None = None,
        steps: StepCache | None = None,
    ) -> Float[Tensor, "b c_out t y x"]:
        """Give the velocity, in the data type of `latent`.

        `time` is in [0, 1], 1 being noise; `text` is the text encoder's output or, cheaper when it serves many steps,
        what `text_kv` made of it. Rows and columns must be multiples of the patch (SpecError). `frames` are the rotary
        positions of the latent frames (0, 1, 2, ... unless given), and `sights` say which token sees which
        (`causal.sights`; all see all unless given). With a `cache`, the latent is its open block. `steps` leaves out
        blocks of a step that would hardly differ from the one before. One latent (b = 1) under several texts gives a
        velocity for each of them; what comes before the first text is computed once.
        """
        b, _, t, y, x = latent.shape
        _, p, q = self.config.patch_size
        if y % p or x % q:
            raise SpecError(f"latents of {y} x {x} do not divide into patches of {p} x {q}; use multiples of these")
        text_kv = text if isinstance(text, TextKV) else self.text_kv(text)
        dtype = self.patch_embed.weight.dtype

        patches = latent.to(dtype).view(b, -1, t, y // p, p, x // q, q).permute(0, 2, 3, 5, 1, 4, 6)
        h = self.patch_embed(patches.flatten(4).flatten(2, 3))  # b t s d
        memories: Sequence[LayerMemory | None] = [None] * len(self.blocks)
        if cache is None:
            rotation = video_rotation((t, y // p, x // q), self.config.head_dim, frames=frames, device=latent.device)
        else:
            rotation, memories = cache.layers()
        rotation = Rotation(rotation.cos.to(h.dtype), rotation.sin.to(h.dtype))
        embedded = self.embed_time(time, h.dtype)  # b t d
        modulation = self.time_proj(F.silu(embedded)).unflatten(-1, (6, -1))
        layers = zip(self.visit(self.blocks), text_kv.keys, text_kv.values, memories, strict=True)
        start, rest = h, None
        for i, (block, key, value, memory) in enumerate(layers):
            image = (text_kv.image_keys[i], text_kv.image_values[i]) if text_kv.image_keys else None
            h = block(h, modulation, key, value, rotation, sights, memory, image, text_kv.repeats)
            if i == 0 and steps is not None:
                first = h
                rest = steps.recall(first - start)
                if rest is not None:
                    h = first + rest
                    break
        if steps is not None and rest is None:
            steps.remember(first - start, h - first)

        shift, scale = (self.out_modulation.to(h.dtype) + embedded[:, :, None]).unsqueeze(3).unbind(2)
        h = self.proj_out(modulated_norm(h, shift, scale, self.config.eps))
        h = h.view(-1, t, y // p, x // q, p, q, self.config.out_channels).permute(0, 6, 1, 2, 4, 3, 5)
        return h.reshape(-1, self.config.out_channels, t, y, x).to(latent.dtype)

    def new_cache(
        self,
        config: CausalConfig,
        size: tuple[int, int],
        *,
        max_frames: int | None = None,
        batch: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> KVCache:
        """Make an empty memory for video of latents of `size` (rows, columns); see `KVCache`."""
        _, p, q = self.config.patch_size
        return KVCache(
            config,
            num_layers=len(self.blocks),
            size=(size[0] // p, size[1] // q),
            num_heads=self.config.num_heads,
            head_dim=self.config.head_dim,
            max_frames=max_frames,
            batch=batch,
            dtype=dtype,
            device=self.patch_embed.weight.device,
        )

    def attend_by(self, mix: Mix) -> None:
        """Compute the attention of all blocks by `mix` (`choose_attention`)."""
        for block in self.blocks:
            assert isinstance(block, Block)
            block.self_attention.mix = block.cross_attention.mix = mix

    def text_kv(
        self,
        text: Float[Tensor, "b k text_dim"],
        image: Float[Tensor, "b m image_dim"] | None = None,
        *,
        repeats: int = 1,
    ) -> TextKV:
        """Compute the keys and values of a text for all layers, once per prompt, and of the tokens of a picture.

        The last token stands for `repeats` like it (`text.fold_padding`).
        Raises SpecError for a picture where the model reads none, and where it reads one and there is none.
        """
        if (image is None) != (self.image_embed is None):
            needs = "reads no picture beside the text" if self.image_embed is None else "reads a picture; give one"
            raise SpecError(f"this model {needs}")
        text = self.text_embed.linear1(text.to(self.patch_embed.weight.dtype))
        text = self.text_embed.linear2(F.gelu(text, approximate="tanh"))
        seen = None
        if image is not None and self.image_embed is not None:
            seen = self.image_embed(image.to(self.patch_embed.weight.dtype))
        pairs, image_pairs = [], []
        for block in cast("Iterator[Block]", self.visit(self.blocks)):
            pairs.append(block.cross_attention.key_value(text))
            if seen is not None:
                image_pairs.append(block.cross_attention.image_key_value(seen))
        return TextKV(
            tuple(key for key, _ in pairs),
            tuple(value for _, value in pairs),
            tuple(key for key, _ in image_pairs),
            tuple(value for _, value in image_pairs),
            repeats,
        )

    def embed_time(self, time: Float[Tensor, "b t"], dtype: torch.dtype) -> Float[Tensor, "b t d"]:
        """Embed times in [0, 1] as cosines and sines of 1000 time, mapped to the width."""
        half = self.config.freq_dim // 2
        steps = torch.arange(half, device=time.device, dtype=torch.float32)
        angles = (time * TIME_SCALE).float()[..., None] * torch.exp(-math.log(10000.0) / half * steps)
        waves = torch.cat([angles.cos(), angles.sin()], dim=-1).to(self.patch_embed.weight.dtype)
        return self.time_embed.linear2(F.silu(self.time_embed.linear1(waves))).to(dtype)


def modulated_norm(
    x: Float[Tensor, "b t s d"], shift: Float[Tensor, "#b t 1 d"], scale: Float[Tensor, "#b t 1 d"], eps: float
) -> Float[Tensor, "b t s d"]:
    """Normalise each token, then scale by 1 + scale and shift: layer norm whose weights are the time's."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=eps), 1 + scale)


def init_weights(dit: DiT) -> None:
    """Set every weight of a new transformer, so that it starts as the identity on tokens and predicts zero velocity.

    n = fan-in of the layer, L = number of blocks.

    | parameter                                              | start                              |
    |--------------------------------------------------------|------------------------------------|
    | every bias                                             | 0                                  |
    | every norm weight                                      | 1                                  |
    | patch_embed, time_embed, text_embed, image_embed       | normal, std n^-1/2                 |
    | blocks: to_q, to_k, to_v, image_k, image_v, up         | normal, std n^-1/2                 |
    | blocks: to_out, down                                   | normal, std (2 L n)^-1/2           |
    | time_proj, proj_out                                    | 0                                  |
    | blocks: modulation                                     | shift 0, scale 0, gate 1           |
    | out_modulation                                         | 0                                  |

    The zero time_proj is that of adaLN-zero (DiT, 2212.09748); the gates start open, and small outputs keep the sum of
    the branches at the size of the input (GPT-2).
    """
    for name, module in dit.named_modules():
        if isinstance(module, nn.Linear):
            fan_in = module.in_features * (2 * len(dit.blocks) if name.endswith((".to_out", ".down")) else 1)
            is_zero = name in ("time_proj", "proj_out")
            nn.init.normal_(module.weight, std=0.0 if is_zero else fan_in**-0.5)
            nn.init.zeros_(module.bias)
    for block in cast("Iterable[Block]", dit.blocks):
        with torch.no_grad():
            block.modulation.zero_()[[2, 5]] = 1.0
    nn.init.zeros_(dit.out_modulation)
