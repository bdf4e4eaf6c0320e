"""The time of day and the floor that a clip shows, read from the colours of its sky and its ground."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinema.world.floor import TONE
from kinema.world.scene import FLOORS, LIGHTS, Floor, Light
from kinema.world.sky import DAYLIGHT

Floats = NDArray[np.float32]

MOST_SATURATED = 0.55
"""Floors and skies stay below this saturation in any light; most objects are above."""

SKY_WEIGHT = 0.6
"""What the sky's colour counts for, relative to the floor's, in squared logarithms of linear light."""

SKY_CAP = 1.0
"""Most that the sky can count: where the camera looks down, the top of the picture shows the floor."""


@dataclass(frozen=True)
class Daylight:
    """Time of day and floor; `white` is the colour of the light that falls on upright surfaces, linear "3"."""

    light: Light
    floor: Floor
    white: Floats


def estimate_daylight(light: Floats) -> Daylight:
    """Tell time of day and floor from frames in linear light, "f h w 3", by the nearest of what the world can show."""
    height = light.shape[1]
    ground = _middle(light[:, height - max(height * 2 // 5, 1) :])
    sky = _middle(light[:, : max(height // 20, 1)])
    floors, skies = _known()
    mismatch = ((floors - np.log(ground + 1e-3)) ** 2).sum(axis=-1)
    above = ((skies - np.log(sky + 1e-3)) ** 2).sum(axis=-1).min(axis=-1)
    mismatch = mismatch + SKY_WEIGHT * np.minimum(above, SKY_CAP)[:, None]
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


def _middle(light: Floats) -> NDArray[np.float64]:
    """Median colour of what is not strongly coloured, or of everything if nothing else is there."""
    flat = light.reshape(-1, 3)
    plain = flat[saturation(flat) < MOST_SATURATED]
    middle: NDArray[np.float64] = np.median(plain if len(plain) > 20 else flat, axis=0).astype(np.float64)
    return middle


@functools.cache
def _known() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logarithms of the floors' colours "light floor 3", and of the skies' "light variant 3"."""
    floors, skies = [], []
    for light in LIGHTS:
        known = DAYLIGHT[light]
        height = np.sin(np.radians(known.elevation_deg))
        arriving = height * np.array(known.sun) + np.array(known.ambient)
        floors.append([np.array(TONE[floor]) * arriving for floor in FLOORS])
        horizon, zenith = np.array(known.horizon), np.array(known.zenith)
        clear = [horizon + (zenith - horizon) * share for share in (0.1, 0.3, 0.5, 0.7)]
        cloud = np.array(known.cloud)
        skies.append([sky + (cloud - sky) * cover for sky in clear for cover in (0.0, 0.4, 0.8)])
    return np.log(np.array(floors) + 1e-3), np.log(np.array(skies) + 1e-3)
