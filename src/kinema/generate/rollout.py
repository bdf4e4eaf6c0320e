"""Video block by block: a causal model makes a block, remembers it, and goes on, for as long as is wanted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from kinema.diffusion import SOLVERS, OnStep, Schedule, classifier_free, consistency, interpolate
from kinema.errors import SpecError
from kinema.model import CausalConfig, DiT, TextKV

DrawNoise = Callable[[int, int, int], Tensor]
"""(first frame, number of frames, step) -> noise `1 c t y x`; step 0 is what a block starts from."""


class Rollout:
    """One video in the making: `blocks` gives latents as they are finished; memory does not grow with them.

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
        max_frames: int,
    ) -> None:
        """`texts` are shown each from its latent frame on, the first one from 0; `size` is latent rows and columns.

        A text holds the prompt and, unless `guidance` is 1, the negative prompt.
        """
        self._dit = dit
        self._config = config
        self._texts = dict(texts)
        self._text = self._texts[0]
        self._schedule = schedule
        self._solver = solver
        self._guidance = guidance
        self._batch = 1 if guidance == 1 else 2
        self._dtype = dit.patch_embed.weight.dtype
        self._new_cache = partial(
            dit.new_cache, config, size, max_frames=max_frames, batch=self._batch, dtype=self._dtype
        )
        self._cache = self._new_cache()
        self._made: dict[int, Tensor] = {}

    @property
    def num_bytes(self) -> int:
        """Memory of what is remembered."""
        return self._cache.num_bytes

    @torch.inference_mode()
    def blocks(
        self,
        num_frames: int,
        noise: DrawNoise,
        given: Mapping[int, Float[Tensor, "1 c y x"]] | None = None,
        on_step: OnStep | None = None,
    ) -> Iterator[Float[Tensor, "1 c t y x"]]:
        """Make `num_frames` latent frames, normalised, float32; `given` are the first ones, which are known.

        Raises SpecError for given frames that are not the first, or that end amid a block.
        """
        given = given or {}
        if sorted(given) != list(range(len(given))) or len(given) % self._config.block:
            raise SpecError(
                f"latent frames {sorted(given)} are given; a causal model goes on from its first frames, in whole "
                f"blocks of {self._config.block}"
            )
        for start in range(0, num_frames, self._config.block):
            length = min(self._config.block, num_frames - start)
            self._switch(range(start, start + length), noise)
            self._cache.open(length)
            if start in given:
                block = torch.stack([given[start + i] for i in range(length)], dim=2).float()
            else:
                block = self._solve(start, length, noise, on_step)
            self._remember(start, block, noise)
            yield block

    def _switch(self, frames: range, noise: DrawNoise) -> None:
        """Where another text begins: keep what was seen, and remember it as if that text had been shown all along.

        What moves goes on moving, and what it means changes. Source: LongLive (arXiv 2509.22622), KV recache.
        """
        texts = [self._texts[frame] for frame in frames if frame in self._texts and frame > 0]
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

    def _solve(self, start: int, length: int, noise: DrawNoise, on_step: OnStep | None) -> Tensor:
        latent = noise(start, length, 0).to(self._dit.patch_embed.weight.device)
        velocity = classifier_free(self._velocity, self._velocity, self._guidance)
        if self._solver == "consistency":
            return consistency(velocity, latent, self._schedule, lambda step: noise(start, length, step), on_step)
        return SOLVERS[self._solver](velocity, latent, self._schedule, on_step)  # type: ignore[index]

    def _remember(self, start: int, block: Tensor, noise: DrawNoise) -> None:
        """Run the finished block once more, (nearly) clean, so that its keys and values are those of the result."""
        time = torch.tensor(self._config.context_noise, device=block.device)
        seen = block
        if self._config.context_noise:
            seen = interpolate(block, noise(start, block.shape[2], self._schedule.num_steps).to(block), time)
        self._velocity(seen.expand(self._batch, -1, -1, -1, -1), time)
        self._cache.close()
        self._made |= {start + index: frame for index, frame in enumerate(block.split(1, dim=2))}
        self._made = {frame: self._made[frame] for frame in self._cache.frames()}

    def _velocity(self, latent: Tensor, time: Tensor) -> Tensor:
        times = time.float().expand(latent.shape[0], latent.shape[2])
        predicted: Tensor = self._dit(latent.to(self._dtype), times, self._text, cache=self._cache)
        return predicted.float()
