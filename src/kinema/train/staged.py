"""A recipe run stage by stage in one folder: what all kinds of runs have in common."""

import contextlib
import copy
import functools
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from kinema import config as config_io
from kinema.checkpoint.lock import only_run
from kinema.errors import DataError
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

        Raises DataError where one is missing, where another run is working in the folder, and where a finished stage
        had other settings; SpecError, before any work, for settings that a stage cannot have.
        """
        to_run = [stage for stage in self.stages if stages is None or stage in stages]
        self.check(to_run)
        self.folder.mkdir(parents=True, exist_ok=True)
        with only_run(self.folder):
            self._keep_settings()
            for stage in to_run:
                logger.info("stage %s", stage)
                self._report = unwatched if watch is None else functools.partial(watch, stage)
                getattr(self, stage)()
        return self.folder / "model"

    def check(self, stages: Sequence[str]) -> None:
        """Refuse settings that one of these stages cannot have, by SpecError: later stages begin hours from now."""

    def is_done(self, stage: str) -> bool:
        """Whether the weights that a stage leaves are there."""
        return (self.folder / f"{stage}.safetensors").exists()

    def _keep_settings(self) -> None:
        """Write the recipe down, unless a stage whose result is there had other settings."""
        path, now = self.folder / "config.json", config_io.to_dict(self._common)
        before: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):  # a file that says nothing forbids nothing
            before = dict(json.loads(path.read_text(encoding="utf-8")))
        for stage in self.stages:
            told = before.get(stage), now.get(stage)
            changed = _first_change(*told, stage) if self.is_done(stage) and all(told) else None
            if changed is not None:
                name, old, new = changed
                raise DataError(
                    f"{self.folder} finished the stage {stage} with {name}={json.dumps(old)}, not {json.dumps(new)}; "
                    f"choose another --out, or remove there what later stages made and {stage}.safetensors, to go on "
                    f"from its last checkpoint, or the folder {stage} too, to begin anew"
                )
        config_io.save_json(self._common, path)

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


def _first_change(before: Any, now: Any, place: str) -> tuple[str, Any, Any] | None:
    """The first setting that differs, with both values; what only one version of the program knows does not count."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return None if before == now else (place, before, now)
    shared = (_first_change(before[key], now[key], f"{place}.{key}") for key in before if key in now)
    return next((change for change in shared if change is not None), None)
