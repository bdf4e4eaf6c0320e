"""The material of an object, from how its pixels differ from its paint under the same light.

A gloss mirrors a little of the floor's white everywhere, metal is dark but for its highlights, and matte is the paint
alone. How much white and how much brightness that is depends on the floor, which lights objects from below.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kinema.world.daylight import Daylight
from kinema.world.floor import TONE
from kinema.world.palette import PALETTE, to_linear
from kinema.world.scene import Colour, Light, Material
from kinema.world.sky import DAYLIGHT

Floats = NDArray[np.float64]

LEAST_SURFACE_PX = 24
"""Fewest pixels, over the whole clip, that tell a material."""

MIRRORED = 0.05
"""Share of the light that a gloss mirrors."""

VEIL, LEAST_VEIL, IMPURE = 0.3, 0.0008, 0.02
"""White that half of the surface must show to be glossy: a share of what a gloss mirrors of the floor, a part that is
always asked, and a share of the paint's own white, which errors of its hue change.
"""

BRIGHT: dict[Light, float] = {"noon": 0.98, "overcast": 0.88, "sunset": 0.98, "night": 0.98}
"""Brightness of the upper tenth of the surface, relative to its paint's, that matte is above and metal below, where the
floor has the tone `USUAL_TONE`.
"""

USUAL_TONE, TONE_WEIGHT = 0.35, 0.7
"""Floors of another tone change that brightness by this share of their difference."""

GLINT, GLINT_WEIGHT, BRIGHTEST_GLINT = 0.04, 0.15, 0.1
"""White of the brightest hundredth of the surface that matte stays below and metal is above; what it counts for beside
the brightness, in logarithms; and the most that counts.
"""


def material_of(
    surface: NDArray[np.float32], mask: NDArray[np.bool_], colour: Colour, day: Daylight
) -> Material | None:
    """Tell the material of an object from its pixels, or None if there are too few.

    `surface` is "f h w 3", the colour in white light on a perceptual scale (linear to the power 1 / 2.2), and `mask`
    "f h w" says which pixels are the object's; those at its outline, which show something else too, are not used.
    """
    inner = ndimage.binary_erosion(mask, ndimage.generate_binary_structure(2, 1)[None])
    used = inner if inner.sum() >= LEAST_SURFACE_PX else mask
    if used.sum() < LEAST_SURFACE_PX:
        return None
    light = np.power(surface[used].astype(np.float64), 2.2)
    paint = np.array(to_linear(PALETTE[colour]))
    strong, weak = int(paint.argmax()), int(paint.argmin())
    brightness = light[:, strong] / paint[strong]
    # What the channel of which the paint has least shows beyond the paint's share is white.
    white = light[:, weak] - paint[weak] * brightness
    veil, glint = np.quantile(white, (0.5, 0.99))
    if veil > VEIL * MIRRORED * _floor_light(day)[weak] + IMPURE * paint[weak] + LEAST_VEIL:
        return "glossy"
    tone = float(np.mean(TONE[day.floor])) - USUAL_TONE
    shine = GLINT_WEIGHT * np.log(np.clip(glint, 0.1 * GLINT, BRIGHTEST_GLINT) / GLINT)
    excess = np.log(max(float(np.quantile(brightness, 0.9)), 1e-3) / (BRIGHT[day.light] * (1.0 + TONE_WEIGHT * tone)))
    return "metal" if shine > excess else "matte"


def _floor_light(day: Daylight) -> Floats:
    """Light that the floor sends back, "3", relative to that which falls on an upright surface."""
    known = DAYLIGHT[day.light]
    arriving = np.array(known.sun) * np.sin(np.radians(known.elevation_deg)) + np.array(known.ambient)
    light: Floats = np.array(TONE[day.floor]) * arriving / day.white
    return light
