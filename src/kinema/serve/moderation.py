"""What must not be asked for: rules over words, in a file that the operator edits, and a look behind disguises.

A rule flags a category when each of its groups of words occurs in a text. Texts are read in several ways at once: as
they stand, with look-alike letters and digits read as the letters they stand for, with s p a c e d letters joined and
with stretched ones shortened.
"""

import functools
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kinema.config import load_json, unknown
from kinema.errors import KinemaError, SpecError
from kinema.serve.disguise import plain_text, readings
from kinema.serve.lexicon import Lexicon

logger = logging.getLogger(__name__)

CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip
"""OpenAI's names."""

DEFAULT_POLICY = Path(__file__).with_name("policy.json")

Level = Literal["auto", "low"]


class Blocked(KinemaError):  # noqa: N818 - an answer, not a fault
    """The policy of this server says no."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One reason to flag a text."""

    category: str
    """One of OpenAI's categories."""
    all: tuple[str, ...]
    """Names of the groups of which a word must occur, each."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is flagged, and what is refused; `policy.json` is one."""

    about: str = ""
    """For whoever reads the file."""
    block: tuple[str, ...]
    """Categories that are refused."""
    block_low: tuple[str, ...]
    """Categories that are refused even when a request asks for `"moderation": "low"`."""
    groups: dict[str, tuple[str, ...]]
    """Words and phrases by name; one that ends with * stands for all words that begin so."""
    innocent: tuple[str, ...] = ()
    """Phrases that are overlooked before anything else is looked for."""
    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        """Refuse names that nothing has."""
        for category in (*self.block, *self.block_low, *(rule.category for rule in self.rules)):
            if category not in CATEGORIES:
                raise SpecError(unknown("category", category, CATEGORIES))
        for rule in self.rules:
            if not rule.all:
                raise SpecError(f"a rule for {rule.category} names no group, so it would flag everything")
            for name in rule.all:
                if name not in self.groups:
                    raise SpecError(unknown("group", name, self.groups))
        for name, words in {**self.groups, "innocent": self.innocent}.items():
            if any(not plain_text(word).strip("* ") for word in words) or (not words and name != "innocent"):
                raise SpecError(f"the group {name!r} is empty, or has an empty word")

    def flags(self, text: str) -> list[str]:
        """The categories that a text falls under, in OpenAI's order."""
        found = {name for reading in readings(text) for name in self._lexicon.found(reading)}
        flagged = {rule.category for rule in self.rules if found.issuperset(rule.all)}
        return [category for category in CATEGORIES if category in flagged]

    def require_allowed(self, text: str, level: Level = "auto") -> None:
        """Raise Blocked for a text in a category that is refused."""
        blocked = self.block if level == "auto" else self.block_low
        found = [category for category in self.flags(text) if category in blocked]
        if found:
            raise Blocked(f"the policy of this server refuses the prompt ({', '.join(found)}); ask for something else")

    @functools.cached_property
    def _lexicon(self) -> Lexicon:
        return Lexicon(self.groups, self.innocent)


class PolicyFile:
    """A policy that is read again when its file has changed; one that became unreadable leaves the last good one."""

    def __init__(self, path: str | Path | None = None) -> None:
        self._path = Path(path) if path else DEFAULT_POLICY
        self._lock = threading.Lock()
        self._policy = load_json(Policy, self._path)
        self._stamp = self._now()

    @property
    def policy(self) -> Policy:
        """The policy as it is now."""
        stamp = self._now()
        with self._lock:
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._policy = load_json(Policy, self._path)
                    logger.info("read the policy %s again", self._path)
                except SpecError as error:
                    logger.error("the policy stays as it was: %s", error)
            return self._policy

    def _now(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size
