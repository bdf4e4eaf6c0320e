"""Video block by block: a causal model makes a block, remembers it, and goes on, for as long as is wanted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from kinema.diffusion import SOLVERS, OnStep, Schedule, classifier_free, consistency, interpolate
from kinema.generate.state import LatentState
from kinema.model import CacheState, CausalConfig, DiT, TextKV

DrawNoise = Callable[[int, int, int], Tensor]
"""(first frame, number of frames, step) -> noise `1 c t y x`; step 0 is what a block starts from."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RolloutState:
    """All that a rollout stands on after a block; what goes on from it cannot tell that it ever stopped."""

    cache: CacheState
    """Keys and values of what was seen."""
    made: Mapping[int, Tensor]
    """The latent frames that are remembered, "1 c 1 y x", by their number."""
    text: TextKV
    """What is shown."""
    next_text: TextKV | None
    """What will be shown from the next block on, if something else."""
    num_frames: int
    """Latent frames of the video that are finished."""


class Rollout:
    """One video in the making: `generate` and `finalize` for each block, on end; memory does not grow.

    Without guidance a block costs one network call per step and one that remembers it; guidance doubles the batch.
    Source: Self-Forcing (arXiv 2506.08009), algorithm 2.
    """

    def __init__(
        self,
        dit: DiT,
        config: CausalConfig,
        texts: Sequence[tuple[int, TextKV]],
        *,
        schedule: Schedule,
        solver: str,
        guidance: float,
        size: tuple[int, int],
        max_frames: int | None,
        known: LatentState | None = None,
    ) -> None:
        """`texts` are shown each from its latent frame on, the first one from 0; `size` is latent rows and columns.

        A text holds the prompt and, unless `guidance` is 1, the negative prompt. `max_frames` is the length in latent
        frames, which only a model without a window must know. `known` is what is given of the first frames, and where
        the others of them start from: a block that is given whole is remembered as it is, and nothing is solved.
        """
        self._dit = dit
        self._config = config
        self._texts = dict(texts)
        self._text = self._texts[0]
        self._next_text: TextKV | None = None
        self._schedule = schedule
        self._solver = solver
        self._guidance = guidance
        self._batch = 1 if guidance == 1 else 2
        self._dtype = dit.patch_embed.weight.dtype
        self._new_cache = partial(
            dit.new_cache, config, size, max_frames=max_frames, batch=self._batch, dtype=self._dtype
        )
        self._cache = self._new_cache()
        self._known = known
        self._made: dict[int, Tensor] = {}
        self._open: Tensor | None = None
        self.num_frames = 0
        """Latent frames that are finished and remembered."""

    @property
    def num_bytes(self) -> int:
        """Memory of what is remembered."""
        return self._cache.num_bytes

    def count_steps(self, num_frames: int) -> int:
        """How many steps so many latent frames take."""
        block = self._config.block
        parts = (self._part(start, min(block, num_frames - start)) for start in range(0, num_frames, block))
        return self._schedule.num_steps * sum(part is None or not part.is_given for part in parts)

    def blocks(
        self, num_frames: int, noise: DrawNoise, on_step: OnStep | None = None
    ) -> Iterator[Float[Tensor, "1 c t y x"]]:
        """Make `num_frames` latent frames, normalised, float32.

        A block is given before it is remembered, so nobody waits for that; the last one never is.
        """
        while self.num_frames < num_frames:
            block = self.generate(noise, num_frames - self.num_frames, on_step)
            yield block
            if self.num_frames + block.shape[2] >= num_frames:
                return
            self.finalize(noise)

    @torch.inference_mode()
    def generate(
        self, noise: DrawNoise, most: int | None = None, on_step: OnStep | None = None
    ) -> Float[Tensor, "1 c t y x"]:
        """Make the next block, of at most `most` latent frames (the model's block unless told)."""
        assert self._open is None, "finalize the block before"
        start, length = self.num_frames, min(self._config.block, most or self._config.block)
        self._switch(range(start, start + length), noise)
        self._cache.open(length)
        known = self._part(start, length)
        if known is not None and known.is_given:
            self._open = known.clean
        else:
            state = known or LatentState.to_generate(noise(start, length, 0).to(self._dit.patch_embed.weight.device))
            self._open = self._solve(state, start, noise, on_step)
        return self._open

    @torch.inference_mode()
    def finalize(self, noise: DrawNoise) -> None:
        """Remember the block that was made last, as it came out."""
        assert self._open is not None, "generate a block first"
        self._remember(self.num_frames, self._open, noise)
        self.num_frames += self._open.shape[2]
        self._open = None

    def show(self, text: TextKV) -> None:
        """Show another text from the next block on."""
        self._next_text = text

    @torch.inference_mode()
    def snapshot(self) -> RolloutState:
        """Keep all that comes next depends on; needs as much memory as `num_bytes` says. Not amid a block."""
        assert self._open is None, "finalize the block before"
        return RolloutState(
            cache=self._cache.snapshot(),
            made=dict(self._made),
            text=self._text,
            next_text=self._next_text,
            num_frames=self.num_frames,
        )

    @torch.inference_mode()
    def restore(self, state: RolloutState) -> None:
        """Stand where `state` was taken, by this rollout or by another one of the same model, size and guidance."""
        self._open, self._made, self.num_frames = None, dict(state.made), state.num_frames
        self._text, self._next_text = state.text, state.next_text
        self._cache.restore(state.cache)

    def _switch(self, frames: range, noise: DrawNoise) -> None:
        """Where another text begins: keep what was seen, and remember it as if that text had been shown all along.

        What moves goes on moving, and what it means changes. Source: LongLive (arXiv 2509.22622), KV recache.
        """
        texts = [self._texts[frame] for frame in frames if frame in self._texts and frame > 0]
        if self._next_text is not None:
            texts = [self._next_text]
        self._next_text = None
        if not texts:
            return
        self._text = texts[-1]
        blocks: dict[int, list[Tensor]] = {}
        for frame in self._cache.frames():
            blocks.setdefault(frame // self._config.block * self._config.block, []).append(self._made[frame])
        self._cache = self._new_cache()
        for first, block in blocks.items():
            self._cache.open(len(block), at=first)
            self._remember(first, torch.cat(block, dim=2), noise)

    def _part(self, start: int, length: int) -> LatentState | None:
        """What is known of a block; None = nothing, because it lies after all that is."""
        if self._known is None or start >= self._known.latent.shape[2]:
            return None
        return self._known.part(start, start + length)

    def _solve(self, state: LatentState, start: int, noise: DrawNoise, on_step: OnStep | None) -> Tensor:
        network = classifier_free(self._velocity, self._velocity, self._guidance)
        if self._solver == "consistency":
            velocity, length = state.velocity(network, is_renoised=True), state.latent.shape[2]
            made = consistency(velocity, state.latent, self._schedule, lambda step: noise(start, length, step), on_step)
        else:
            made = SOLVERS[self._solver](state.velocity(network), state.latent, self._schedule, on_step)  # type: ignore[index]
        return state.restore(made)

    def _remember(self, start: int, block: Tensor, noise: DrawNoise) -> None:
        """Run the finished block once more, (nearly) clean, so that its keys and values are those of the result."""
        time = torch.tensor(self._config.context_noise, device=block.device)
        seen = block
        if self._config.context_noise:
            seen = interpolate(block, noise(start, block.shape[2], self._schedule.num_steps).to(block), time)
        self._velocity(seen, time)
        self._cache.close()
        self._made |= {start + index: frame for index, frame in enumerate(block.split(1, dim=2))}
        self._made = {frame: self._made[frame] for frame in self._cache.frames()}

    def _velocity(self, latent: Tensor, time: Tensor) -> Tensor:
        """What the network answers for each of the texts: each has keys and values of its own, and so a copy."""
        times = time.float().expand(self._batch, latent.shape[2])
        copies = latent.to(self._dtype).expand(self._batch, -1, -1, -1, -1)
        predicted: Tensor = self._dit(copies, times, self._text, cache=self._cache)
        return predicted.float()
