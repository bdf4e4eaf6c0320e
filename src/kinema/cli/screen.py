"""A terminal that shows frames at their rate: as coloured characters, or as pictures where it draws some."""

import contextlib
import os
import re
import select
import shutil
import sys
import time
from collections.abc import Callable

from kinema.config import unknown
from kinema.errors import SpecError
from kinema.media import Frame, half_blocks, kitty, sixel

WAYS = ("blocks", "sixel", "kitty")
"""How a terminal may draw."""

_TOP, _CLEAR, _HIDE, _SHOW = "\x1b[H", "\x1b[2J", "\x1b[?25l", "\x1b[?25h"

_QUESTION = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c"
"""Kitty's protocol is asked after, then what kind of terminal it is, which all of them answer."""

_ANSWER_S = 1.0
_CELL = (8, 16)
"""Pixels of a cell, where a terminal does not say."""


class Screen:
    """A terminal that shows frames at their rate, by one of WAYS."""

    def __init__(self, fps: float, way: str = "blocks") -> None:
        self._fps = fps
        self._draw = _DRAW[way]
        self._shown, self._began = 0, 0.0

    def __enter__(self) -> "Screen":
        sys.stdout.write(_HIDE + _CLEAR)
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.write("\n" + _SHOW)
        sys.stdout.flush()

    def show(self, frames: Frame) -> None:
        """Draw each frame when its time has come."""
        for frame in frames:
            if not self._shown:
                self._began = time.monotonic()
            wait_s = self._began + self._shown / self._fps - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
            else:
                self._began -= wait_s  # it comes late: from here on
            sys.stdout.write(_TOP + self._draw(frame))
            sys.stdout.flush()
            self._shown += 1


def check_way(way: str) -> None:
    """Refuse a way of drawing that is none, or that the terminal does not know. Raises SpecError."""
    if way not in WAYS:
        raise SpecError(unknown("way to draw", way, WAYS))
    if way == "blocks":
        return
    able = terminal_ways()
    if way not in able:
        others = " or ".join(f"--draw {other}" for other in able)
        raise SpecError(
            f"this terminal does not say that it draws pictures by {way}; use {others}, or another terminal, such as "
            f"{'foot, WezTerm or xterm -ti vt340' if way == 'sixel' else 'kitty, Ghostty or WezTerm'}"
        )


def terminal_ways(path: str = "/dev/tty") -> tuple[str, ...]:
    """Ask the terminal how it can draw; only half blocks, where nobody answers or nobody can be asked."""
    try:
        import termios
        import tty

        terminal = os.open(path, os.O_RDWR | os.O_NOCTTY)
    except (ImportError, OSError):
        return ("blocks",)
    try:
        before = termios.tcgetattr(terminal)
        tty.setcbreak(terminal)
        try:
            os.write(terminal, _QUESTION)
            answer = _answer(terminal)
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
    except (termios.error, OSError):
        return ("blocks",)
    finally:
        os.close(terminal)
    attributes = re.search(r"\x1b\[\?([\d;]*)c", answer)
    has = {"sixel": attributes is not None and "4" in attributes[1].split(";"), "kitty": "_Gi=31;OK" in answer}
    return ("blocks", *(way for way, is_there in has.items() if is_there))


def _answer(terminal: int) -> str:
    """What comes back until the kind of terminal is told, or for a second."""
    answer, until = b"", time.monotonic() + _ANSWER_S
    while not re.search(rb"\x1b\[\?[\d;]*c", answer):
        left = until - time.monotonic()
        if left <= 0 or not select.select([terminal], [], [], left)[0]:
            break
        answer += os.read(terminal, 1024)
    return answer.decode("ascii", "replace")


def _cells() -> tuple[int, int]:
    columns, rows = shutil.get_terminal_size()
    return columns, rows - 1  # the last row is left, so that nothing scrolls


def _blocks(frame: Frame) -> str:
    return half_blocks(frame, *_cells())


def _sixel(frame: Frame) -> str:
    (columns, rows), (width, height) = _cells(), _cell_pixels()
    return sixel(frame, columns * width, rows * height)


def _kitty(frame: Frame) -> str:
    (columns, rows), (width, height) = _cells(), _cell_pixels()
    scale = min(columns * width / frame.shape[1], rows * height / frame.shape[0])
    size = (max(1, int(side * scale / cell)) for side, cell in ((frame.shape[1], width), (frame.shape[0], height)))
    return kitty(frame, *size)


def _cell_pixels() -> tuple[int, int]:
    """Width and height of a cell in pixels."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl
        import struct
        import termios

        told = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, bytes(8))
        rows, columns, width, height = struct.unpack("HHHH", told)
        if rows and columns and width and height:
            return width // columns, height // rows
    return _CELL


_DRAW: dict[str, Callable[[Frame], str]] = {"blocks": _blocks, "sixel": _sixel, "kitty": _kitty}
