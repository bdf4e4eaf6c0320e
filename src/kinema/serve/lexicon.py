"""Groups of words and phrases, and which of them occur in a text; the time it takes grows with the text only."""

import re
from collections.abc import Iterable, Mapping

from kinema.serve.disguise import plain_text

_WORDS = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Scripts that put no space between words, or write endings onto them."""

_INNOCENT = ""


class Lexicon:
    """Groups by name. A phrase that ends with * stands for all that begin so; innocent phrases are overlooked first."""

    def __init__(self, groups: Mapping[str, Iterable[str]], innocent: Iterable[str] = ()) -> None:
        self._phrases: dict[str, list[tuple[str, tuple[str, ...], bool]]] = {}  # by first word
        self._stems: dict[str, set[str]] = {}  # single words of which only the beginning counts
        self._unspaced: dict[str, re.Pattern[str]] = {}
        for name, phrases in {**groups, _INNOCENT: innocent}.items():
            unspaced = [self._unspaced_or_added(name, plain_text(phrase)) for phrase in phrases]
            pattern = "|".join(re.escape(phrase) for phrase in unspaced if phrase)
            if pattern:
                self._unspaced[name] = re.compile(pattern)
        self._lengths = sorted({len(stem) for stem in self._stems})

    def found(self, text: str) -> set[str]:
        """The groups of which something occurs in a text in plain form."""
        words = _WORDS.findall(text)
        groups: set[str] = set()
        i = 0
        while i < len(words):
            here = self._at(words, i)
            overlooked = max((length for name, length in here if name == _INNOCENT), default=0)
            groups.update(name for name, length in here if name != _INNOCENT and length > overlooked)
            i += max(1, overlooked)
        if not text.isascii():
            groups.update(name for name, pattern in self._unspaced.items() if name and pattern.search(text))
        return groups

    def _at(self, words: list[str], i: int) -> list[tuple[str, int]]:
        """What begins at a word: names of groups with the number of words."""
        word, here = words[i], []
        for length in self._lengths:
            if length > len(word):
                break
            here += [(name, 1) for name in self._stems.get(word[:length], ())]
        for name, phrase, is_open in self._phrases.get(word, ()):
            end = i + len(phrase)
            if is_open:
                fits = words[i : end - 1] == list(phrase[:-1]) and "".join(words[end - 1 : end]).startswith(phrase[-1])
            else:
                fits = words[i:end] == list(phrase)
            if fits:
                here.append((name, len(phrase)))
        return here

    def _unspaced_or_added(self, name: str, phrase: str) -> str | None:
        stem = phrase.rstrip("* ")
        if _UNSPACED.search(stem):
            return stem
        words = tuple(_WORDS.findall(stem))
        if len(words) == 1 and phrase.endswith("*"):
            self._stems.setdefault(words[0], set()).add(name)
        elif words:
            self._phrases.setdefault(words[0], []).append((name, words, phrase.endswith("*")))
        return None
