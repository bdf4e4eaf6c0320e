"""The time of day and the floor that a clip shows, read from the colours of its sky and its ground."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kinema.world.floor import TONE
from kinema.world.scene import FLOORS, LIGHTS, Floor, Light
from kinema.world.sky import DAYLIGHT

Floats = NDArray[np.float32]

MOST_SATURATED = 0.55
"""Floors and skies stay below this saturation in any light; most objects are above."""

FEWEST = 20
"""Fewest pixels of each frame that tell a colour."""

LEVEL, HUE, CONTRAST = 0.09, (0.05, 0.06), 0.12
"""Usual errors, in logarithms of linear light: of the floor's brightness, of red over green and green over blue, and of
the contrast of its pattern.
"""

MOST_CONTRAST = 6.0
"""Most that the contrast can count: shadows and objects' edges have contrast too."""

SKY_WEIGHT, SKY_CAP = 60.0, 0.5
"""What the sky's colour counts for, and the most that it can differ: where the camera looks down it is not seen."""


@dataclass(frozen=True)
class _Look:
    """How the brighter half of a floor differs from its mean colour, in logarithms, and its pattern's contrast."""

    level: float
    hue: tuple[float, float]
    contrast: float


_LOOKS: dict[Floor, _Look] = {
    "wood": _Look(0.06, (-0.03, -0.06), 0.17),
    "tiles": _Look(-0.08, (0.0, 0.0), 0.12),
    "grass": _Look(0.17, (0.06, -0.15), 0.20),
    "sand": _Look(0.01, (0.0, 0.0), 0.10),
    "snow": _Look(-0.04, (0.0, 0.0), 0.12),
    "checker": _Look(0.12, (0.0, 0.0), 0.55),
}


@dataclass(frozen=True)
class Daylight:
    """Time of day and floor; `white` is the colour of the light that falls on upright surfaces, linear "3"."""

    light: Light
    floor: Floor
    white: Floats


def estimate_daylight(light: Floats) -> Daylight:
    """Tell time of day and floor from frames in linear light, "f h w 3", by the nearest of what the world can show."""
    height = light.shape[1]
    ground = _plain(light[:, height - max(height * 2 // 5, 1) :])
    sky = np.median(_plain(light[:, : max(height // 20, 1)]), axis=0)
    brightness = np.log(ground.mean(axis=-1) + 1e-3)
    dark, middle, bright = np.quantile(brightness, (0.3, 0.5, 0.9))
    # Shadows lie in the darker half.
    lit = np.log(ground[brightness >= middle].mean(axis=0) + 1e-3)
    floors, skies = _known()
    away = lit - floors
    mismatch = (away.mean(axis=-1) / LEVEL) ** 2
    mismatch += ((away[..., 0] - away[..., 1]) / HUE[0]) ** 2 + ((away[..., 1] - away[..., 2]) / HUE[1]) ** 2
    contrast = np.array([_LOOKS[floor].contrast for floor in FLOORS])
    mismatch += np.minimum(((bright - dark - contrast) / CONTRAST) ** 2, MOST_CONTRAST)
    above = ((skies - np.log(sky + 1e-3)) ** 2).sum(axis=-1).min(axis=-1)
    mismatch += SKY_WEIGHT * np.minimum(above, SKY_CAP)[:, None]
    at, under = np.unravel_index(int(np.argmin(mismatch)), mismatch.shape)
    return Daylight(LIGHTS[at], FLOORS[under], white_of(LIGHTS[at]))


def white_of(light: Light) -> Floats:
    """Colour of the light that falls on an upright surface, half facing the sun: linear "3"."""
    known = DAYLIGHT[light]
    return (0.5 * np.array(known.sun) + np.array(known.ambient)).astype(np.float32)


def saturation(colour: Floats) -> Floats:
    """Spread of the channels over the largest, of linear colours "... 3" on a perceptual scale (power 1 / 2.2)."""
    scaled = np.power(np.maximum(colour, 0.0), 1.0 / 2.2)
    largest = scaled.max(axis=-1)
    spread: Floats = ((largest - scaled.min(axis=-1)) / np.maximum(largest, 0.02)).astype(np.float32)
    return spread


def _plain(light: Floats) -> NDArray[np.float64]:
    """Colours "n 3" of what is not strongly coloured nor close to it, or of more if nothing else is there."""
    is_strong = saturation(light) >= MOST_SATURATED
    is_near = ndimage.binary_dilation(is_strong, np.ones((1, 5, 5), dtype=bool))
    for is_left_out in (is_near, is_strong):
        plain = light[~is_left_out]
        if len(plain) > FEWEST * len(light):
            return plain.astype(np.float64)
    return light.reshape(-1, 3).astype(np.float64)


@functools.cache
def _known() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logarithms of the colours of the floors' brighter halves "light floor 3", and of the skies' "light variant 3"."""
    floors, skies = [], []
    for light in LIGHTS:
        known = DAYLIGHT[light]
        height = np.sin(np.radians(known.elevation_deg))
        arriving = height * np.array(known.sun) + np.array(known.ambient)
        floors.append([np.log(np.array(TONE[floor]) * arriving + 1e-3) + _shift(_LOOKS[floor]) for floor in FLOORS])
        horizon, zenith = np.array(known.horizon), np.array(known.zenith)
        clear = [horizon + (zenith - horizon) * share for share in (0.1, 0.3, 0.5, 0.7)]
        cloud = np.array(known.cloud)
        skies.append([sky + (cloud - sky) * cover for sky in clear for cover in (0.0, 0.4, 0.8)])
    return np.array(floors), np.log(np.array(skies) + 1e-3)


def _shift(look: _Look) -> NDArray[np.float64]:
    """What a look adds to the logarithms of a colour "3": the level to their mean, the hue to their differences."""
    first, second = look.hue
    each = np.array([0.0, -first, -first - second])
    return each - each.mean() + look.level
