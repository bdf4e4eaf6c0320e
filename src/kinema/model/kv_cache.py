"""What a causal transformer remembers: keys and values of earlier frames, in a ring that does not grow.

Keys are kept without their rotary positions, so that positions can follow the window (`CausalConfig.positions`), and
in slots of one frame each: a new frame takes the slot of the oldest one that is no longer seen, and nothing is moved.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kinema.errors import SpecError
from kinema.model.causal import CausalConfig
from kinema.model.rope import Rotation, video_rotation


class LayerMemory(NamedTuple):
    """The slots of one layer, as they stand while a block is open; see `KVCache`."""

    key: Float[Tensor, "b slots s a e"]
    """Keys without rotary positions."""
    value: Float[Tensor, "b slots s a e"]
    """Values."""
    slots: Tensor
    """Where the open block is written."""
    num_used: int
    """Slots that hold something, always the first ones."""
    rotation: Rotation
    """Rotary positions of all tokens in the used slots."""

    def write(
        self, key: Float[Tensor, "b n a e"], value: Float[Tensor, "b n a e"]
    ) -> tuple[Float[Tensor, "b m a e"], Float[Tensor, "b m a e"]]:
        """Put the open block into its slots and give all keys and values that it sees.

        While gradients are recorded the slots stay untouched, and the gradient reaches the block alone.
        """
        found = []
        for kept, new in ((self.key, key), (self.value, value)):
            frames = new.unflatten(1, (len(self.slots), -1)).to(kept.dtype)
            used = kept[:, : self.num_used]
            if torch.is_grad_enabled():
                used = used.index_copy(1, self.slots, frames)
            else:
                used.index_copy_(1, self.slots, frames)
            found.append(used.flatten(1, 2))
        return found[0], found[1]


class CacheState(NamedTuple):
    """A copy of what a cache held between two blocks."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    """Keys and values of each layer's used slots."""
    held: tuple[int, ...]
    """Number in the video of the frame in each slot."""
    num_frames: int
    """Frames of the video that were finished."""


class KVCache:
    """The memory of all layers. `open` a block, run the transformer on it as often as needed, then `close` it.

    Every run overwrites what the one before wrote for the open block; what the last one wrote stays.
    """

    def __init__(
        self,
        config: CausalConfig,
        *,
        num_layers: int,
        size: tuple[int, int],
        num_heads: int,
        head_dim: int,
        max_frames: int | None = None,
        batch: int = 1,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> None:
        """Reserve all memory; `size` is rows and columns of tokens, `max_frames` is needed without a window only."""
        capacity = config.window or max_frames
        if capacity is None:
            raise SpecError("a cache without a window must know how long the video gets; give max_frames or a window")
        self.config = config
        self.size = size
        self._head_dim = head_dim
        shape = (batch, capacity, size[0] * size[1], num_heads, head_dim)
        self._layers = [
            (torch.zeros(shape, dtype=dtype, device=device), torch.zeros(shape, dtype=dtype, device=device))
            for _ in range(num_layers)
        ]
        self._held: list[int] = []
        """Number in the video of the frame in each slot."""
        self._capacity = capacity
        self._slots: list[int] = []
        self.num_frames = 0
        """Frames of the video that are finished."""

    @property
    def num_bytes(self) -> int:
        """Memory that all layers take, however long the video is."""
        return sum(tensor.nbytes for pair in self._layers for tensor in pair)

    def open(self, num_frames: int, *, at: int | None = None) -> None:
        """Make room for a block, which starts at frame `at` of the video, or where the last one ended.

        Raises SpecError for one that is too long, or that goes past `max_frames`.
        """
        assert not self._slots, "close the open block first"
        self.num_frames = self.num_frames if at is None else at
        if num_frames > self.config.block:
            raise SpecError(f"a block of {num_frames} frames is longer than the model's blocks of {self.config.block}")
        free = list(range(len(self._held), self._capacity))[:num_frames]
        evictable = sorted(
            (slot for slot, frame in enumerate(self._held) if frame >= self.config.sink), key=self._held.__getitem__
        )
        missing = num_frames - len(free)
        if missing and self.config.window is None:
            raise SpecError(
                f"the video ends after {self._capacity} latent frames (max_frames), {missing} before this block does; "
                "give a longer max_frames, or a window, which has no end"
            )
        self._slots = free + evictable[:missing]
        self._held += [0] * len(free)
        for index, slot in enumerate(self._slots):
            self._held[slot] = self.num_frames + index

    def frames(self) -> list[int]:
        """Give the numbers of the frames that are remembered, in their order."""
        return sorted(self._held)

    def close(self) -> None:
        """Keep the open block as it was written last."""
        assert self._slots, "no block is open"
        self.num_frames += len(self._slots)
        self._slots = []

    def snapshot(self) -> CacheState:
        """Copy what is remembered; not while a block is open."""
        assert not self._slots, "close the open block first"
        used = len(self._held)
        layers = tuple((key[:, :used].clone(), value[:, :used].clone()) for key, value in self._layers)
        return CacheState(layers, tuple(self._held), self.num_frames)

    def restore(self, state: CacheState) -> None:
        """Remember what `snapshot` copied, of this cache or of one of the same sizes, and forget all else."""
        for kept, copied in zip(self._layers, state.layers, strict=True):
            for tensor, part in zip(kept, copied, strict=True):
                tensor[:, : part.shape[1]].copy_(part)
        self._held, self._slots, self.num_frames = list(state.held), [], state.num_frames

    def positions(self) -> list[int]:
        """Give the rotary position of the frame in each used slot."""
        if self.config.positions == "absolute":
            return list(self._held)
        rank = {frame: position for position, frame in enumerate(sorted(self._held))}
        return [rank[frame] for frame in self._held]

    def layers(self) -> tuple[Rotation, list[LayerMemory]]:
        """Give the rotary positions of the open block, and each layer's memory, for one run of the transformer."""
        assert self._slots, "open a block first"
        device = self._layers[0][0].device
        positions = self.positions()
        slots = torch.tensor(self._slots, device=device)
        own, seen = (
            video_rotation((len(frames), *self.size), self._head_dim, frames=frames, device=device)
            for frames in ([positions[slot] for slot in self._slots], positions)
        )
        return own, [LayerMemory(key, value, slots, len(self._held), seen) for key, value in self._layers]
