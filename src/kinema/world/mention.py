"""Where a caption names objects: phrases are marked while it is written, and the marks taken out when it is whole.

Words move while a sentence is put together, so where a phrase will stand is known only at the end.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kinema.world.scene import MOST_OBJECTS

_MARKS = 0xE000
"""Characters from here on, which no text holds, stand before mentions until a caption is whole: plus 1 for the first
object, 2 for the second, 4 for the third and so on; `_MARKS` itself stands behind a mention."""

_MARKED = re.compile(f"([{chr(_MARKS + 1)}-{chr(_MARKS + 2**MOST_OBJECTS - 1)}])(.*?){chr(_MARKS)}")


@dataclass(frozen=True)
class Mention:
    """A phrase of a caption, `text[start:end]`, and the objects that it names, by their numbers in the scene."""

    objects: tuple[int, ...]
    start: int
    end: int


def mark(phrase: str, indices: Sequence[int]) -> str:
    """Put the phrase between marks that say which objects it names."""
    return f"{chr(_MARKS + sum(1 << index for index in indices))}{phrase}{chr(_MARKS)}"


def unmark(text: str) -> tuple[str, tuple[Mention, ...]]:
    """Take the marks out, and say where they stood."""
    plain, end = "", 0
    mentions: list[Mention] = []
    for match in _MARKED.finditer(text):
        plain += text[end : match.start()]
        which = ord(match[1]) - _MARKS
        objects = tuple(index for index in range(MOST_OBJECTS) if which >> index & 1)
        mentions.append(Mention(objects, len(plain), len(plain) + len(match[2])))
        plain += match[2]
        end = match.end()
    return plain + text[end:], tuple(mentions)


def capitalised(text: str) -> str:
    """Make the first letter large, whether a mark stands before it or not."""
    first = 1 if _MARKED.match(text) else 0
    return text[:first] + text[first].upper() + text[first + 1 :]
