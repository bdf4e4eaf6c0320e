"""The ways to read a text whose writer hides words: other scripts, digits, unseen signs, spaces, stretched letters."""

import re
import unicodedata
from collections.abc import Iterator

_INVISIBLE = {"Cf", "Mn", "Me", "Cc"}
_TWINS = str.maketrans(
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0456\u0458\u0455\u0501\u051b\u051d"
    "\u03b1\u03b2\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u03f2\u0131\u0261\u0269\u1d0f\u0433\u043f",
    "abekmhopctyxijsdqwabeikvoptuxcigiorn",
)
"""Letters of other scripts that look like Latin ones."""
_DIGITS = {
    "i": str.maketrans("013457@$!|+8", "oieastasiitb"),
    "l": str.maketrans("013457@$!|+8", "oleastasllta"),
}
_WORD = re.compile(r"[\w@$!|+]+")
_SPACED = re.compile(r"(?<![^\W_])[^\W\d_](?:[\W_]{1,3}[^\W\d_](?![^\W_])){2,}")
_STRETCHED = re.compile(r"([^\W\d_])\1{2,}")


def readings(text: str) -> Iterator[str]:
    """The ways to read a text, each once."""
    plain = plain_text(text)
    latin = plain.translate(_TWINS)
    seen = []
    for base in (plain, latin, *(_spelt(latin, digits) for digits in _DIGITS.values())):
        for spaced in (base, _SPACED.sub(_join, base), _SPACED.sub(_join_after_first, base)):
            for reading in (spaced, _STRETCHED.sub(r"\1", spaced), _STRETCHED.sub(r"\1\1", spaced)):
                if reading not in seen:
                    seen.append(reading)
                    yield reading


def _join(found: re.Match[str]) -> str:
    return re.sub(r"[\W_]+", "", found[0])


def _join_after_first(found: re.Match[str]) -> str:
    """As in `a r e d ball`, where the first letter is a word of its own."""
    return f"{found[0][0]} {_join(found)[1:]}"


def plain_text(text: str) -> str:
    """Lower case, one form of each letter, without accents and signs that cannot be seen."""
    parts = unicodedata.normalize("NFKD", text).casefold()
    seen = "".join(sign for sign in parts if sign in "\n\t" or unicodedata.category(sign) not in _INVISIBLE)
    return unicodedata.normalize("NFKC", seen)


def _spelt(text: str, digits: dict[int, int]) -> str:
    """The text with digits and signs inside words read as letters."""

    def read(found: re.Match[str]) -> str:
        word = found[0]
        return word.translate(digits) if any(sign.isalpha() for sign in word) else word

    return _WORD.sub(read, text)
