"""A run in its folder: stages in their order, and what one leaves there for the next, whole or not at all."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from kinema.errors import DataError
from kinema.generate.vocabulary import Vocabulary
from kinema.model import Model, save_model


@dataclass(frozen=True)
class RunFolder:
    """Files of a run by name; a file appears only when it is whole."""

    path: Path

    def need(self, name: str, stage: str) -> Path:
        """Give a file that `stage` leaves. Raises DataError when it is not there yet."""
        path = self.path / name
        if not path.exists():
            raise DataError(f"{path} is not there yet; run the stage {stage} first")
        return path

    def save_weights(self, network: nn.Module, name: str) -> None:
        """Write all weights of a network into NAME.safetensors."""
        target = self.path / f"{name}.safetensors"
        partial = target.with_suffix(".partial")
        save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, partial)
        partial.rename(target)

    def load_weights(self, network: nn.Module, name: str, stage: str | None = None) -> None:
        """Fill a network with what `save_weights` wrote.

        Raises DataError when the stage that writes it, of that name unless told, has not run.
        """
        network.load_state_dict(load_file(self.need(f"{name}.safetensors", stage or name)))

    def save_model(self, model: Model, words: Vocabulary | None) -> Path:
        """Write the model folder, with the words that it has learnt; None = every word."""
        partial, target = self.path / "model.partial", self.path / "model"
        shutil.rmtree(partial, ignore_errors=True)
        save_model(model, partial)
        if words is not None:
            words.save(partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        return target
