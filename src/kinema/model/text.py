"""The text encoder: UMT5's encoder, and the tokenizer that feeds it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from kinema.errors import SpecError
from kinema.model.attention import attend
from kinema.model.norm import RMSNorm


@dataclass(frozen=True, kw_only=True)
class TextEncoderConfig:
    """The sizes of a text encoder."""

    vocab_size: int
    """Tokens that exist."""
    width: int
    """Channels of a token (d_model)."""
    num_heads: int
    """Attention heads."""
    head_dim: int
    """Channels of a head (d_kv)."""
    ffn_dim: int
    """Hidden width of the gated feed-forward layers (d_ff)."""
    num_layers: int
    """Blocks."""
    num_buckets: int = 32
    """Classes of relative distance, half of them for tokens to the right."""
    max_distance: int = 128
    """Distance from which on all tokens fall into the last class."""
    eps: float = 1e-6
    """Added to mean squares."""


class TextBlock(nn.Module):
    """Self-attention with a learnt bias per relative distance, then a gated feed-forward layer; both pre-normalised."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        inner = config.num_heads * config.head_dim
        self.num_heads = config.num_heads
        self.attention_norm = RMSNorm(config.width, config.eps)
        self.to_q = nn.Linear(config.width, inner, bias=False)
        self.to_k = nn.Linear(config.width, inner, bias=False)
        self.to_v = nn.Linear(config.width, inner, bias=False)
        self.to_out = nn.Linear(inner, config.width, bias=False)
        self.distance_bias = nn.Embedding(config.num_buckets, config.num_heads)
        self.ffn_norm = RMSNorm(config.width, config.eps)
        self.gate = nn.Linear(config.width, config.ffn_dim, bias=False)
        self.up = nn.Linear(config.width, config.ffn_dim, bias=False)
        self.down = nn.Linear(config.ffn_dim, config.width, bias=False)

    def forward(
        self, x: Float[Tensor, "b k d"], buckets: Int[Tensor, "k k"], mask: Bool[Tensor, "b k"]
    ) -> Float[Tensor, "b k d"]:
        """Map the tokens to tokens of the same shape; T5 does not scale the scores."""
        h = self.attention_norm(x)
        q, k, v = (
            layer(h).unflatten(-1, (self.num_heads, -1)) for layer in (self.to_q, self.to_k, self.to_v)
        )  # b k a e
        bias = self.distance_bias(buckets).permute(2, 0, 1).to(q.dtype)  # a k k
        bias = bias.masked_fill(~mask[:, None, None], torch.finfo(q.dtype).min)  # b a k k
        x = x + self.to_out(attend(q, k, v, scale=1.0, bias=bias).flatten(2))
        h = self.ffn_norm(x)
        return x + self.down(F.gelu(self.gate(h), approximate="tanh") * self.up(h))


class TextEncoder(nn.Module):
    """Turn token ids into the embeddings that the diffusion transformer attends to.

    The same numbers as transformers' UMT5EncoderModel (Chung et al. 2023, arXiv 2304.09151): every layer has a bias of
    its own per relative distance (Raffel et al. 2020, section 2.1). Positions past the prompt come out as zeros.
    """

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(TextBlock(config) for _ in range(config.num_layers))
        self.norm_out = RMSNorm(config.width, config.eps)
        init_text_weights(self)

    def forward(self, ids: Int[Tensor, "b k"], mask: Int[Tensor, "b k"]) -> Float[Tensor, "b k d"]:
        """Encode prompts; `mask` is 1 for the prompt's tokens and 0 for the padding after them."""
        x = self.token_embedding(ids)
        buckets = distance_buckets(ids.shape[1], self.config.num_buckets, self.config.max_distance).to(ids.device)
        for block in self.blocks:
            x = block(x, buckets, mask.bool())
        return self.norm_out(x) * mask[..., None].to(x.dtype)


def distance_buckets(length: int, num_buckets: int, max_distance: int) -> Int[Tensor, "k k"]:
    """Give the class of distance from each token (row) to each other (column): exact when near, logarithmic when far."""
    place = torch.arange(length)
    distance = place[None, :] - place[:, None]
    half = num_buckets // 2
    exact = half // 2
    far = distance.abs().clamp_min(1).float()
    logarithmic = exact + (torch.log(far / exact) / math.log(max_distance / exact) * (half - exact)).long()
    near = torch.where(distance.abs() < exact, distance.abs(), logarithmic.clamp_max(half - 1))
    return near + half * (distance > 0)


def init_text_weights(encoder: TextEncoder) -> None:
    """Set every weight of a new encoder as T5 does (d = width, e = head_dim, a = heads, f = ffn_dim).

    | parameter                       | start                          |
    |---------------------------------|--------------------------------|
    | token_embedding                 | normal, std 1                  |
    | to_q                            | normal, std (d e)^-1/2         |
    | to_k, to_v, gate, up            | normal, std d^-1/2             |
    | to_out                          | normal, std (a e)^-1/2         |
    | down                            | normal, std f^-1/2             |
    | distance_bias                   | normal, std d^-1/2             |
    | norms                           | 1                              |
    """
    config = encoder.config
    nn.init.normal_(encoder.token_embedding.weight)
    for block in encoder.blocks:
        assert isinstance(block, TextBlock)
        nn.init.normal_(block.to_q.weight, std=(config.width * config.head_dim) ** -0.5)
        for layer in (block.to_k, block.to_v, block.gate, block.up, block.distance_bias):
            nn.init.normal_(layer.weight, std=config.width**-0.5)
        nn.init.normal_(block.to_out.weight, std=(config.num_heads * config.head_dim) ** -0.5)
        nn.init.normal_(block.down.weight, std=config.ffn_dim**-0.5)


class Tokenizer:
    """Turns prompts into token ids of one length, and refuses prompts that are too long."""

    def __init__(self, tokenizer: Any) -> None:
        """Wrap a fast tokenizer of transformers; its `model_max_length` is the limit, the end mark included."""
        self.tokenizer = tokenizer
        self.max_tokens = int(tokenizer.model_max_length)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a tokenizer folder."""
        from transformers import AutoTokenizer

        return cls(AutoTokenizer.from_pretrained(folder))

    def encode(self, prompts: Sequence[str]) -> tuple[Int[Tensor, "b k"], Int[Tensor, "b k"]]:
        """Give ids and mask, padded to `max_tokens`; raises SpecError for a prompt over the limit, with its count."""
        encoded = self.tokenizer(list(prompts), padding="max_length", max_length=self.max_tokens, truncation=False)
        for prompt, ids in zip(prompts, encoded["input_ids"], strict=True):
            if len(ids) > self.max_tokens:
                raise SpecError(
                    f"the prompt {prompt[:40]!r}... has {len(ids)} tokens; the model takes {self.max_tokens}, so "
                    f"shorten it by {len(ids) - self.max_tokens} or more"
                )
        return torch.tensor(encoded["input_ids"]), torch.tensor(encoded["attention_mask"])
