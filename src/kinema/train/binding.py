"""Binding: every word that names an object must tell all that the caption says of that object.

Left to the error of the velocity alone, the text encoder hands on a bag of words: from the vector of "cone" in "a red
cone beside a blue ball" the colour of the cone can hardly be read, and videos mix things up (attribute binding: Feng
et al. 2023, arXiv 2212.05032). So a linear map reads the facts about its object from each naming token, which captions
of the world state exactly. The map is not part of the model.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from kinema.model.text import Tokenizer
from kinema.world.describe import Caption
from kinema.world.facts import OPPOSITE, Facts
from kinema.world.mention import Mention
from kinema.world.scene import ACTIONS, COLOURS, MATERIALS, MOST_OBJECTS, SHAPES, SIZES

RARE = -3.0
"""Bias that the map starts with: a given thing is said of about one object of twenty."""

SAID: tuple[str, ...] = (
    *SHAPES,
    *COLOURS,
    *SIZES,
    *MATERIALS,
    *ACTIONS,
    "to the left",
    "to the right",
    *OPPOSITE,
    *(f"one of {number}" for number in range(1, MOST_OBJECTS + 1)),
    *(f"among {number}" for number in range(1, MOST_OBJECTS + 1)),
)
"""What can be said of an object; "one of" counts the objects of the same mention, "among" all that are spoken of."""

NUMBERS = {name: number for number, name in enumerate(SAID)}


class Names(NamedTuple):
    """Which tokens of some captions name an object, and what is said of it."""

    said: UInt8[Tensor, "b k said"]
    """1 for what the caption says of the object that a token names."""
    named: Bool[Tensor, "b k"]
    """Whether a token names one."""


class BindingHead(nn.Module):
    """Reads embedded tokens: logits of what is said of the object that each one names."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, len(SAID))
        nn.init.constant_(self.out.bias, RARE)

    def forward(self, text: Float[Tensor, "b k d"]) -> Float[Tensor, "b k said"]:
        """Map tokens to logits."""
        logits: Tensor = self.out(text)
        return logits


def binding_loss(
    logits: Float[Tensor, "b k said"], said: UInt8[Tensor, "b k said"], named: Bool[Tensor, "b k"]
) -> Float[Tensor, ""]:
    """Cross-entropy in nats per naming token, summed over what can be said; 0 where nothing is named."""
    errors = F.binary_cross_entropy_with_logits(logits.float(), said.float(), reduction="none").sum(-1)
    return (errors * named).sum() / named.sum().clamp_min(1)


def said_of(caption: Caption, mention: Mention) -> list[str]:
    """List what the caption says of the objects of a mention, in words of `SAID`."""
    facts, index = caption.facts, mention.objects[0]
    thing = facts.objects[index]
    said: list[str | None] = [thing.shape, thing.colour, thing.size, thing.material]
    if index == 0:
        said += [facts.action, facts.direction and f"to the {facts.direction}"]
    said += [relation.side for relation in facts.relations if relation.subject == index]
    said += [OPPOSITE[relation.side] for relation in facts.relations if relation.reference == index]
    said += [f"one of {len(mention.objects)}", f"among {_spoken_of(facts)}"]
    return [word for word in said if word is not None]


def mark_names(captions: Sequence[Caption], tokenizer: Tokenizer) -> Names:
    """Say of each token whether it names an object, and what is said of that one."""
    said = torch.zeros(len(captions), tokenizer.max_tokens, len(SAID), dtype=torch.uint8)
    named = torch.zeros(said.shape[:2], dtype=torch.bool)
    places = tokenizer.places([caption.text for caption in captions])
    for row, (caption, spans) in enumerate(zip(captions, places, strict=True)):
        for mention in caption.mentions:
            tokens = [k for k, (start, end) in enumerate(spans) if start < mention.end and end > mention.start]
            marks = torch.zeros(len(SAID), dtype=torch.uint8)
            marks[[NUMBERS[word] for word in said_of(caption, mention)]] = 1
            said[row, tokens], named[row, tokens] = marks, True
    return Names(said, named)


def _spoken_of(facts: Facts) -> int:
    """Objects that the caption counts or, where it does not count, describes."""
    return facts.count or sum(thing.shape is not None for thing in facts.objects)
