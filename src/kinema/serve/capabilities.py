"""What a model can make, as a worker tells it to the API process, which loads none."""

import functools
import json
import math
from dataclasses import dataclass

import sqlalchemy as sa

from kinema.config import from_dict
from kinema.generate.ability import Nature, edit_kinds, extend_directions
from kinema.serve.store import MODELS, Store
from kinema.shapes import Stride
from kinema.spec import ModelDefaults


@dataclass(frozen=True, kw_only=True)
class Capabilities(Nature):
    """What a model can make."""

    name: str
    defaults: ModelDefaults
    stride: Stride
    """Frames less one, rows and columns are multiples of these."""
    solvers: tuple[str, ...]

    @property
    def edits(self) -> tuple[str, ...]:
        """The edits that it can make, by their `kind`."""
        return edit_kinds(self)

    @property
    def extends(self) -> tuple[str, ...]:
        """In which directions it can extend a video."""
        return extend_directions(self)

    @property
    def usual(self) -> int:
        """How many latent frames it makes at once unless told otherwise."""
        return (self.defaults.frames - 1) // self.stride.time + 1

    @property
    def step_s(self) -> float:
        """Lengths of its videos are multiples of so many seconds, at its own frame rate."""
        return self.stride.time / self.defaults.fps

    def nearest_size(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) with the proportions nearest to these at about the model's own number of pixels."""
        area = self.defaults.width * self.defaults.height
        best = (math.inf, self.defaults.width, self.defaults.height)
        for w in range(self.stride.width, 4 * int(math.sqrt(area)) + 1, self.stride.width):
            for h in range(self.stride.height, 4 * int(math.sqrt(area)) + 1, self.stride.height):
                cost = 2 * abs(math.log(w / h * height / width)) + abs(math.log(w * h / area))
                best = min(best, (cost, w, h))
        return best[1], best[2]


def known_models(store: Store) -> dict[str, Capabilities]:
    """The models that workers have offered, by name."""
    with store.read() as db:
        rows = db.execute(sa.select(MODELS)).all()
    return {row.name: _read(row.capabilities) for row in rows}


@functools.lru_cache(256)
def _read(text: str) -> Capabilities:
    told = json.loads(text)
    told.pop("edits", None)  # workers of earlier versions say this too
    return from_dict(Capabilities, told)
