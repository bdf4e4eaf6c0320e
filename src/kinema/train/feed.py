"""Which clips each step sees, and in which words: made ahead by other processes where a GPU would wait for them."""

import signal
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kinema.model.text import Tokenizer
from kinema.train.binding import Names, mark_names
from kinema.train.caption import caption_of
from kinema.train.config import StageConfig
from kinema.train.latents import Latents
from kinema.train.order import batch_indices, step_seed
from kinema.world.scene import Scene, mirror

AHEAD = 4
"""Steps that each process is ahead."""


class Batch(NamedTuple):
    """What one step learns from, as far as it can be known without the clips themselves."""

    indices: Int[Tensor, " b"]
    """Training clips, as `Latents` counts them."""
    ids: Int[Tensor, "b k"]
    """Token ids of one caption for each, worded anew every time."""
    mask: Int[Tensor, "b k"]
    """1 on tokens, 0 on padding."""
    names: Names | None = None
    """Which tokens name an object, for stages that learn it."""


class Words(Dataset[Batch]):
    """The batch of the step that starts after a number of clips: a pure function of that number and the seed."""

    def __init__(
        self,
        latents: Latents,
        tokenizer: Tokenizer,
        config: StageConfig,
        drop: float = 0.0,
        pictures: Latents | None = None,
        *,
        binds: bool = False,
    ) -> None:
        """`drop` is the share of the captions that are empty; `pictures` is what steps of single frames learn from.

        With `binds`, batches say which tokens name an object.
        """
        self._scenes = latents.scenes[: latents.num_training // 2]
        self._pictures = self._scenes if pictures is None else pictures.scenes[: pictures.num_training // 2]
        self._stated = latents.stated
        self._tokenizer, self._config, self._drop, self._binds = tokenizer, config, drop, binds

    def __getitem__(self, clips_seen: int) -> Batch:
        """Choose the clips, each once per epoch, and word them; clips and pictures of their own share their turns."""
        seed, size = self._config.seed, self._config.size_at(clips_seen)
        scenes = self._pictures if self._config.shows_pictures(clips_seen) else self._scenes
        indices = batch_indices(2 * len(scenes), seed, clips_seen, size)
        stated = [self._stated[index % len(scenes)] if scenes is self._scenes else None for index in indices]
        captions = [
            caption_of(
                scene_at(scenes, index),
                step_seed(seed, "caption", clips_seen + offset),
                self._drop,
                self._tokenizer,
                what,
            )
            for offset, (index, what) in enumerate(zip(indices, stated, strict=True))
        ]
        ids, mask = self._tokenizer.encode([caption.text for caption in captions])
        return Batch(torch.tensor(indices), ids, mask, mark_names(captions, self._tokenizer) if self._binds else None)


def scene_at(scenes: Sequence[Scene], index: int) -> Scene | str:
    """What the clip of a training index shows, mirrored in the second half; footage has captions instead."""
    scene: Scene | str = scenes[index % len(scenes)]
    return scene if index < len(scenes) or isinstance(scene, str) else mirror(scene)


class Feed:
    """The batches of a run in their order; `workers` processes make them ahead, 0 makes each when it is asked for."""

    def __init__(self, words: Words, config: StageConfig, workers: int = 0) -> None:
        self._words, self._config, self._workers = words, config, workers
        self._batches: Iterator[Batch] = iter(())
        self._next = -1

    def at(self, clips_seen: int) -> Batch:
        """Give the batch of the step after `clips_seen`; steps that follow each other cost no wait."""
        if clips_seen != self._next:
            self._batches = self._from(clips_seen)
        self._next = clips_seen + self._config.size_at(clips_seen)
        return next(self._batches)

    def _from(self, clips_seen: int) -> Iterator[Batch]:
        steps = [clips_seen]
        while steps[-1] < self._config.clips:
            steps.append(steps[-1] + self._config.size_at(steps[-1]))
        loader = DataLoader(
            self._words,
            batch_size=None,
            sampler=steps,
            num_workers=self._workers,
            prefetch_factor=AHEAD if self._workers else None,
            multiprocessing_context="forkserver" if self._workers else None,
            worker_init_fn=leave_interrupts if self._workers else None,
            generator=torch.Generator(),  # or else it would draw from the one that other code uses
        )
        return iter(loader)


def leave_interrupts(worker: int = 0) -> None:  # noqa: ARG001 - what the loader passes
    """Ctrl-C reaches every process of a terminal; the training loop decides when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
