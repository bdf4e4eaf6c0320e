"""Configurations as JSON: frozen dataclasses in and out, with every mistake named by its place.

What a field may hold: `None`, `bool`, `int`, `float`, `str`, `Path`, `Literal`, unions of those, tuples, lists,
`dict[str, ...]` and other dataclasses. Nothing is converted silently, except an integer where a float is wanted.
"""

import dataclasses
import difflib
import functools
import json
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from kinema.errors import SpecError

T = TypeVar("T")


def nearest(name: str, choices: Iterable[str], likeness: float = 0.5) -> str | None:
    """The choice that a mistyped name most likely meant, or None when nothing is so like it (1 is equal)."""
    lowered = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=likeness)
    return lowered[found[0]] if found else None


def unknown(kind: str, name: str, choices: Iterable[str], *, shown: str | None = None) -> str:
    """The message for a name that does not exist: `unknown solver 'eular'; did you mean 'euler'? (...)`.

    `shown` is what the message calls it, where that is more than the name: the whole path of a field.
    """
    known = sorted(choices)
    close = nearest(name, known)
    meant = f"; did you mean {close!r}?" if close else ";"
    return f"unknown {kind} {(shown or name)!r}{meant} known: {', '.join(known) or 'none'}"


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as plain dictionaries, lists, strings and numbers that JSON can hold."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"to_dict takes an instance of a dataclass, not {config!r}")
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config) if field.init}


def from_dict(cls: type[T], data: Mapping[str, Any]) -> T:
    """A dataclass from what `to_dict` made, or from what a person wrote by hand.

    Fields left out take their defaults. Raises SpecError, with the path of the field, for a key that does not exist
    (and names the nearest one that does), a required field that is missing, and a value of the wrong type.
    """
    return typing.cast(T, _dataclass(cls, data, ""))


def save_json(config: Any, path: str | Path) -> None:
    """Write a dataclass as indented JSON; the file appears whole or not at all."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(to_dict(config), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def load_json(cls: type[T], path: str | Path) -> T:
    """Read a dataclass from a JSON file; a SpecError names the file and the place in it."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read {path}: {error}") from error
    try:
        return from_json(cls, text)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def from_json(cls: type[T], text: str) -> T:
    """Read a dataclass from JSON text; raises SpecError when it is no JSON object or does not fit the dataclass."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise SpecError(f"not valid JSON: {error}") from error
    return from_dict(cls, data)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a configuration cannot hold {value!r} of type {type(value).__name__}")


@functools.cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _dataclass(cls: type, data: Any, place: str) -> Any:
    if not isinstance(data, Mapping):
        raise _mismatch(place, data, "an object with the fields of " + cls.__name__)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in data:
        if key not in fields:
            raise SpecError(unknown(f"field of {cls.__name__}", str(key), fields, shown=_join(place, str(key))))
    hints = _hints(cls)
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in data:
            raise SpecError(f"{_join(place, name)} is missing; {cls.__name__} needs it")
    return cls(**{key: _value(hints[key], item, _join(place, key)) for key, item in data.items()})


def _value(hint: Any, value: Any, place: str) -> Any:
    origin = typing.get_origin(hint)
    if origin is Union or origin is types.UnionType:
        return _union(typing.get_args(hint), value, place)
    if origin is Literal:
        return _literal(typing.get_args(hint), value, place)
    if origin in (tuple, list, Sequence):
        return _sequence(hint, origin, value, place)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise _mismatch(place, value, "an object")
        item_hint = typing.get_args(hint)[1]
        return {str(key): _value(item_hint, item, _join(place, str(key))) for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return _dataclass(typing.cast(type, hint), value, place)
    return _scalar(hint, value, place)


def _union(options: Sequence[Any], value: Any, place: str) -> Any:
    if value is None and type(None) in options:
        return None
    options = [option for option in options if option is not type(None)]
    if len(options) == 1:
        return _value(options[0], value, place)
    if isinstance(value, Mapping):  # dataclasses that say in a field `kind` which of them they are
        named = [option for option in options if value.get("kind") == getattr(option, "kind", value)]
        options = named or options
        if len(options) == 1:
            return _value(options[0], value, place)
    for option in sorted(options, key=lambda option: option is not type(value)):
        try:
            return _value(option, value, place)
        except SpecError:
            continue
    raise _mismatch(place, value, " or ".join(_name(option) for option in options))


def _literal(choices: Sequence[Any], value: Any, place: str) -> Any:
    for choice in choices:
        if choice == value and type(choice) is type(value):
            return choice
    close = (
        nearest(value, [choice for choice in choices if isinstance(choice, str)]) if isinstance(value, str) else None
    )
    listed = ", ".join(map(repr, choices))
    raise _mismatch(place, value, f"one of {listed}" + (f" (did you mean {close!r}?)" if close else ""))


def _sequence(hint: Any, origin: Any, value: Any, place: str) -> Any:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _mismatch(place, value, "a list")
    hints = list(typing.get_args(hint))
    if origin is tuple and hints[-1] is not Ellipsis:
        if len(value) != len(hints):
            raise _mismatch(place, value, f"a list of {len(hints)} values")
    else:
        hints = [hints[0]] * len(value)
    items = [_value(each, item, f"{place}[{i}]") for i, (each, item) in enumerate(zip(hints, value, strict=True))]
    return tuple(items) if origin is tuple else items


def _scalar(hint: Any, value: Any, place: str) -> Any:
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if isinstance(value, bool) and hint is not bool:
        raise _mismatch(place, value, _name(hint))
    if not isinstance(value, hint):
        raise _mismatch(place, value, _name(hint))
    return value


def _mismatch(place: str, value: Any, wanted: str) -> SpecError:
    return SpecError(f"{place or 'the configuration'} is {value!r}; it takes {wanted}")


def _name(hint: Any) -> str:
    names = {int: "an integer", float: "a number", str: "text", bool: "true or false", Path: "a path"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
