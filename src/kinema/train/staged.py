"""A recipe run stage by stage in one folder: what all kinds of runs have in common."""

import copy
import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from kinema import config as config_io
from kinema.checkpoint.lock import only_run
from kinema.train.config import CausalRecipe, Recipe, StageConfig
from kinema.train.corpus import Corpus, render_corpus
from kinema.train.folder import RunFolder
from kinema.train.trainer import Task, train
from kinema.train.watch import Report, Watch, unwatched

logger = logging.getLogger(__name__)


class StagedRun:
    """Runs the methods named in `stages`, in their order; each skips what is in the folder already."""

    stages: ClassVar[tuple[str, ...]]
    """Names of the stages, each a method without arguments."""

    def __init__(self, recipe: Recipe | CausalRecipe, folder: Path, device: torch.device | None = None) -> None:
        self.folder = folder
        self.device = device or torch.device("cpu")
        self._files = RunFolder(folder)
        self._common = recipe
        self._report: Report = unwatched

    def run(self, stages: Sequence[str] | None = None, watch: Watch | None = None) -> Path:
        """Run the stages, all unless told, and return the model's folder; `watch` hears how far each has come.

        Raises DataError where one is missing, and where another run is working in the folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with only_run(self.folder):
            config_io.save_json(self._common, self.folder / "config.json")
            for stage in self.stages:
                if stages is None or stage in stages:
                    logger.info("stage %s", stage)
                    self._report = unwatched if watch is None else functools.partial(watch, stage)
                    getattr(self, stage)()
        return self.folder / "model"

    def corpus(self) -> None:
        """Render the clips."""
        render_corpus(self._common.corpus, self.folder / "corpus", self._report)

    @functools.cached_property
    def _corpus(self) -> Corpus:
        """The rendered clips; their scenes take seconds to read."""
        return Corpus(self.folder / "corpus")

    def _train(self, task: Task, config: StageConfig, name: str, keep: Sequence[str]) -> nn.ModuleDict:
        """Train, leave the averaged weights of the networks to `keep` as NAME.safetensors, and give all of them."""
        averaged = copy.deepcopy(task.networks)
        train(task, config, self.folder / name, averaged, self._report)
        self._files.save_weights(nn.ModuleDict({part: averaged[part] for part in keep}), name)
        return averaged
