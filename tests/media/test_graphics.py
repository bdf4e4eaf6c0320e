"""Pictures for terminals, read back by the rules of each protocol."""

import base64
import re
import zlib

import numpy as np
import pytest

from kinema.media import kitty, sixel

RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)


def _read_sixel(text: str) -> np.ndarray:
    """A picture as a terminal would show it, "h w 3", in per cent; what no colour was given to is -1."""
    head = re.fullmatch(r'\x1bP0;1q"1;1;(\d+);(\d+)(.*)\x1b\\', text, re.DOTALL)
    assert head is not None
    width, height, body = int(head[1]), int(head[2]), head[3]
    shown = np.full((-(-height // 6) * 6, width, 3), -1)
    palette: dict[int, tuple[int, ...]] = {}
    x = y = colour = 0
    for token in re.finditer(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|(\$)|(-)", body):
        index, red, green, blue, chosen, count, repeated, once, back, down = token.groups()
        if index is not None:
            palette[int(index)] = int(red), int(green), int(blue)
        elif chosen is not None:
            colour = int(chosen)
        elif back or down:
            x, y = 0, y + (6 if down else 0)
        else:
            bits, length = ord(repeated or once) - 63, int(count or 1)
            for row in range(6):
                if bits >> row & 1:
                    shown[y + row, x : x + length] = palette[colour]
            x += length
    assert (shown[height:] == -1).all()
    return shown[:height]


def test_a_small_picture_is_what_the_manual_says() -> None:
    frame = np.array([[RED] * 4 + [GREEN], [RED] * 5], np.uint8)
    text = sixel(frame, 5, 2)
    index = {}
    for name, levels in (("red", "100;0;0"), ("green", "0;100;0")):
        told = re.search(rf"#(\d+);2;{levels}", text)
        assert told is not None
        index[name] = int(told[1])
    # Red: both rows (bits 1 + 2, "B") four times, then the lower row alone ("A"). Green: nothing four times, then "@".
    bands = {"red": f"#{index['red']}!4BA", "green": f"#{index['green']}!4?@"}
    ordered = "$".join(bands[name] for name in sorted(index, key=index.__getitem__))
    assert text.startswith('\x1bP0;1q"1;1;5;2#')
    assert text.endswith(f"{ordered}\x1b\\")


@pytest.mark.parametrize(("height", "width"), [(6, 6), (7, 9), (13, 4), (1, 1)])
def test_every_pixel_is_read_back(height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    colours = np.array([RED, GREEN, BLACK, (255, 255, 255)], np.uint8)
    frame = colours[rng.integers(0, 4, (height, width))]
    assert np.array_equal(_read_sixel(sixel(frame, width, height)), np.round(frame.astype(float) / 2.55))


def test_a_picture_of_many_colours_comes_close_and_keeps_its_proportions() -> None:
    y, x = np.mgrid[:32, :64]
    frame = np.stack([4 * x, 8 * y, 255 - 4 * x], axis=-1).clip(0, 255).astype(np.uint8)
    shown = _read_sixel(sixel(frame, 64, 48)) * 2.55
    assert shown.shape == (32, 64, 3)
    assert np.abs(shown - frame).mean() < 12
    assert _read_sixel(sixel(frame, 200, 50)).shape == (50, 100, 3)


def test_kitty_gets_the_pixels_in_pieces() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    pieces = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", kitty(frame, 20, 8))
    assert len(pieces) > 1
    assert all(len(data) <= 4096 for _, data in pieces)
    assert [keys.split("m=")[1] for keys, _ in pieces] == ["1"] * (len(pieces) - 1) + ["0"]
    keys = dict(key.split("=") for key in pieces[0][0].split(","))
    assert (keys["a"], keys["f"], keys["s"], keys["v"], keys["c"], keys["r"]) == ("T", "24", "50", "40", "20", "8")
    data = zlib.decompress(base64.b64decode("".join(data for _, data in pieces)))
    assert data == frame.tobytes()
