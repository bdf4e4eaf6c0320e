"""Video without end: frames come out as they are made, the words may change, and any moment can be returned to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from kinema.diffusion import OnStep
from kinema.generate.rollout import DrawNoise, Rollout, RolloutState
from kinema.model import TextKV, TimeCache, VideoVAE
from kinema.spec import VideoSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamState:
    """A moment of a stream: what goes on from it, in this stream or another, is what would have come anyway."""

    rollout: RolloutState
    """What the transformer remembers."""
    decoder: TimeCache
    """What the decoder remembers."""
    num_frames: int
    """Frames of video that had come out."""


class Stream(Iterator[UInt8[np.ndarray, "f h w 3"]]):
    """The next frames, RGB, block after block; `Pipeline.open_stream` makes one.

    Frames come out before their block is remembered: nobody waits for that. What is held does not grow.
    """

    def __init__(
        self,
        begin: Callable[[], Rollout],
        vae: VideoVAE,
        noise: DrawNoise,
        read: Callable[[str], TextKV],
        *,
        spec: VideoSpec,
        num_latents: int | None = None,
        on_step: OnStep | None = None,
    ) -> None:
        """`begin` makes a rollout at its beginning and `read` encodes a prompt; None = without end."""
        self._begin, self._vae, self._noise, self._read = begin, vae, noise, read
        self.spec = spec
        """The resolved request; it has no `frames` where the stream has no end."""
        self._num_latents = num_latents
        self._on_step = on_step
        self._rollout = begin()
        self._decoder = TimeCache()
        self._is_open = False
        self._num_latents_out = 0
        self.num_frames = 0
        """Frames that have come out."""

    @property
    def num_bytes(self) -> int:
        """Memory of what the transformer remembers: the same however long the stream gets."""
        return self._rollout.num_bytes

    @property
    def num_steps(self) -> int:
        """Steps of the solver to its end, or for its first block where it has none."""
        return self._rollout.count_steps(self._num_latents or 1)

    @torch.inference_mode()
    def __next__(self) -> UInt8[np.ndarray, "f h w 3"]:
        frames = to_pixels(self._vae.decode_chunk(self._next_block(), self._decoder)[0])
        self.num_frames += len(frames)
        return frames

    def say(self, prompt: str) -> None:
        """Show something else from the next block on. What moves goes on moving."""
        self._rollout.show(self._read(prompt))

    def snapshot(self) -> StreamState:
        """Keep this moment; it takes as much memory as the stream itself."""
        self._settle()
        return StreamState(rollout=self._rollout.snapshot(), decoder=self._decoder.copy(), num_frames=self.num_frames)

    def rewind(self, state: StreamState) -> None:
        """Go back (or forward) to a moment that was kept; the same frames follow, unless other words are said."""
        self._rollout.restore(state.rollout)
        self._decoder = state.decoder.copy()
        self._is_open = False
        self.num_frames, self._num_latents_out = state.num_frames, state.rollout.num_frames

    def fork(self, state: StreamState | None = None) -> "Stream":
        """Make a second stream that goes on from a moment, or from now; neither sees what happens to the other."""
        twin = Stream(
            self._begin,
            self._vae,
            self._noise,
            self._read,
            spec=self.spec,
            num_latents=self._num_latents,
            on_step=self._on_step,
        )
        twin.rewind(self.snapshot() if state is None else state)
        return twin

    def _next_block(self) -> Tensor:
        left = None if self._num_latents is None else self._num_latents - self._num_latents_out
        if left is not None and left <= 0:
            raise StopIteration
        self._settle()
        block = self._rollout.generate(self._noise, left, self._on_step)
        self._is_open = True
        self._num_latents_out += block.shape[2]
        return block

    def _settle(self) -> None:
        """Remember the block that came out last."""
        if self._is_open:
            self._rollout.finalize(self._noise)
            self._is_open = False


def to_pixels(frames: Float[Tensor, "f h w 3"]) -> UInt8[np.ndarray, "f h w 3"]:
    """Turn frames in [-1, 1] into RGB bytes."""
    pixels: np.ndarray = ((frames.float() + 1) * 127.5).round().clamp(0, 255).to("cpu", torch.uint8).numpy()
    return pixels
