"""Which words a model has learnt: those of the captions that it was trained on."""

from collections.abc import Iterable

from kinema.generate.vocabulary import Vocabulary
from kinema.model import Model
from kinema.world.describe import vocabulary
from kinema.world.scene import ACTIONS, COLOURS, FLOORS, LIGHTS, MATERIALS, SHAPES, SIZES

TOPICS: dict[str, tuple[str, ...]] = {
    "shapes": SHAPES,
    "colours": COLOURS,
    "sizes": SIZES,
    "materials": MATERIALS,
    "actions": ACTIONS,
    "floors": FLOORS,
    "light": LIGHTS,
}
"""What a model of the demo world knows; named when a prompt has other words."""


def words_of_the_world() -> Vocabulary:
    """The words of the demo world's captions."""
    return Vocabulary.from_captions(vocabulary(), TOPICS)


def words_of(model: Model, captions: Iterable[str] = ()) -> Vocabulary | None:
    """The words that a loaded model knows, with those of captions that it learnt since; None = it knows every word."""
    known = Vocabulary.load(model.folder) if model.folder is not None else None
    return None if known is None else Vocabulary.from_captions([*known.words, *captions], known.topics)
