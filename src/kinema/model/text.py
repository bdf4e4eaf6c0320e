"""The text encoder (UMT5, a T5 whose layers each have position biases of their own) and its tokenizer."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from kinema.checkpoint.weights import read_json
from kinema.errors import CheckpointError, SpecError
from kinema.model.attention import attend
from kinema.model.norm import RMSNorm

DEFAULT_MAX_TOKENS = 512
"""What the published models read, for tokenizers that name no limit."""

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True, kw_only=True)
class TextEncoderConfig:
    """The sizes of a UMT5 encoder."""

    vocab_size: int
    """Rows of the embedding: tokens that the tokenizer may give."""
    d_model: int
    """Width, which is also the width of what the transformer reads."""
    d_ff: int
    """Hidden width of the gated feed-forward layers."""
    num_layers: int
    """Layers."""
    num_heads: int
    """Attention heads."""
    head_dim: int = 64
    """Channels of a head; num_heads * head_dim need not be d_model."""
    num_buckets: int = 32
    """Classes of distance between two tokens; each has a bias per head."""
    max_distance: int = 128
    """Distances from here on share the last class."""
    eps: float = 1e-6
    """Added to mean squares."""


class TextAttention(nn.Module):
    """Unscaled multi-head attention with a learned bias per distance class."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        inner = config.num_heads * config.head_dim
        self.num_heads = config.num_heads
        self.to_q = nn.Linear(config.d_model, inner, bias=False)
        self.to_k = nn.Linear(config.d_model, inner, bias=False)
        self.to_v = nn.Linear(config.d_model, inner, bias=False)
        self.to_out = nn.Linear(inner, config.d_model, bias=False)
        self.position_bias = _table(config.num_buckets, config.num_heads)

    def forward(
        self, x: Float[Tensor, "b k d"], buckets: Int[Tensor, "k k"], padding: Float[Tensor, "b 1 1 k"]
    ) -> Float[Tensor, "b k d"]:
        """Let every token attend to all tokens that are not padding."""
        q, k, v = (to(x).unflatten(-1, (self.num_heads, -1)) for to in (self.to_q, self.to_k, self.to_v))
        position = self.position_bias(buckets).permute(2, 0, 1)[None]  # 1 a k k
        return self.to_out(attend(q, k, v, scale=1.0, bias=position.to(q.dtype) + padding.to(q.dtype)).flatten(2))


class TextLayer(nn.Module):
    """Attention and a gated feed-forward layer, each normalised before and added after."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.norm1 = RMSNorm(config.d_model, config.eps)
        self.attention = TextAttention(config)
        self.norm2 = RMSNorm(config.d_model, config.eps)
        self.gate = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.up = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor, buckets: Tensor, padding: Tensor) -> Tensor:
        """Map `b k d` to the same shape."""
        x = x + self.attention(self.norm1(x), buckets, padding)
        h = self.norm2(x)
        return x + self.down(F.gelu(self.gate(h), approximate="tanh") * self.up(h))


class TextEncoder(nn.Module):
    """Read prompts: the encoder of UMT5 (Chung et al. 2023, arXiv 2304.09151), as transformers computes it."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = _table(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(TextLayer(config) for _ in range(config.num_layers))
        self.visit: Callable[[nn.ModuleList], Iterator[nn.Module]] = iter  # weights may come and go as it goes on
        self.norm_out = RMSNorm(config.d_model, config.eps)
        if not self.embed.weight.is_meta:  # to draw nothing would import the compiler, which takes a second
            init_text_weights(self)

    def forward(
        self, ids: Int[Tensor, "b k"], mask: Int[Tensor, "b k"] | Bool[Tensor, "b k"]
    ) -> Float[Tensor, "b k d"]:
        """Give one vector per token; `mask` is 1 on tokens and 0 on padding, whose vectors come out as zeros."""
        buckets = distance_buckets(ids.shape[1], self.config, ids.device)
        is_token = mask.bool()
        x = self.embed(ids)
        lowest = torch.finfo(torch.bfloat16).min
        padding = torch.zeros(mask.shape, device=ids.device).masked_fill(~is_token, lowest)[:, None, None]
        for layer in self.visit(self.layers):
            x = layer(x, buckets, padding)
        return self.norm_out(x) * is_token[..., None]


def embed_tokens(
    text: nn.Module, ids: Int[Tensor, "b k"], mask: Int[Tensor, "b k"], device: torch.device
) -> Float[Tensor, "b k d"]:
    """Encode token ids on a device at their own longest length, then pad with zeros to their full length.

    Tokens see no padding and only distances to each other, so the numbers are the same but for rounding.
    """
    longest = max(1, int(mask.sum(dim=1).max()))
    embedded: Tensor = text(ids[:, :longest].to(device), mask[:, :longest].to(device))
    return F.pad(embedded, (0, 0, 0, ids.shape[1] - longest))


def fold_padding(embedded: Float[Tensor, "b k d"], length: int) -> tuple[Float[Tensor, "b k2 d"], int]:
    """Leave one of the zeros that pad texts of at most `length` tokens, and say how many it stands for.

    Nobody then pays for all the tokens that a prompt might have had: keys and values of padding are all alike.
    """
    return embedded[:, : length + 1], max(1, embedded.shape[1] - length)


