"""Flags that a person may mistype: parsed by tyro, refused in one line."""

import dataclasses
import functools
import itertools
import re
import shlex
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from kinema.config import nearest
from kinema.errors import SpecError

T = TypeVar("T")

_HELP = ("--help", "-h")


class _Mistyped(Exception):  # noqa: N818 - never seen outside; tyro would wrap any ValueError into a page of its own
    """Carries the word, and what would fit, past tyro."""


def parse(options: type[T], argv: Sequence[str], command: str) -> T:
    """Read the arguments of `kinema COMMAND` into the dataclass `options`.

    `--help` prints the help and ends the process. Raises SpecError for an unknown flag, naming the nearest; for a value
    that is missing or does not fit its flag; and for several words where one text is wanted.
    """
    read = functools.partial(
        tyro.cli, options, args=list(argv), prog=f"kinema {command}", config=(tyro.conf.FlagCreatePairsOff,)
    )
    try:
        found, left = read(return_unknown_args=True, console_outputs=any(word in _HELP for word in argv))
        for word in left:
            if word.startswith("-"):
                raise SpecError(_unknown_flag(options, word, command))
        if left:
            raise SpecError(_too_many(argv, left, command))
        return cast(T, found)
    except _Mistyped as error:
        word, accepted = error.args
        joined = (each.removesuffix(f"={word}") for each in argv if each.startswith("-") and each.endswith(f"={word}"))
        flag = next((before for before, after in itertools.pairwise(argv) if after == word), next(joined, "a value"))
        raise SpecError(f"{flag} is {word!r}; it takes {accepted}") from None
    except SystemExit as end:
        if not end.code:
            raise
        raise SpecError(_missing(options, argv, command)) from None


def text(metavar: str) -> Any:
    """A flag that takes any text."""
    return _value(metavar, str, "text")


def path(metavar: str = "FILE") -> Any:
    """A flag that takes the name of a file or folder."""
    return _value(metavar, _path, "the name of a file or folder, which is not empty")


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


def _unknown_flag(options: type[Any], word: str, command: str) -> str:
    """What to say of a flag that does not exist."""
    given = word.partition("=")[0]
    name = given.lstrip("-").replace("_", "-")
    known = list(_flags_of(options))
    if name in (flag.name for flag in known if flag.is_positional):
        return f"--{name} is no flag; the {name} stands by itself: kinema {command} {name.upper()}"
    names = [flag.name for flag in known if not flag.is_positional]
    longer = (each for each in names if len(name) > 1 and (each.startswith(name) or name.startswith(each)))
    close = nearest(name, names, likeness=0.65) or next(longer, None)
    return f"unknown flag {given};{f' did you mean --{close}?' if close else ''} see kinema {command} --help"


def _missing(options: type[Any], argv: Sequence[str], command: str) -> str:
    """What to say of a command line that ends too early."""
    known = {f"--{flag.name}": flag for flag in _flags_of(options) if not flag.is_positional}
    for place, word in enumerate(argv):
        if word in known:
            after = list(itertools.takewhile(lambda each: each not in known, argv[place + 1 :]))
            if len(after) < len(known[word].kinds):
                return f"{word} lacks its value; it takes {known[word].accepted}; see kinema {command} --help"
            if len(known[word].kinds) == 1 and after[0].startswith("-"):
                return f"a value that begins with a dash goes behind an equals sign: {word}={shlex.quote(after[0])}"
    wanted = " ".join(flag.accepted for flag in _flags_of(options) if flag.is_positional and flag.is_required)
    return f"kinema {command} takes {wanted}, which is missing; see kinema {command} --help"


@dataclasses.dataclass(frozen=True)
class _Flag:
    name: str
    kinds: tuple["_Kind", ...]
    """What its words are; none for a switch."""
    is_positional: bool
    is_required: bool

    @property
    def accepted(self) -> str:
        if len(self.kinds) == 1 and not self.is_positional:
            return self.kinds[0].accepted
        return " ".join(kind.metavar for kind in self.kinds)


def _flags_of(options: type[Any]) -> Iterator[_Flag]:
    hints = typing.get_type_hints(options, include_extras=True)
    for field in dataclasses.fields(options):
        marks = getattr(hints[field.name], "__metadata__", ())
        if tyro.conf.OmitArgPrefixes in marks:  # a group of flags
            yield from _flags_of(typing.get_args(hints[field.name])[0])
            continue
        yield _Flag(
            name=next((mark.name for mark in marks if getattr(mark, "name", None)), field.name).replace("_", "-"),
            kinds=tuple(_kinds(hints[field.name])),
            is_positional=tyro.conf.Positional in marks,
            is_required=field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )


def _kinds(hint: Any) -> Iterator["_Kind"]:
    """The kinds that a type of a field names, also inside of tuples."""
    yield from (mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, _Kind))
    for inner in typing.get_args(hint):
        yield from _kinds(inner)


def _path(word: str) -> Path:
    if not word:
        raise ValueError
    return Path(word)


@dataclasses.dataclass(frozen=True)
class _Kind(PrimitiveConstructorSpec[Any]):
    """How the words of a flag are read, and what to say of those that cannot be."""

    accepted: str = ""


def _value(metavar: str, convert: Callable[[str], Any], accepted: str) -> Any:
    def read(words: list[str]) -> Any:
        try:
            return convert(words[0])
        except ValueError:
            raise _Mistyped(words[0], accepted) from None

    return _Kind(
        nargs=1,
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda _: True,
        str_from_instance=lambda value: [str(value)],
        accepted=accepted,
    )
