"""Which pixels of a clip show an object, and of which colour: saturated hues once the light has been taken out."""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from kinema.world.daylight import Daylight, estimate_daylight
from kinema.world.film import develop
from kinema.world.palette import PALETTE, to_linear
from kinema.world.scene import COLOURS

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

_NEAR = np.ones((1, 5, 5), dtype=bool)

NOT_FLOOR = 0.36
"""Saturation, in white light, above which a pixel shows an object rather than floor or sky."""

PURE_DEG = 8.0
"""Hues this near to a name's are surely of that name; between names, light and shade may have moved them."""

TINT, GLINT = 0.15, 1.2
"""A pixel beside an object belongs to it if its saturation differs from the row's by the first (twice that if its hue
is between names, as in shadows), or if it lies between pixels of the object and is brighter than the row by the
second.
"""

VIVID = 0.31
"""Spread of the channels, in white light, that some of an object's surface reaches, and shadows with a tint do not."""

DARKEST = 0.004
"""Linear reflectance below which a pixel is too dark to have a hue."""


@dataclass(frozen=True)
class Segmentation:
    """Colour of the object at each pixel.

    `label` is "f h w", an index into COLOURS or -1; `is_pure` "f h w" says where the hue is that of the name, not
    between, and `is_vivid` "f h w" where it is strong; `surface` is "f h w 3", the colour in white light on a
    perceptual scale (linear to the power 1 / 2.2); `luma` is "f h w" in 8-bit levels.
    """

    label: NDArray[np.int8]
    is_pure: Mask
    is_vivid: Mask
    surface: Floats
    luma: Floats
    daylight: Daylight


def segment(frames: NDArray[np.uint8]) -> Segmentation:
    """Find the objects' pixels in frames "f h w 3" and name their colours."""
    light = _light_of_level()[frames]
    daylight = estimate_daylight(light)
    surface = np.power(light / daylight.white, np.float32(1.0 / 2.2))
    luma = (frames @ np.array([0.299, 0.587, 0.114], dtype=np.float32)).astype(np.float32)
    largest, smallest = surface.max(axis=-1), surface.min(axis=-1)
    saturation = (largest - smallest) / np.maximum(largest, 0.02)
    label = name_hues(surface)
    is_sure = (saturation > NOT_FLOOR) & (largest > DARKEST ** (1.0 / 2.2))
    is_object = is_sure | _grow(is_sure, label, surface, saturation, luma)
    label = np.where(is_object, label, -1).astype(np.int8)
    is_pure = _hue_distance(surface).min(axis=-1) < PURE_DEG
    return Segmentation(label, is_pure, largest - smallest > VIVID, surface, luma, daylight)


def _grow(is_sure: Mask, label: NDArray[np.int8], surface: Floats, saturation: Floats, luma: Floats) -> Mask:
    """Add the pixels beside sure ones that are theirs by hue, or highlights between them: paler than paint."""
    near = ndimage.binary_dilation(is_sure, _NEAR)
    hue = np.radians(_hue(surface))
    parts = (saturation * np.cos(hue), saturation * np.sin(hue), luma)
    red, green, bright = (_beside_row(part, ~near) for part in parts)
    away = np.hypot(parts[0] - red, parts[1] - green)
    neighbour = ndimage.grey_dilation(np.where(is_sure, label, -1), footprint=_NEAR)
    is_like = _hue_distance(surface).min(axis=-1) < 2.0 * PURE_DEG
    is_tint = (away > np.where(is_like, TINT, 2.0 * TINT)) & (label == neighbour)
    between = ndimage.binary_closing(np.pad(is_sure, ((0, 0), (2, 2), (2, 2))), _NEAR)[:, 2:-2, 2:-2]
    is_glint = between & (luma > GLINT * bright + 4.0)
    return near & ~is_sure & (is_tint | is_glint)


def _beside_row(value: Floats, is_floor: Mask) -> Floats:
    """Median of the background in each row, "f h 1"; of the whole background for a row that shows none."""
    ordered = np.sort(np.where(is_floor, value, np.inf), axis=-1)
    middle = np.maximum(is_floor.sum(axis=-1, keepdims=True) // 2, 0)
    found = np.take_along_axis(ordered, middle, axis=-1)
    whole = np.median(value[is_floor]) if is_floor.any() else 0.0
    return np.where(np.isfinite(found), found, whole).astype(np.float32)


def name_hues(surface: Floats) -> NDArray[np.int8]:
    """Index in COLOURS of the palette's hue nearest to that of each colour "... 3", on the perceptual scale."""
    return np.argmin(_hue_distance(surface), axis=-1).astype(np.int8)


def _hue_distance(surface: Floats) -> Floats:
    """Degrees from each colour "... 3" to the hues of the palette, "... 8"."""
    return np.abs((_hue(surface)[..., None] - _palette_hues() + 180.0) % 360.0 - 180.0)


def palette_hue_distance(first: int, second: int) -> float:
    """Degrees between the hues of two colours, given as indices in COLOURS."""
    hues = _palette_hues()
    return float(abs((hues[first] - hues[second] + 180.0) % 360.0 - 180.0))


def _hue(colour: Floats) -> Floats:
    """Hue in degrees, of HSV, without the branches."""
    red, green, blue = colour[..., 0], colour[..., 1], colour[..., 2]
    angle = np.degrees(np.arctan2(np.sqrt(3.0) * (green - blue), 2.0 * red - green - blue))
    return (angle % 360.0).astype(np.float32)


@functools.cache
def _palette_hues() -> Floats:
    linear = np.array([to_linear(PALETTE[name]) for name in COLOURS], dtype=np.float32)
    return _hue(np.power(linear, np.float32(1.0 / 2.2)))


@functools.cache
def _light_of_level() -> Floats:
    """Linear light in front of the camera for each of the 256 levels of a picture: the film's curve inverted."""
    light = torch.cat([torch.zeros(1), torch.logspace(-4.0, 0.7, 4000)])
    value = np.arange(256) / 255.0
    display = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.interp(display, develop(light).numpy(), light.numpy()).astype(np.float32)
