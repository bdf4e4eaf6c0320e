"""A streaming model from a finished one: corpus, latents, forcing, consistency, self-forcing, long videos, export.

Like `run.py`, every stage leaves its result in the run's folder, and the same command goes on where it stopped.
"""

import copy
import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import nn

from kinema.errors import SpecError
from kinema.generate.pipeline import Pipeline
from kinema.model import DiT, Model, load_model
from kinema.shapes import LatentShape
from kinema.train.channels import weights_for
from kinema.train.config import CausalRecipe, ForcingStage, SelfForcingStage, StageConfig
from kinema.train.consistency import ConsistencyTask
from kinema.train.flow import Sampler
from kinema.train.forcing import Forcing, ForcingTask
from kinema.train.latents import Latents, encode_corpus
from kinema.train.run import Score, scored_prompts
from kinema.train.self_forcing import SelfForcingTask
from kinema.train.staged import StagedRun
from kinema.train.stages import CAUSAL_STAGES
from kinema.train.words import words_of

logger = logging.getLogger(__name__)


class CausalRun(StagedRun):
    """One recipe in one folder; `init` takes the place of the recipe's own model to start from."""

    stages = CAUSAL_STAGES

    def __init__(
        self,
        recipe: CausalRecipe,
        folder: Path,
        score: Score,
        init: str | None = None,
        device: torch.device | None = None,
    ) -> None:
        super().__init__(recipe, folder, device)
        self.recipe = recipe
        self._score = score
        self._init = load_model(init or recipe.init, self.device, torch.float32)
        if self._init.causal is not None and recipe.self_forcing is not None:
            raise SpecError(
                f"{init or recipe.init} is causal and cannot judge whole clips, as self_forcing asks; start from a "
                "model that sees them, or leave that out: --set self_forcing=null --set long=null"
            )
        self._dtype = getattr(torch, recipe.forcing.precision)

    def check(self, stages: Sequence[str]) -> None:  # noqa: ARG002 - all stages have the same clips
        """Refuse clips that do not divide into latents, and videos to learn from that are shorter than they."""
        self.recipe.corpus.shape.to_latent(self._init.vae.stride.with_patch(self._init.dit.config.patch_size))
        least = self._latent_shape.frames
        for name in ("self_forcing", "long"):
            config: SelfForcingStage | None = getattr(self.recipe, name)
            if config is not None and config.frames < least:
                raise SpecError(f"{name}.frames={config.frames} is shorter than a clip; use {least} or more")

    @property
    def _latent_shape(self) -> LatentShape:
        return self.recipe.corpus.shape.to_latent(self._init.vae.stride)

    def latents(self) -> None:
        """Encode the clips with the autoencoder of the model to start from."""
        target = self.folder / "latents.npy"
        if not target.exists():
            vae = copy.deepcopy(self._init.vae).to(self._dtype)
            encode_corpus(vae, self._corpus, target, self._report)

    def forcing(self) -> None:
        """Teach the transformer to look back only."""
        if self.is_done("forcing"):
            return
        config = self.recipe.forcing
        channels = weights_for(config.channel_power, self._init.vae, self._latents)
        dit, sampler = copy.deepcopy(self._init.dit), self._sampler(self._slow)
        task = ForcingTask(dit, self._forcing(config), config, sampler, channels)
        self._train(task, config, "forcing", keep=("dit",))

    def consistency(self) -> None:
        """Teach it to do so in few steps, without guidance, for recipes that have that."""
        config = self.recipe.consistency
        if config is None or self.is_done("consistency"):
            return
        teacher = copy.deepcopy(self._init.dit)
        self._files.load_weights(nn.ModuleDict({"dit": teacher}), "forcing")
        teacher.requires_grad_(False)
        student = copy.deepcopy(teacher).requires_grad_(True)
        task = ConsistencyTask(student, teacher, self._forcing(config), config, self._sampler(self._fast))
        self._train(task, config, "consistency", keep=("dit",))

    def self_forcing(self) -> None:
        """Let it learn from its own videos."""
        if self.recipe.self_forcing is None:
            return
        critic = nn.ModuleDict({"critic": copy.deepcopy(self._init.dit)})
        self._force_itself("self_forcing", self.recipe.self_forcing, after="consistency", critic=critic)

    def long(self) -> None:
        """Let it learn from its own long videos, before the judge that it has by now."""
        if self.recipe.long is None or self.is_done("long"):
            return
        critic = nn.ModuleDict({"critic": copy.deepcopy(self._init.dit)})
        self._files.load_weights(critic, "self_forcing.critic", stage="self_forcing")
        self._force_itself("long", self.recipe.long, after="self_forcing", critic=critic)

    def _force_itself(self, name: str, config: SelfForcingStage, *, after: str, critic: nn.ModuleDict) -> None:
        if self.is_done(name):
            return
        student, teacher = copy.deepcopy(self._init.dit), copy.deepcopy(self._init.dit)
        self._files.load_weights(nn.ModuleDict({"dit": student}), after)
        vae = copy.deepcopy(self._init.vae).to(getattr(torch, config.precision))
        latent = self._latent_shape
        clip = (vae.config.z_dim, latent.frames, latent.height, latent.width)
        sampler = self._sampler(self._fast)
        task = SelfForcingTask(
            student,
            cast("DiT", critic["critic"]),
            teacher,
            vae,
            self._forcing(config),
            self.recipe.causal,
            clip,
            config,
            sampler,
        )
        averaged = self._train(task, config, name, keep=("dit",))
        self._files.save_weights(nn.ModuleDict({"critic": averaged["critic"]}), f"{name}.critic")

    def export(self) -> None:
        """Write the model folder, in bfloat16."""
        dit = copy.deepcopy(self._init.dit)
        last = next(
            stage for stage in ("long", "self_forcing", "consistency", "forcing") if getattr(self.recipe, stage)
        )
        self._files.load_weights(nn.ModuleDict({"dit": dit}), last)
        model = self._slow(dit) if last == "forcing" else self._fast(dit)
        for network in (model.dit, model.vae, model.text):
            network.to(torch.bfloat16)
        self._files.save_model(model, words_of(self._init))

    @functools.cached_property
    def _latents(self) -> Latents:
        return Latents(self._files.need("latents.npy", "latents"), self._corpus, self.device)

    def _forcing(self, config: StageConfig) -> Forcing:
        drop = config.drop_text if isinstance(config, ForcingStage) else 0.0
        return Forcing(self._init.text, self._init.tokenizer, self._latents, self.recipe.causal, config, drop)

    def _sampler(self, model_of: Callable[[DiT], Model]) -> Sampler:
        prompts = scored_prompts(self._corpus, self._init.tokenizer)

        def sample(averaged: nn.ModuleDict, path: Path) -> dict[str, float]:
            dit = averaged["dit"]
            assert isinstance(dit, DiT)
            return self._score(Pipeline(model_of(dit), name=str(self.folder)), prompts, path)

        return sample

    def _slow(self, dit: DiT) -> Model:
        """The causal model before its distillation: many steps, and guidance."""
        return dataclasses.replace(self._init, dit=dit, causal=self.recipe.causal, folder=None)

    def _fast(self, dit: DiT) -> Model:
        """The causal model of few steps."""
        assert self.recipe.consistency is not None
        shift = self.recipe.consistency.shift
        defaults = dataclasses.replace(
            self._init.defaults, steps=self.recipe.steps, guidance=1.0, solver="consistency", shift=shift
        )
        return dataclasses.replace(self._slow(dit), defaults=defaults, scheduler={})
