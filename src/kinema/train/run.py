"""A recipe from beginning to end: corpus, tokenizer, grounding, vae, latents, flow, reward, export.

Every stage leaves its result in the run's folder and is skipped when that is there already, so that running the same
command again continues where the last one stopped.
"""

import copy
import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from kinema import config as config_io
from kinema.errors import SpecError
from kinema.generate.pipeline import Pipeline
from kinema.generate.vocabulary import Vocabulary
from kinema.model import Model, Tokenizer, load_model
from kinema.model.dit import DiT
from kinema.model.presets import PRESETS
from kinema.model.text import TextEncoder
from kinema.model.vae import VAEConfig, VideoVAE
from kinema.train.anchor import Anchor
from kinema.train.caption import caption_of
from kinema.train.channels import weights_for
from kinema.train.config import Recipe
from kinema.train.corpus import Corpus, render_corpus
from kinema.train.flow import FlowTask, Lessons
from kinema.train.grounding import Truth, measure_truth
from kinema.train.latents import Latents, encode_corpus, measure_statistics
from kinema.train.reward import Judge, RewardTask
from kinema.train.staged import StagedRun
from kinema.train.stages import STAGES
from kinema.train.tokenizer import train_tokenizer
from kinema.train.trainer import train
from kinema.train.vae import VAETask
from kinema.train.words import words_of_the_world
from kinema.world.describe import Caption

logger = logging.getLogger(__name__)

Score = Callable[[Pipeline, Sequence[Caption], Path], dict[str, float]]
"""Generates a video for each caption, draws them into a PNG, and gives numbers to record."""

SCORED_PROMPTS = 24
"""Videos of a sheet of samples."""


