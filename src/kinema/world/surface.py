"""How the surface of an object looks: its two-tone pattern under sun and sky, matte, glossy or metal."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kinema.world.floor import TONE
from kinema.world.scene import Floor, Light, Material
from kinema.world.sky import DAYLIGHT, Rgb, sky_colour
from kinema.world.solids import Vector, dot


@dataclass(frozen=True, kw_only=True)
class Finish:
    """How a material answers light: share of diffuse light, mirror reflectance, and size of the highlight."""

    diffuse: float
    mirror: float
    tint: float
    sharpness: float
    highlight: float


FINISH: dict[Material, Finish] = {
    "matte": Finish(diffuse=1.0, mirror=0.0, tint=0.0, sharpness=12.0, highlight=0.02),
    "glossy": Finish(diffuse=0.95, mirror=0.05, tint=0.0, sharpness=140.0, highlight=1.6),
    "metal": Finish(diffuse=0.42, mirror=0.75, tint=1.0, sharpness=60.0, highlight=1.5),
}


def pattern(
    point: Vector, width: Tensor, light: tuple[float, float, float], dark: tuple[float, float, float]
) -> Vector:
    """Colour at points in the object's frame: octants alternate between two tones, with edges `width` metres soft."""
    inverse = 2.0 / width.clamp(min=1e-4)
    sign = (point[0] * inverse).clamp(-1.0, 1.0) * (point[1] * inverse).clamp(-1.0, 1.0)
    share = 0.5 + 0.5 * sign * (point[2] * inverse).clamp(-1.0, 1.0)
    red, green, blue = (low + (high - low) * share for low, high in zip(dark, light, strict=True))
    return red, green, blue


def shade(
    time: Light,
    floor: Floor,
    sun: Rgb | Vector,
    material: Material,
    colour: Vector,
    normal: Vector,
    view: Vector,
    height: Tensor,
    sun_share: Tensor | float,
) -> Tensor:
    """Light that leaves surface points towards the camera, "3 n", linear.

    `sun` (towards it), `normal` and `view` (from the eye) are unit vectors of the world, `height` is metres above the
    floor, and `sun_share` is the part of the sun that other objects leave visible.
    """
    light, finish = DAYLIGHT[time], FINISH[material]
    facing = dot(normal, view)
    lit = (normal[0] * sun[0] + normal[1] * sun[1] + normal[2] * sun[2]).clamp(min=0.0) * sun_share
    upward = 0.5 + 0.5 * normal[2]
    # Near the floor less of the sky is seen, and the floor itself lies in the object's shade.
    low = torch.exp(height * -7.0)
    sky_share = upward * (1.0 - 0.35 * low)
    floor_share = (1.0 - upward) * (1.0 - 0.75 * low)
    bounce = [
        tone * (strength * sun[2] + ambient)
        for tone, strength, ambient in zip(TONE[floor], light.sun, light.ambient, strict=True)
    ]
    mirrored = (
        view[0] - 2.0 * facing * normal[0],
        view[1] - 2.0 * facing * normal[1],
        view[2] - 2.0 * facing * normal[2],
    )
    fresnel = (1.0 + facing).clamp(0.0, 1.0)
    fresnel = fresnel.square().square() * fresnel
    toward = (mirrored[0] * sun[0] + mirrored[1] * sun[1] + mirrored[2] * sun[2]).clamp(min=0.0)
    highlight = toward.pow(finish.sharpness) * (finish.highlight * (lit > 0.0))
    shine: list[Tensor | float] = [0.0, 0.0, 0.0]
    if finish.mirror > 0.0:
        above = (mirrored[2] * 4.0 + 0.5).clamp(0.0, 1.0)
        sky = sky_colour(time, sun, mirrored)
        shine = [
            under * (1.0 - 0.6 * low) * (1.0 - above) + over * above for under, over in zip(bounce, sky, strict=True)
        ]
    planes = []
    for index in range(3):
        base = colour[index]
        arriving = light.sun[index] * lit + light.ambient[index] * sky_share + bounce[index] * floor_share
        reflectance = finish.mirror * (1.0 - finish.tint) + finish.mirror * finish.tint * base
        reflectance = reflectance + (1.0 - reflectance) * fresnel * (0.6 if finish.mirror else 0.05)
        glint = light.sun[index] * highlight
        if finish.tint:
            glint = glint * (0.35 + 0.65 * base)
        planes.append(base * finish.diffuse * arriving + reflectance * shine[index] + glint)
    return torch.stack(planes)
