"""The LoRAs that are merged into the transformers of a model, from one request to the next."""

from typing import Literal

from torch import nn

from kinema.checkpoint.lora import Lora
from kinema.generate.turns import Turns
from kinema.model import Model
from kinema.model.lora import Merged, is_for, merge, read_lora


class Adapters:
    """Merges the LoRAs of each request in the place of those of the request before."""

    def __init__(self, model: Model, turns: Turns | None) -> None:
        """With `turns`, weights come and go, and it is they who merge."""
        self._model, self._turns = model, turns
        self._loras: tuple[tuple[str, float], ...] = ()
        self._merged: list[Merged] = []

    def use(self, loras: tuple[tuple[str, float], ...]) -> bool:
        """Merge LoRAs, files with their weights, and say whether that changed anything.

        In a model of two experts, a file named for one of them (`high_noise`, `low_noise`) changes that one only.
        """
        if loras == self._loras or (next(self._model.dit.parameters()).is_meta and self._turns is None):
            return False  # an outline has no numbers to add to
        for merged in self._merged:
            merged.undo()
        self._merged, self._loras = [], ()
        others: tuple[Literal["low", "high"], ...] = ("low", "high")
        read: dict[nn.Module, list[tuple[Lora, float]]] = {}
        for dit, other in zip(self._model.experts, others, strict=False):
            mine = [lora for lora in loras if self._model.dit_low is None or not is_for(lora[0], other)]
            read[dit] = [(read_lora(path, dit), weight) for path, weight in mine]
        if self._turns is not None:
            self._turns.use_loras(read)
        else:
            self._merged = [merge(dit, each) for dit, each in read.items() if each]
        self._loras = loras
        return True
