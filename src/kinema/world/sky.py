"""The light of a scene: sun or moon, the sky's colours and its moving clouds."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kinema.world.noise import value_noise
from kinema.world.scene import Light, Scene
from kinema.world.solids import Vector

Rgb = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Daylight:
    """Linear light of one time of day; `sun_radius` is the tangent of half the angle that the sun appears under."""

    elevation_deg: float
    sun_radius: float
    sun: Rgb
    ambient: Rgb
    zenith: Rgb
    horizon: Rgb
    cloud: Rgb
    cloud_cover: float
    hills: Rgb
    glow: Rgb


DAYLIGHT: dict[Light, Daylight] = {
    "noon": Daylight(
        elevation_deg=48.0,
        sun_radius=0.05,
        sun=(2.75, 2.60, 2.36),
        ambient=(0.44, 0.50, 0.60),
        zenith=(0.16, 0.31, 0.58),
        horizon=(0.66, 0.76, 0.88),
        cloud=(1.10, 1.11, 1.13),
        cloud_cover=0.0,
        hills=(0.42, 0.52, 0.62),
        glow=(0.20, 0.18, 0.14),
    ),
    "overcast": Daylight(
        elevation_deg=60.0,
        sun_radius=0.50,
        sun=(0.86, 0.87, 0.89),
        ambient=(0.68, 0.70, 0.73),
        zenith=(0.46, 0.49, 0.53),
        horizon=(0.74, 0.76, 0.78),
        cloud=(0.34, 0.36, 0.39),
        cloud_cover=0.35,
        hills=(0.50, 0.53, 0.56),
        glow=(0.0, 0.0, 0.0),
    ),
    "sunset": Daylight(
        elevation_deg=19.0,
        sun_radius=0.06,
        sun=(2.75, 2.10, 1.55),
        ambient=(0.36, 0.37, 0.48),
        zenith=(0.13, 0.19, 0.36),
        horizon=(1.00, 0.62, 0.42),
        cloud=(0.55, 0.36, 0.36),
        cloud_cover=0.05,
        hills=(0.50, 0.33, 0.31),
        glow=(0.9, 0.45, 0.18),
    ),
    "night": Daylight(
        elevation_deg=42.0,
        sun_radius=0.06,
        sun=(0.62, 0.69, 0.82),
        ambient=(0.135, 0.155, 0.205),
        zenith=(0.010, 0.014, 0.032),
        horizon=(0.045, 0.060, 0.105),
        cloud=(0.075, 0.090, 0.130),
        cloud_cover=0.0,
        hills=(0.022, 0.030, 0.055),
        glow=(0.02, 0.025, 0.03),
    ),
}


def sun_direction(scene: Scene) -> Rgb:
    """Unit vector to the sun or the moon of a scene."""
    return sun_at(scene.light, scene.sun_azimuth_deg)


def sun_at(time: Light, azimuth_deg: float) -> Rgb:
    """Unit vector to the sun or the moon; at azimuth 0 it stands behind the camera, at 90 degrees to its right."""
    elevation = math.radians(DAYLIGHT[time].elevation_deg)
    azimuth = math.radians(azimuth_deg)
    flat = math.cos(elevation)
    return flat * math.sin(azimuth), -flat * math.cos(azimuth), math.sin(elevation)


def sky_colour(time: Light, toward: Rgb | Vector, ray: Vector) -> Vector:
    """Light that comes from the sky along unit rays, without its clouds; below the horizon, the horizon's.

    `toward` is the unit vector to the sun at that time of day.
    """
    light = DAYLIGHT[time]
    height = ray[2].clamp(min=0.0)
    share = 1.0 - (1.0 - height).square().square()
    glow = (ray[0] * toward[0] + ray[1] * toward[1] + ray[2] * toward[2]).clamp(min=0.0).square().square()
    red, green, blue = (
        low + (high - low) * share + add * glow
        for low, high, add in zip(light.horizon, light.zenith, light.glow, strict=True)
    )
    return red, green, blue


def hill_cover(scene: Scene, ray: Vector, footprint: float) -> Tensor:
    """Share of a pixel that far hills cover, for rays above the horizon; `footprint` is a pixel's angle in radians."""
    bearing = torch.atan2(ray[0], ray[1])
    shift = float(scene.seed % 83)
    ridge = value_noise(bearing * 4.0 + shift, bearing * 0.0 + 0.5, footprint * 4.0)
    ridge = ridge + 0.35 * value_noise(bearing * 15.0 + shift, bearing * 0.0 + 7.5, footprint * 15.0)
    return ((0.018 + 0.022 * ridge - ray[2]) / footprint + 0.5).clamp(0.0, 1.0)


def cloud_cover(scene: Scene, ray: Vector, seconds: Tensor, footprint: float) -> Tensor:
    """Share of clouds in [0, 1] along rays above the horizon; they drift sideways with time.

    `footprint` is the angle of a pixel in radians, `seconds` broadcasts with the rays.
    """
    drift = (0.35 if scene.seed % 2 else -0.35) * seconds
    across = torch.atan2(ray[0], ray[1]) * 5.0 + drift + float(scene.seed % 97)
    up = ray[2] * 16.0 + float(scene.seed % 89)
    form = value_noise(across, up, footprint * 16.0) + 0.5 * value_noise(across * 2.3, up * 2.1, footprint * 34.0)
    form = form + 0.25 * value_noise(across * 5.1, up * 4.7, footprint * 75.0)
    cover = 1.7 * scene.cloudiness - 1.0 + DAYLIGHT[scene.light].cloud_cover
    return ((form + cover) * 1.3).clamp(0.0, 1.0) * (ray[2] * 14.0).clamp(0.0, 1.0) * 0.85