def distance_buckets(length: int, config: TextEncoderConfig, device: torch.device) -> Int[Tensor, "k k"]:
    """Class of the distance from each token (row) to each other (column), as T5 does (Raffel et al., 1910.10683).

    One half of the classes is for tokens after, the other for tokens before and itself; in each, short distances have
    a class of their own and longer ones share classes that widen logarithmically up to max_distance.
    """
    positions = torch.arange(length, device=device)
    distance = positions[None] - positions[:, None]
    half = config.num_buckets // 2
    exact = half // 2
    far = torch.log(distance.abs().clamp_min(1).float() / exact) / math.log(config.max_distance / exact)
    far = (exact + (far * (half - exact)).long()).clamp_max(half - 1)
    return torch.where(distance.abs() < exact, distance.abs(), far) + half * (distance > 0)


def _table(rows: int, width: int) -> nn.Embedding:
    """Make a table whose numbers are still to be set."""
    return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)


def init_text_weights(encoder: TextEncoder) -> None:
    """Set every weight of a new text encoder (T5's own start, in which attention needs no scaling).

    d = d_model, e = head_dim, n = fan-in of the layer.

    | parameter                          | start                    |
    |------------------------------------|--------------------------|
    | embed                              | normal, std 1            |
    | to_q                               | normal, std (d e)^-1/2   |
    | to_k, to_v, to_out, gate, up, down | normal, std n^-1/2       |
    | position_bias                      | normal, std d^-1/2       |
    | every norm weight                  | 1                        |
    """
    config = encoder.config
    nn.init.normal_(encoder.embed.weight)
    for name, module in encoder.layers.named_modules():
        if isinstance(module, nn.Linear):
            scale = config.head_dim if name.endswith(".to_q") else 1
            nn.init.normal_(module.weight, std=(module.in_features * scale) ** -0.5)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=config.d_model**-0.5)


class Tokenizer:
    """Turn prompts into tokens, refusing prompts that are too long instead of cutting them."""

    def __init__(self, tokenizer: Any) -> None:
        """Wrap a fast tokenizer of transformers; `max_tokens` is its `model_max_length`."""
        self.tokenizer = tokenizer
        limit = int(tokenizer.model_max_length)
        self.max_tokens = limit if limit < 10**6 else DEFAULT_MAX_TOKENS  # transformers' "no limit" is 10^30

    @classmethod
    def load(cls, folder: str | Path) -> "Tokenizer":
        """Read a tokenizer folder. Raises CheckpointError, naming the file, where it cannot be read."""
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # transformers raises many kinds, AttributeError among them, for a damaged file
            for name in TOKENIZER_FILES:
                if (Path(folder) / name).exists():
                    read_json(Path(folder) / name)  # says what is wrong with it
            if not any((Path(folder) / name).exists() for name in (TOKENIZER_FILES[0], "spiece.model")):
                raise CheckpointError(
                    f"{Path(folder) / TOKENIZER_FILES[0]} is missing; a model folder needs it"
                ) from None
            words = " ".join(str(error).split())
            raise CheckpointError(f"{folder} holds no tokenizer that can be read ({words}); fetch it again") from error
        if tokenizer.pad_token_id is None:
            raise CheckpointError(f"{folder}: the tokenizer has no pad_token; add one to tokenizer_config.json")
        return cls(tokenizer)

    def save(self, folder: str | Path) -> None:
        """Write the tokenizer as transformers does."""
        self.tokenizer.save_pretrained(str(folder))

    def count(self, prompt: str) -> int:
        """How many tokens the prompt takes, its end mark included."""
        return len(self._tokens([prompt])[0])

    def encode(self, prompts: Sequence[str], kind: str = "prompt") -> tuple[Int[Tensor, "b k"], Int[Tensor, "b k"]]:
        """Give token ids and a mask of 1 on tokens, both padded to `max_tokens`.

        Runs of white space count as one space. Raises SpecError, with the count, for a prompt of more tokens;
        `kind` is what it calls one.
        """
        ids = torch.full((len(prompts), self.max_tokens), self.tokenizer.pad_token_id, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(self._tokens(prompts)):
            if len(tokens) > self.max_tokens:
                raise SpecError(
                    f"the {kind} has {len(tokens)} tokens, but this model reads at most {self.max_tokens}; "
                    f"shorten it by about {math.ceil(100 * (1 - self.max_tokens / len(tokens)))} %"
                )
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        return ids, mask

    def places(self, prompts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Give where each token stands in its prompt, as first character and the one after the last.

        Marks that stand for no characters are at (0, 0). For prompts without runs of white space.
        """
        found = self.tokenizer(list(prompts), add_special_tokens=True, return_offsets_mapping=True, verbose=False)
        places: list[list[tuple[int, int]]] = found["offset_mapping"]
        return places

    def _tokens(self, prompts: Sequence[str]) -> list[list[int]]:
        texts = [" ".join(prompt.split()) for prompt in prompts]
        tokens: list[list[int]] = self.tokenizer(texts, add_special_tokens=True, verbose=False)["input_ids"]
        return tokens
