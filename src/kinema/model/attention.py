"""Attention, and the one place that picks how it is computed."""

import functools
import importlib
import math
import warnings
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from kinema.config import unknown
from kinema.errors import SpecError
from kinema.model.causal import Sight
from kinema.model.kv_cache import LayerMemory
from kinema.model.linear import linear
from kinema.model.norm import RMSNorm
from kinema.model.rope import Rotation, rotate

MAX_SCORES = 2**26
"""Largest score matrix (numbers, over batch and heads) that a CPU holds at once in bfloat16: 128 MB."""


def attend(
    query: Float[Tensor, "b n a e"],
    key: Float[Tensor, "b k a e"],
    value: Float[Tensor, "b k a e"],
    *,
    scale: float | None = None,
    bias: Float[Tensor, "#b #a n k"] | None = None,
    repeats: int = 1,
) -> Float[Tensor, "b n a e"]:
    """Mix values by softmax(scale * query . key + bias); `scale` is 1 / sqrt(e) unless given.

    The last key counts `repeats` times, as if it stood there so often.

    PyTorch's fused kernel for CPUs has bfloat16 products only with AMX, and only forward. Without them, plain batched
    products are five times as fast forward and backward (80 tokens) to twice as fast (576 tokens); with them, the fused
    kernel is 1.6 times as fast forward (320 tokens).
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    num_scores = query.shape[0] * query.shape[2] * query.shape[1] * key.shape[1]
    is_half_on_cpu = query.device.type == "cpu" and query.dtype == torch.bfloat16
    if is_half_on_cpu and num_scores <= MAX_SCORES and (torch.is_grad_enabled() or not has_tiles()):
        return _attend_by_products(query, key, value, scale, bias, repeats)
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    if repeats > 1:
        often = q.new_zeros(k.shape[2]).index_fill(0, torch.tensor([k.shape[2] - 1]).to(q.device), math.log(repeats))
        bias = often.expand(1, 1, q.shape[2], -1) if bias is None else bias + often
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale).transpose(1, 2)


@functools.cache
def has_tiles() -> bool:
    """Whether this CPU multiplies tiles of bfloat16 (Intel's AMX)."""
    return bool(torch.cpu._is_amx_tile_supported())


def _attend_by_products(
    query: Tensor, key: Tensor, value: Tensor, scale: float, bias: Tensor | None, repeats: int = 1
) -> Tensor:
    b, n, a, e = query.shape
    q = (query * scale).transpose(1, 2).reshape(b * a, n, e)
    k, v = (x.transpose(1, 2).reshape(b * a, -1, e) for x in (key, value))
    scores = torch.bmm(q, k.transpose(1, 2))
    if bias is not None:
        scores = (scores.view(b, a, n, -1) + bias).flatten(0, 1)
    if repeats > 1:
        scores[..., -1:] += math.log(repeats)
    return torch.bmm(torch.softmax(scores, dim=-1), v).view(b, a, n, e).transpose(1, 2)


Mix = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(query, key, value) -> mixed values, of the shapes that `attend` takes."""


def _torch_kernel(which: SDPBackend) -> Mix:
    def kernel(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in (query, key, value))
        with sdpa_kernel(which):
            return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)

    return kernel


def _products(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return _attend_by_products(query, key, value, query.shape[-1] ** -0.5, None)


def _package_kernel(module: str, function: str) -> Mix:
    def kernel(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        mixed = getattr(importlib.import_module(module), function)(query, key, value)
        return mixed[0] if isinstance(mixed, tuple) else mixed

    return kernel


def _sage(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    mixed: Tensor = importlib.import_module("sageattention").sageattn(query, key, value, tensor_layout="NHD")
    return mixed


KERNELS: dict[str, Mix] = {
    "cudnn": _torch_kernel(SDPBackend.CUDNN_ATTENTION),
    "flash": _torch_kernel(SDPBackend.FLASH_ATTENTION),
    "efficient": _torch_kernel(SDPBackend.EFFICIENT_ATTENTION),
    "math": _torch_kernel(SDPBackend.MATH),
    "products": _products,
    "flash3": _package_kernel("flash_attn_interface", "flash_attn_func"),  # not measured
    "flash2": _package_kernel("flash_attn", "flash_attn_func"),  # not measured
    "sage": _sage,  # 8-bit products: other numbers; not measured
}
"""Ways to compute attention: PyTorch's own, and packages for GPUs, by the name a person gives."""


def choose_attention(name: str, device: torch.device, dtype: torch.dtype, head_dim: int) -> Mix:
    """Give what computes attention; "auto" leaves it to `attend`.

    Each is tried on a few tokens before it is promised. Raises SpecError for a name that is unknown, or that cannot be
    had on this device, in this number type and at this width of a head; it says which can.
    """
    if name == "auto":
        return attend
    if name not in KERNELS:
        raise SpecError(unknown("attention", name, ("auto", *KERNELS)))
    kernel = KERNELS[name]
    problem = _problem(kernel, device, dtype, head_dim)
    if problem is not None:
        fits = ["auto", *(other for other in KERNELS if _problem(KERNELS[other], device, dtype, head_dim) is None)]
        raise SpecError(
            f"attention={name} does not run here, on {device.type} in {str(dtype).removeprefix('torch.')} "
            f"({problem}); use {' or '.join(fits)}"
        )

    return kernel


def _problem(kernel: Mix, device: torch.device, dtype: torch.dtype, head_dim: int) -> str | None:
    """Why a kernel cannot be used; None = it can."""
    tokens = torch.zeros(1, 16, 2, head_dim, device=device, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of every kernel that it passes over
        try:
            kernel(tokens, tokens, tokens)
        except (ImportError, RuntimeError, AssertionError, ValueError, TypeError) as error:
            return f"{error}".strip().split("\n")[0].rstrip(".") or type(error).__name__
    return None


class Attention(nn.Module):
    """Multi-head attention with root-mean-square-normalised queries and keys, over the video or onto the text."""

    def __init__(self, width: int, num_heads: int, eps: float, *, reads_image: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.mix: Mix = attend
        self.to_q = nn.Linear(width, width)
        self.to_k = nn.Linear(width, width)
        self.to_v = nn.Linear(width, width)
        self.to_out = nn.Linear(width, width)
        self.norm_q = RMSNorm(width, eps)
        self.norm_k = RMSNorm(width, eps)
        self.image_k = nn.Linear(width, width) if reads_image else None
        self.image_v = nn.Linear(width, width) if reads_image else None
        self.norm_image_k = RMSNorm(width, eps) if reads_image else None

    def query(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n a e"]:
        """Project to normalised queries, one per head; the norm runs over all heads together."""
        return self.norm_q(linear(x, self.to_q)).unflatten(-1, (self.num_heads, -1))

    def key_value(self, x: Float[Tensor, "b k d"]) -> tuple[Float[Tensor, "b k a e"], Float[Tensor, "b k a e"]]:
        """Project to normalised keys and to values."""
        key = self.norm_k(linear(x, self.to_k)).unflatten(-1, (self.num_heads, -1))
        return key, linear(x, self.to_v).unflatten(-1, (self.num_heads, -1))

    def image_key_value(self, x: Float[Tensor, "b m d"]) -> tuple[Float[Tensor, "b m a e"], Float[Tensor, "b m a e"]]:
        """Project the tokens of a picture to normalised keys and to values, by weights of their own."""
        assert self.image_k is not None
        assert self.image_v is not None
        assert self.norm_image_k is not None
        key = self.norm_image_k(self.image_k(x)).unflatten(-1, (self.num_heads, -1))
        return key, self.image_v(x).unflatten(-1, (self.num_heads, -1))

    def over(
        self,
        x: Float[Tensor, "b n d"],
        rotation: Rotation,
        *,
        sights: Sequence[Sight] | None = None,
        memory: LayerMemory | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Let every token attend to all tokens of x, or to those that `sights` show it, and to those in `memory`."""
        query, (key, value), key_rotation = self.query(x), self.key_value(x), rotation
        if sights is not None:
            mixed = self._mix_by(sights, query, key, value, rotation)
            return linear(mixed.flatten(2), self.to_out)
        if memory is not None:
            key, value = memory.write(key, value)
            key_rotation = memory.rotation
        mixed = self.mix(rotate(query, rotation), rotate(key, key_rotation), value)
        return linear(mixed.flatten(2), self.to_out)

    def _mix_by(
        self, sights: Sequence[Sight], query: Tensor, key: Tensor, value: Tensor, rotation: Rotation
    ) -> Float[Tensor, "b n a e"]:
        tokens = key.shape[1] // sum(sight.looking for sight in sights)
        queries = rotate(query, rotation).split([sight.looking * tokens for sight in sights], dim=1)
        keys, turned, values = (x.split(tokens, dim=1) for x in (key, rotate(key, rotation), value))  # of each frame
        turns = [Rotation(*parts) for parts in zip(*(part.split(tokens) for part in rotation), strict=True)]
        mixed = []
        for looking, sight in zip(queries, sights, strict=True):
            near = [turned[i] if place == i else rotate(keys[i], turns[place]) for i, place in sight.seen]
            mixed.append(
                self.mix(looking, torch.cat(near, dim=1), torch.cat([values[i] for i, _ in sight.seen], dim=1))
            )
        return torch.cat(mixed, dim=1)

    def onto(
        self,
        x: Float[Tensor, "#b n d"],
        key: Float[Tensor, "b k a e"],
        value: Float[Tensor, "b k a e"],
        image: tuple[Tensor, Tensor] | None = None,
        repeats: int = 1,
    ) -> Float[Tensor, "b n d"]:
        """Let every token of x attend to the given keys and values and, apart from them, to those of a picture.

        One video (b = 1) may meet several texts: the result then has their batch. The last key counts `repeats` times.
        """
        query = self.query(x).expand(len(key), -1, -1, -1)
        mixed = self.mix(query, key, value) if repeats == 1 else attend(query, key, value, repeats=repeats)
        if image is not None:
            mixed = mixed + self.mix(query, *image)
        return linear(mixed.flatten(2), self.to_out)
