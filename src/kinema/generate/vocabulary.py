"""Which words a small model has learnt, so that a prompt with others can be warned about."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kinema.config import load_json, nearest, save_json
from kinema.errors import CheckpointError, SpecError

FILE_NAME = "vocabulary.json"
"""Stands beside `model_index.json`; a model folder without it knows every word."""

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")  # noqa: RUF001 - prompts do contain the typographic apostrophe
_SYMBOL = re.compile(r"[^\w\s\x00-\x7f\u2000-\u206f]")  # pictograms and the like, but no punctuation
_ENDINGS = ("", "e", "s", "es", "d", "ed", "ing")


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The words of the captions that a model was trained on."""

    words: tuple[str, ...]
    """Every word, in lower case and in alphabetical order."""
    topics: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What the model knows, for people: `{"colours": ("red", "blue"), ...}`."""

    @classmethod
    def from_captions(cls, captions: Iterable[str], topics: dict[str, tuple[str, ...]] | None = None) -> "Vocabulary":
        """Collect the words of the captions of a training set."""
        return cls(words=tuple(sorted({word for text in captions for word in split_words(text)})), topics=topics or {})

    @classmethod
    def load(cls, folder: str | Path) -> "Vocabulary | None":
        """Read the vocabulary of a model folder; None where it has none. Raises CheckpointError for a damaged file."""
        path = Path(folder) / FILE_NAME
        if not path.exists():
            return None
        try:
            return load_json(cls, path)
        except SpecError as error:
            raise CheckpointError(str(error)) from error

    def save(self, folder: str | Path) -> None:
        """Write the vocabulary into a model folder."""
        save_json(self, Path(folder) / FILE_NAME)

    def unseen(self, prompt: str) -> tuple[str, ...]:
        """The words and pictograms of `prompt` that no caption had, in their order, each once.

        A word that a caption had with another ending (fall, falls, falling) is none of them.
        """
        known = {*self.words, *(word for words in self.topics.values() for word in words)}
        stems = {stem for word in known for stem in _stems(word)}
        found = (*split_words(prompt), *_SYMBOL.findall(prompt))
        return tuple(dict.fromkeys(word for word in found if word not in known and not stems & _stems(word)))

    def warning(self, prompt: str) -> str | None:
        """One line that names the words never seen and what the model knows; None when it has seen them all."""
        unseen = self.unseen(prompt)
        if not unseen:
            return None
        named = ", ".join(self._named(word) for word in unseen)
        known = "; ".join(f"{topic}: {', '.join(words)}" for topic, words in self.topics.items())
        return f"the model has never seen {named}" + (f" - it knows {known}" if known else "")

    def _named(self, word: str) -> str:
        close = nearest(word, self.words, likeness=0.75) if len(word) > 3 else None
        return f"{word!r}" + (f" (did you mean {close!r}?)" if close else "")


def _stems(word: str) -> set[str]:
    """What is left of a word without each ending that it may have, of three letters or more."""
    return {word.removesuffix(ending) for ending in _ENDINGS if len(word) - len(ending) >= 3 and word.endswith(ending)}


def split_words(text: str) -> list[str]:
    """The words of a text in lower case, without numbers and punctuation; `don't` is one word, `blue-green` two."""
    return _WORD.findall(text.lower())
