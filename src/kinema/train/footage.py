"""A run that learns from footage: the clips of a data set, as the model that it goes on from has encoded them."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from kinema import config as config_io
from kinema.data.buckets import Bucket
from kinema.data.encode import model_fingerprint
from kinema.data.reader import Reader, unpack
from kinema.data.store import Store, quoted
from kinema.errors import DataError, SpecError
from kinema.generate.vocabulary import Vocabulary
from kinema.model import load_model
from kinema.train.config import CorpusConfig, Recipe
from kinema.train.corpus import Corpus
from kinema.train.run import Run, Score
from kinema.train.words import words_of
from kinema.world.changing import Stated

logger = logging.getLogger(__name__)

VALIDATION_SHARE = 0.1
"""Share of the clips that are kept apart."""


@dataclass(frozen=True)
class Footage:
    """What a run asks of its corpus, but the frames: the captions stand where rendered clips have their scenes."""

    config: CorpusConfig
    scenes: list[str]

    @property
    def validation_indices(self) -> range:
        """Indices of the clips kept apart."""
        return range(self.config.clips, self.config.clips + self.config.validation_clips)

    @property
    def since(self) -> NDArray[np.int64]:
        """Frame of each clip from which on its caption is true: the first."""
        return np.zeros(len(self.scenes), np.int64)

    @property
    def stated(self) -> list[Stated | None]:
        """What the caption of each clip must state: nothing."""
        return [None] * len(self.scenes)


class FootageRun(Run):
    """A recipe whose clips come out of a data set; autoencoder and tokenizer stay those of the model to go on from.

    Raises SpecError without such a model, and DataError when another model encoded the data set, or when it has no
    clips of the recipe's shape.
    """

    def __init__(
        self,
        data: Path,
        recipe: Recipe,
        folder: Path,
        score: Score,
        init: str | None = None,
        device: torch.device | None = None,
    ) -> None:
        if init is None:
            raise SpecError("--data goes on from the model that encoded the data set; name it, such as --init mini")
        vae, flow = replace(recipe.vae, object_weight=1.0), replace(recipe.flow, grounding=None)
        recipe = replace(recipe, vae=vae, flow=flow, pictures=None, reward=None)
        super().__init__(recipe, folder, score, init, device)
        self._store = Store(data)
        Reader(self._store, 1, fingerprint=model_fingerprint(load_model(init, torch.device("cpu"))))

    def check(self, stages: Sequence[str]) -> None:
        """Refuse what `Run` refuses; the autoencoder is not trained."""
        super().check([stage for stage in stages if stage != "vae"])

    def corpus(self) -> None:
        """Note which clips the run learns from, and their captions; a run that has others is refused."""
        shape = self.recipe.corpus
        bucket = str(Bucket(width=shape.width, height=shape.height, frames=shape.frames, fps=shape.fps))
        rows = self._store.read("latents", ["bucket", "lineage", "caption"])
        names = [row for row in rows if row["bucket"] == bucket]
        if len(names) < 2:
            there = ", ".join(sorted({row["bucket"] for row in rows}))
            raise DataError(
                f"{self._store.folder} has {len(names)} clips of {bucket}, and 2 are needed; it has {there}"
            )
        clips = [{"name": row["latent_id"], "lineage": row["lineage"], "caption": row["caption"]} for row in names]
        if self._list.exists() and json.loads(self._list.read_text(encoding="utf-8")) != clips:
            raise DataError(
                f"{self.folder} learns from other clips than {self._store.folder} has now; name a new --out"
            )
        partial = self._list.with_suffix(".partial")
        partial.write_text(json.dumps(clips), encoding="utf-8")
        partial.rename(self._list)

    def vae(self) -> None:
        """Take the autoencoder that encoded the clips."""
        assert self._init is not None
        self._files.save_weights(self._init.vae, "vae")
        config_io.save_json(self._init.vae.config, self.folder / "vae.json")

    def latents(self) -> None:
        """Take the latents out of the data set."""
        target = self.folder / "latents.npy"
        if target.exists():
            return
        partial = target.with_suffix(".partial")
        array: np.memmap | None = None
        names = [clip["name"] for clip in json.loads(self._list.read_text(encoding="utf-8"))]
        for index, name in enumerate(names):
            (row,) = self._store.read("latents", ["latent", "latent_shape"], f"latent_id = {quoted(name)}")
            latent = unpack(row, "latent")
            if array is None:
                shape = (len(names), *latent.shape)
                array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
            array[index] = latent
        assert array is not None
        array.flush()
        partial.rename(target)

    @property
    def _words(self) -> Vocabulary | None:
        """The words of the model to go on from, and those of the captions."""
        assert self._init is not None
        return words_of(self._init, cast("list[str]", self._corpus.scenes))

    @property
    def _list(self) -> Path:
        return self.folder / "footage.json"

    @cached_property
    def _corpus(self) -> Corpus:
        if not self._list.exists():
            raise DataError(f"{self.folder} lacks footage.json; run the stage corpus")
        captions: Sequence[str] = [clip["caption"] for clip in json.loads(self._list.read_text(encoding="utf-8"))]
        apart = max(1, int(len(captions) * VALIDATION_SHARE))
        config = replace(self.recipe.corpus, clips=len(captions) - apart, validation_clips=apart)
        return cast("Corpus", Footage(config, list(captions)))
