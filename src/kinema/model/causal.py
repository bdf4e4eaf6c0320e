"""Who sees whom in a causal transformer: blocks of latent frames that look at themselves and at what came before."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from kinema.errors import SpecError


@dataclass(frozen=True, kw_only=True)
class CausalConfig:
    """How a transformer makes video block by block, and how far back it looks.

    All lengths are latent frames. Self-Forcing (arXiv 2506.08009) is block 3 without a window; LongLive (arXiv
    2509.22622) is block 3, window 12, sink 3.
    """

    block: int = 1
    """Frames that are made together and see each other; a clip's last block may be shorter."""
    sink: int = 0
    """First frames of the video, which all others keep seeing (StreamingLLM, arXiv 2309.17453)."""
    window: int | None = None
    """Frames that are seen at once, the sink and the block itself included; None = all."""
    positions: Literal["absolute", "relative"] = "absolute"
    """Rotary positions of the frames: their number in the video, or their rank among those that are seen, which stays
    small however long the video gets."""
    context_noise: float = 0.0
    """Time, in [0, 1], at which finished frames are shown to later ones."""

    def __post_init__(self) -> None:
        """Refuse lengths that contradict each other."""
        if self.block < 1 or self.sink < 0:
            raise SpecError(f"block={self.block} and sink={self.sink} do not fit: block is at least 1, sink at least 0")
        if self.window is not None and self.window < self.sink + self.block:
            raise SpecError(
                f"window={self.window} does not hold the sink of {self.sink} and a block of {self.block} frames; "
                f"use {self.sink + self.block} or more, or none"
            )
        if self.positions == "relative" and self.window is None:
            raise SpecError("relative positions need a window; give one, or use absolute positions")
        if not 0 <= self.context_noise <= 1:
            raise SpecError(f"context_noise={self.context_noise} is no time; use 0 (clean) to 1 (noise)")


CAUSAL_PRESETS: dict[str, CausalConfig] = {
    # What each team's models look back on. As long as the window is not full, relative positions are absolute ones;
    # beyond, they let a video go on for ever, where keys with absolute positions would leave what was trained.
    "self-forcing": CausalConfig(block=3, window=21, positions="relative"),  # not measured
    "longlive": CausalConfig(block=3, window=12, sink=3, positions="relative"),  # not measured
}
"""Ways of looking back by the names of the models that were trained with them."""


def block_causal_mask(num_frames: int, config: CausalConfig) -> Bool[Tensor, "t t"]:
    """Say which frame (row) sees which (column): its own block, the sink, and as many before as the window holds."""
    frame = torch.arange(num_frames)
    first = frame // config.block * config.block
    last = torch.minimum(first + config.block, torch.tensor(num_frames))  # first frame that is not seen
    seen = frame[None, :] < last[:, None]
    if config.window is None:
        return seen
    return seen & ((frame < config.sink) | (frame[None, :] >= last[:, None] - (config.window - config.sink)))


def teacher_forcing_mask(num_frames: int, config: CausalConfig) -> Bool[Tensor, "t2 t2"]:
    """The same for a clean clip followed by its noisy copy: noisy blocks see themselves and clean blocks before them.

    The clean half sees what it would see alone. Source: Zhou et al. 2025, "Taming teacher forcing" (arXiv 2501.12389).
    """
    seen = block_causal_mask(num_frames, config)
    block = torch.arange(num_frames) // config.block
    own = block[:, None] == block
    top = torch.cat([seen, torch.zeros_like(seen)], dim=1)
    return torch.cat([top, torch.cat([seen & ~own, seen & own], dim=1)])


class Sight(NamedTuple):
    """Frames that follow each other and all see the same."""

    looking: int
    """How many they are."""
    seen: tuple[tuple[int, int], ...]
    """The frames that they look at, each with the frame in whose rotary position it is seen; mostly its own."""


def sights(mask: Bool[Tensor, "t t"], frames: Sequence[int], config: CausalConfig) -> tuple[Sight, ...]:
    """Turn a mask of frames (rows see columns) into who sees whom, in the order of the frames that look.

    `frames` are their numbers in the video. With relative positions, what is seen of a window stands as close together
    as if nothing had been left out, as in `KVCache`. Attention over each of them alone computes no score that the mask
    would take away: three in ten of those of a clip and its noisy copy are left where blocks are single frames and
    clips five.
    """
    found: list[Sight] = []
    rows = [tuple(index for index, is_seen in enumerate(row) if is_seen) for row in mask.tolist()]
    for seen, alike in itertools.groupby(rows):
        looking = sum(1 for _ in alike)
        last = frames[sum(sight.looking for sight in found) + looking - 1]
        nearness = {index: rank for rank, index in enumerate(sorted(seen, key=lambda index: -frames[index]))}
        places = {index: last - nearness[index] if config.positions == "relative" else frames[index] for index in seen}
        found.append(
            Sight(looking, tuple((i, i if place == frames[i] else frames.index(place)) for i, place in places.items()))
        )
    return tuple(found)