class Run(StagedRun):
    """One recipe in one folder; `init` is a model to go on from instead of random weights.

    `judge` is for recipes whose transformer learns from its own videos.
    """

    stages = STAGES

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        score: Score,
        init: str | None = None,
        device: torch.device | None = None,
        judge: Judge | None = None,
    ) -> None:
        super().__init__(recipe, folder, device)
        self.recipe = recipe
        self._judge = judge
        self.preset = PRESETS[recipe.preset]
        self._dtype = getattr(torch, recipe.vae.precision)
        self._score = score
        self._init: Model | None = load_model(init, torch.device("cpu"), torch.float32) if init else None

    def check(self, stages: Sequence[str]) -> None:
        """Refuse clips that do not divide into latents, and to keep networks that are not there."""
        vae, flow = self.recipe.vae, self.recipe.flow
        self.recipe.corpus.shape.to_latent(self.preset.vae.stride.with_patch(self.preset.dit.patch_size))
        init = self._init
        has_vae = init is not None and _are_alike(self.preset.vae, init.vae.config)
        has_dit = init is not None and (self.preset.dit, self.preset.text) == (init.dit.config, init.text.config)
        if "vae" in stages and not self.is_done("vae") and not has_vae:
            if vae.clips == 0:
                raise SpecError("vae.clips=0 keeps an autoencoder, but there is none of this size; give --init MODEL")
            if vae.anchor > 0:
                raise SpecError(
                    f"vae.anchor={vae.anchor} holds latents where they were, but there is no autoencoder of this size; "
                    "give --init MODEL, or vae.anchor=0"
                )
        if "flow" in stages and not self.is_done("flow") and not has_dit and flow.clips == 0:
            raise SpecError("flow.clips=0 keeps a transformer, but there is none of this size; give --init MODEL")

    def corpus(self) -> None:
        """Render the clips, and the single frames of recipes that have them apart."""
        super().corpus()
        if self.recipe.pictures is not None:
            render_corpus(self.recipe.pictures, self.folder / "pictures", self._report)

    def tokenizer(self) -> None:
        """Train the tokenizer on three captions of every scene, or take the one of the model to go on from."""
        target = self.folder / "tokenizer"
        if target.exists():
            return
        if self._init is not None:
            trained = self._init.tokenizer.tokenizer
        else:
            scenes = self._corpus.scenes
            captions = (caption_of(scene, seed).text for scene in scenes for seed in range(3))
            trained = train_tokenizer(captions, self.preset.text.vocab_size, self.preset.max_tokens)
        trained.save_pretrained(target)

    def vae(self) -> None:
        """Train the autoencoder, or take that of the model to go on from and train it further."""
        if self.is_done("vae"):
            return
        torch.manual_seed(self.recipe.vae.seed)
        vae = VideoVAE(self.preset.vae)
        if self._init is not None:
            _inherit(vae, self._init.vae, "autoencoder")
        truth = None
        if self.recipe.vae.object_weight != 1.0:
            truth = Truth(self._files.need("coverage.npy", "grounding"), self._corpus, self.device)
        anchor = None
        if self.recipe.vae.anchor > 0:
            assert self._init is not None
            anchor = Anchor(self._init.vae.to(self.device), self._corpus)
        task = VAETask(vae.to(self.device), self._corpus, self.recipe.vae, truth, anchor)
        averaged = copy.deepcopy(task.networks)
        train(task, self.recipe.vae, self.folder / "vae", averaged, self._report)
        self._files.save_weights(averaged["vae"], "vae")

    def latents(self) -> None:
        """Encode the clips with the trained autoencoder, normalised by what its channels measure."""
        missing = [name for name in self._parts if not (self.folder / f"{name}latents.npy").exists()]
        if not missing:
            return
        vae = VideoVAE(self.preset.vae)
        self._files.load_weights(vae, "vae")
        vae.eval().to(self.device, self._dtype)
        is_kept = self._init is not None and (self.recipe.vae.clips == 0 or self.recipe.vae.decoder_only)
        mean, std = (
            (self._init.vae.config.latents_mean, self._init.vae.config.latents_std)
            if self._init is not None and is_kept
            else measure_statistics(vae, self._corpus)
        )
        config = dataclasses.replace(self.preset.vae, latents_mean=mean, latents_std=std)
        config_io.save_json(config, self.folder / "vae.json")
        vae = self._load_vae().to(self.device, self._dtype)
        for name in missing:
            encode_corpus(vae, self._corpora[name], self.folder / f"{name}latents.npy", self._report)

    def grounding(self) -> None:
        """Find what each part of each clip shows, for recipes that ask for it."""
        if self.recipe.flow.grounding is None and self.recipe.vae.object_weight == 1.0:
            return
        stride = self.preset.vae.stride.with_patch(self.preset.dit.patch_size)
        for name in self._parts:
            target = self.folder / f"{name}coverage.npy"
            if not target.exists():
                measure_truth(self._corpora[name], stride, target, report=self._report)

    def flow(self) -> None:
        """Train the diffusion transformer and the text encoder, or take those of the model to go on from."""
        if self.is_done("flow"):
            return
        torch.manual_seed(self.recipe.flow.seed)
        dit, text = DiT(self.preset.dit), TextEncoder(self.preset.text)
        if self._init is not None:
            _inherit(dit, self._init.dit, "transformer")
            _inherit(text, self._init.text, "text encoder")
        self._train(self._flow_task(dit, text), self.recipe.flow, "flow", keep=("dit", "text"))

    def reward(self) -> None:
        """Let the transformer learn from its own videos, for recipes that have that."""
        config = self.recipe.reward
        if config is None or self.is_done("reward"):
            return
        assert self._judge is not None
        dit, text = DiT(self.preset.dit), TextEncoder(self.preset.text)
        self._files.load_weights(nn.ModuleDict({"dit": dit, "text": text}), "flow")
        task = RewardTask(self._flow_task(dit, text), self._load_vae().to(self.device), config, self._judge)
        self._train(task, config, "reward", keep=("dit",))

    def _flow_task(self, dit: DiT, text: TextEncoder) -> FlowTask:
        dit, text = dit.to(self.device), text.to(self.device)
        lessons = [self._lessons(name) for name in self._parts]
        vae, tokenizer = self._load_vae().to(self.device), self._load_tokenizer()
        prompts = scored_prompts(self._corpus, tokenizer)

        def sample(averaged: nn.ModuleDict, path: Path) -> dict[str, float]:
            return self._score(Pipeline(self._model(averaged, vae), name=str(self.folder)), prompts, path)

        pictures = lessons[1] if len(lessons) > 1 else None
        channels = weights_for(self.recipe.flow.channel_power, vae, lessons[0].latents)
        return FlowTask(dit, text, tokenizer, lessons[0], vae.stride, self.recipe.flow, sample, pictures, channels)

    def export(self) -> None:
        """Write the model folder, in bfloat16, with the words that the captions use."""
        networks = nn.ModuleDict({"dit": DiT(self.preset.dit), "text": TextEncoder(self.preset.text)})
        self._files.load_weights(networks, "flow")
        if self.recipe.reward is not None:
            self._files.load_weights(nn.ModuleDict({"dit": networks["dit"]}), "reward")
        model = self._model(networks.to(torch.bfloat16), self._load_vae().to(torch.bfloat16))
        self._files.save_model(model, self._words)

    @property
    def _words(self) -> Vocabulary | None:
        """The words that the captions use."""
        return words_of_the_world()

    @property
    def _parts(self) -> tuple[str, ...]:
        """How the names of files about the clips begin, and of those about single frames that are apart."""
        return ("",) if self.recipe.pictures is None else ("", "pictures_")

    @functools.cached_property
    def _corpora(self) -> dict[str, Corpus]:
        """What the files of each of the parts are about; their scenes take seconds to read."""
        apart = {} if self.recipe.pictures is None else {"pictures_": Corpus(self.folder / "pictures")}
        return {"": self._corpus, **apart}

    def _lessons(self, name: str) -> Lessons:
        """The latents of one part and, for recipes with grounding, what its clips show."""
        corpus, truth = self._corpora[name], None
        latents = Latents(self._files.need(f"{name}latents.npy", "latents"), corpus, self.device)
        if self.recipe.flow.grounding is not None:
            truth = Truth(self._files.need(f"{name}coverage.npy", "grounding"), corpus, self.device)
        return Lessons(latents, truth)

    def _model(self, networks: nn.ModuleDict, vae: VideoVAE) -> Model:
        dit, text = networks["dit"], networks["text"]
        assert isinstance(dit, DiT)
        assert isinstance(text, TextEncoder)
        return Model(dit=dit, vae=vae, text=text, tokenizer=self._load_tokenizer(), defaults=self.preset.defaults)

    def _load_vae(self) -> VideoVAE:
        vae = VideoVAE(config_io.load_json(type(self.preset.vae), self._files.need("vae.json", "latents")))
        self._files.load_weights(vae, "vae")
        return vae.eval()

    def _load_tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self._files.need("tokenizer", "tokenizer"))


def _are_alike(mine: VAEConfig, theirs: VAEConfig) -> bool:
    """Whether two autoencoders have the same weights; what their latents measured does not count."""
    return mine == dataclasses.replace(theirs, latents_mean=mine.latents_mean, latents_std=mine.latents_std)


def _inherit(network: nn.Module, source: nn.Module, name: str) -> None:
    """Start from the weights of `source`; a warning says if it has another size and ours stays random."""
    theirs = source.state_dict()
    same = {key: value.shape for key, value in network.state_dict().items()} == {k: v.shape for k, v in theirs.items()}
    if same:
        network.load_state_dict(theirs)
    else:
        logger.warning("the %s to go on from has another size; ours starts from random weights", name)


def scored_prompts(corpus: Corpus, tokenizer: Tokenizer) -> list[Caption]:
    """Give the captions that sheets of samples are made from: the same at every stage of a run."""
    scenes = [corpus.scenes[index] for index in corpus.validation_indices[:SCORED_PROMPTS]]
    return [caption_of(scene, index, tokenizer=tokenizer) for index, scene in enumerate(scenes)]
