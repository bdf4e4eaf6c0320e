"""Terminals that draw, asked through a pseudo-terminal whose other end answers as they would."""

import os
import threading
from collections.abc import Iterator

import pytest

from kinema.cli import screen
from kinema.cli.main import main
from kinema.errors import SpecError

VT340, XTERM = b"\x1b[?63;1;2;4c", b"\x1b[?64;1;2;6;22c"
KITTY = b"\x1b_Gi=31;OK\x1b\\"


@pytest.fixture
def terminal(request: pytest.FixtureRequest) -> Iterator[str]:
    """The path of a terminal that gives one answer."""
    ours, theirs = os.openpty()

    def answer() -> None:
        asked = b""
        while not asked.endswith(b"\x1b[c"):
            asked += os.read(ours, 64)
        os.write(ours, request.param)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield os.ttyname(theirs)
    thread.join(5)
    os.close(theirs)
    os.close(ours)


@pytest.mark.parametrize(("terminal", "ways"), [
    (VT340, ("blocks", "sixel")),
    (XTERM, ("blocks",)),
    (KITTY + XTERM, ("blocks", "kitty")),
    (KITTY + VT340, ("blocks", "sixel", "kitty")),
], indirect=["terminal"])  # fmt: skip
def test_a_terminal_says_how_it_can_draw(terminal: str, ways: tuple[str, ...]) -> None:
    assert screen.terminal_ways(terminal) == ways


def test_where_nobody_can_be_asked_there_are_characters() -> None:
    assert screen.terminal_ways("/dev/null") == ("blocks",)
    assert screen.terminal_ways("/nowhere") == ("blocks",)


def test_a_terminal_that_cannot_draw_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "terminal_ways", lambda: ("blocks", "kitty"))
    screen.check_way("blocks")
    screen.check_way("kitty")
    with pytest.raises(
        SpecError, match="by sixel; use --draw blocks or --draw kitty, or another terminal, such as foot"
    ):
        screen.check_way("sixel")
    with pytest.raises(SpecError, match="unknown way to draw 'sixels'; did you mean 'sixel'"):
        screen.check_way("sixels")


def test_drawing_is_for_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stream", "a ball", "--out", "x.mp4", "--draw", "sixel"]) == 2
    assert "--draw sixel is for the terminal; drop --out x.mp4" in capsys.readouterr().err
