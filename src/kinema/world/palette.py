"""The colours of the demo world's objects, once: eight hues far apart, in sRGB."""

from kinema.world.scene import Colour

PALETTE: dict[Colour, tuple[float, float, float]] = {
    "red": (0.84, 0.07, 0.08),
    "orange": (0.96, 0.42, 0.03),
    "yellow": (0.97, 0.83, 0.05),
    "green": (0.09, 0.62, 0.13),
    "cyan": (0.05, 0.77, 0.80),
    "blue": (0.06, 0.22, 0.88),
    "purple": (0.46, 0.11, 0.76),
    "pink": (0.98, 0.36, 0.66),
}
"""Base colour of each name, sRGB in [0, 1]. The dark half of an object's pattern is the same hue at `SHADE` of it."""

SHADE = 0.6
"""Brightness of the dark half of an object's two-tone pattern, relative to its base colour (in sRGB)."""


def to_linear(colour: tuple[float, float, float]) -> tuple[float, float, float]:
    """Turn an sRGB colour in [0, 1] into linear light in [0, 1] (IEC 61966-2-1)."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
    return red, green, blue


def tones(colour: Colour) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Give the two tones of an object's pattern, the light one first, in linear light."""
    red, green, blue = PALETTE[colour]
    return to_linear(PALETTE[colour]), to_linear((red * SHADE, green * SHADE, blue * SHADE))
