"""Flags that a person may mistype: parsed by tyro, refused in one line."""

import functools
import itertools
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from kinema.errors import SpecError

T = TypeVar("T")


class _Mistyped(Exception):  # noqa: N818 - never seen outside; tyro would wrap any ValueError into a page of its own
    """Carries the word, and what would fit, past tyro."""


def parse(options: type[T], argv: Sequence[str], command: str) -> T:
    """Read the arguments of `kinema COMMAND` into the dataclass `options`.

    `--help` prints the help and ends the process; so does an unknown flag, which is answered with similar ones. Raises
    SpecError for a value that does not fit its flag, and for several words where one text is wanted.
    """
    read = functools.partial(
        tyro.cli, options, args=list(argv), prog=f"kinema {command}", config=(tyro.conf.FlagCreatePairsOff,)
    )
    try:
        found, left = read(return_unknown_args=True)
        if any(word.startswith("-") for word in left):
            read()  # says which flags there are, and ends
        if left:
            raise SpecError(_too_many(argv, left, command))
        return cast(T, found)
    except _Mistyped as error:
        word, accepted = error.args
        flag = next((before for before, after in itertools.pairwise(argv) if after == word), "a flag")
        raise SpecError(f"{flag} is {word!r}; it takes {accepted}") from None


def text(metavar: str) -> Any:
    """A flag that takes any text."""
    return _value(metavar, str, "text")


def path(metavar: str = "FILE") -> Any:
    """A flag that takes the name of a file or folder."""
    return _value(metavar, Path, "a path")


def whole(metavar: str = "N") -> Any:
    """A flag that takes a whole number."""
    return _value(metavar, int, "a whole number, such as 17")


def number(metavar: str) -> Any:
    """A flag that takes a number."""
    return _value(metavar, float, "a number, such as 2.5")


def hint(default: str = "", name: str | None = None) -> Any:
    """What the help says that leaving the flag out means; and the flag's name, where Python cannot spell it."""
    return tyro.conf.arg(name=name, help_behavior_hint=f"(default: {default})" if default else "")


def parse_size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT; raises SpecError for anything else."""
    found = re.fullmatch(r"(\d+)[xX×](\d+)", text.strip())  # noqa: RUF001 - the sign that people paste
    if found is None:
        raise SpecError(f"size={text!r} is not a size; it takes WIDTHxHEIGHT, such as 96x64")
    return int(found[1]), int(found[2])


def _too_many(argv: Sequence[str], left: Sequence[str], command: str) -> str:
    leading = list(itertools.takewhile(lambda word: not word.startswith("-"), argv))
    quoted = f"a text of several words goes in quotes: kinema {command} {shlex.quote(' '.join(leading))}"
    advice = quoted if len(leading) > len(left) else f"see kinema {command} --help"
    return f"{' '.join(left)!r} is too much; {advice}"


def _value(metavar: str, convert: Callable[[str], Any], accepted: str) -> Any:
    def read(words: list[str]) -> Any:
        try:
            return convert(words[0])
        except ValueError:
            raise _Mistyped(words[0], accepted) from None

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda _: True,
        str_from_instance=lambda value: [str(value)],
    )
