"""What single values must be, said in one line to whoever typed them."""

import math
from typing import TypeGuard

from kinema.errors import SpecError

SLOWEST_FPS, FASTEST_FPS = 0.01, 1000
"""Frames per second that every format can tell apart, but for gif, which plays at most 50."""


def require_text(name: str, value: object, *, example: str, empty: bool = False) -> None:
    """Refuse what is no text in UTF-8, and, unless `empty`, what is blank."""
    if not isinstance(value, str):
        raise SpecError(f"{name} is {value!r}; it takes text, such as {example!r}")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise SpecError(f"{name} is {value!r}, which is no text in UTF-8 without null characters, such as {example!r}")
    if not value.strip() and not empty:
        raise SpecError(f"{name} is empty; it takes text, such as {example!r}")


def require_integer(name: str, value: object, smallest: int, largest: int | None) -> None:
    """Refuse what is no whole number from `smallest` to `largest`; None passes."""
    if value is None:
        return
    accepted = f"a whole number from {smallest} " + ("up" if largest is None else f"to {largest}")
    if isinstance(value, bool) or not isinstance(value, int):
        raise SpecError(f"{name}={value!r} does not fit; it takes {accepted}")
    if value < smallest or (largest is not None and value > largest):
        raise SpecError(f"{name}={value} does not fit; it takes {accepted}")


def require_number(name: str, value: object, *, zero: bool, most: float | None = None) -> None:
    """Refuse what is no finite number above 0 (or from 0 up, with `zero`), up to `most`; None passes."""
    if value is None:
        return
    accepted = "a number from 0" if zero else "a number above 0"
    accepted += " up" if most is None and zero else "" if most is None else f" to {most:g}"
    if not is_number(value):
        finite = accepted.replace("number", "finite number") if isinstance(value, float) else accepted
        raise SpecError(f"{name}={value!r} does not fit; it takes {finite}")
    if value < 0 or (value == 0 and not zero) or (most is not None and value > most):
        raise SpecError(f"{name}={value:g} does not fit; it takes {accepted}")


def require_rate(fps: float | None) -> None:
    """Refuse frames per second that no video can be played at; None passes."""
    require_number("fps", fps, zero=False)
    if fps is not None and not SLOWEST_FPS <= fps <= FASTEST_FPS:
        raise SpecError(f"fps={fps:g} does not fit; it takes a number from {SLOWEST_FPS} to {FASTEST_FPS}")


def is_number(value: object) -> TypeGuard[float]:
    """Tell finite numbers from everything else, true and false included."""
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
