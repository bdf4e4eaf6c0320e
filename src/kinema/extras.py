"""Packages that a plain installation lacks: what to type to get those of an extra."""

from pathlib import Path

CLONE = Path(__file__).parents[2]
"""The clone of Kinema that is installed in place; where Kinema was installed otherwise, some folder."""


def how_to_install(extra: str) -> str:
    """The command that brings an extra, such as "serve": it works from any folder where Kinema runs from its clone."""
    if (CLONE / "constraints.txt").exists():
        return f"pip install -e '{'.' if Path.cwd() == CLONE else CLONE}[{extra}]'"
    return f"pip install '.[{extra}]' in a clone of Kinema"
