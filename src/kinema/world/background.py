"""Floor and sky of a clip, one filtered sample per pixel."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kinema.world.film import develop
from kinema.world.floor import REFLECTANCE, Ground
from kinema.world.scene import Scene
from kinema.world.sky import DAYLIGHT, cloud_cover, hill_cover, sky_colour, sun_direction
from kinema.world.solids import Vector
from kinema.world.view import View

FOG_M = 45.0
"""Distance over which the floor fades into the horizon, in metres."""

STEEPEST = -2e-3
"""Rays that fall less than this (per unit along the view axis) are taken to meet the floor as if they fell by it."""


@dataclass(frozen=True)
class Floor:
    """What the floor's pixels need to be lit, from row `first` downwards; g = 1 for a camera that stands.

    `albedo` is "3 g h w". By row, "g h 1": `coverage` is the share of the pixel below the horizon, `clear` what haze
    lets through, `mirror` the share of light that the surface reflects, and `mirrored` that light, "3 g h 1".
    """

    first: int
    albedo: Tensor
    clear: Tensor
    coverage: Tensor
    mirror: Tensor
    mirrored: Tensor


def floor_hit(view: View, y: Tensor) -> Tensor:
    """Where rays through rows y meet the floor, in distance along the view axis; depends on the row only."""
    fall = (view.forward[2] + view.upward(y) * view.up[2]).clamp(max=STEEPEST)
    return -view.eye[2] / fall


def lay_floor(scene: Scene, view: View) -> Floor:
    """Find the colour of the floor at each pixel that shows some."""
    device = view.eye[0].device
    rows = torch.arange(view.height, device=device) + 0.5
    v = view.upward(rows)[None, :, None]
    horizon = -view.forward[2] / view.up[2]
    coverage = ((horizon - v) / view.pixel + 0.5).clamp(0.0, 1.0)
    shows = (coverage > 0.0).any(0).flatten()
    first = int(torch.argmax(shows.to(torch.uint8))) if bool(shows.any()) else view.height
    v, coverage = v[:, first:], coverage[:, first:]

    depth = floor_hit(view, rows[None, first:, None])
    u = view.across(torch.arange(view.width, device=device) + 0.5)
    x = (view.eye[0] + depth * (view.forward[0] + v * view.up[0])) + (depth * view.right[0]) * u
    y = (view.eye[1] + depth * (view.forward[1] + v * view.up[1])) + (depth * view.right[1]) * u
    length = depth * (1.0 + v * v).sqrt()
    across = depth * view.pixel
    along = across * length / view.eye[2]
    heading = torch.atan2(view.forward[1], view.forward[0])
    albedo = torch.stack(Ground.of(scene).albedo(x, y, across, along, heading))
    rise = view.eye[2] / length
    mirrored = sky_colour(scene.light, sun_direction(scene), (view.forward[0], view.forward[1], rise))
    return Floor(
        first,
        albedo,
        torch.exp(length * (-1.0 / FOG_M)),
        coverage,
        mirror_share(scene, rise),
        torch.stack(mirrored),
    )


def mirror_share(scene: Scene, steepness: Tensor) -> Tensor:
    """Share of light that the floor mirrors, for rays whose angle to it has this sine (Schlick, 1994)."""
    straight = REFLECTANCE[scene.floor]
    if straight == 0.0:
        return torch.zeros_like(steepness)
    return straight + (0.5 - straight) * (1.0 - steepness).clamp(0.0, 1.0).pow(5.0)


def light_floor(
    scene: Scene,
    albedo: Tensor,
    clear: Tensor,
    mirror: Tensor,
    mirrored: Tensor,
    sun: Tensor | float = 1.0,
    sky: Tensor | float = 1.0,
) -> Tensor:
    """Light that comes from floor pixels, "3 ...", where shares `sun` and `sky` of the two lights arrive."""
    light = DAYLIGHT[scene.light]
    height = sun_direction(scene)[2]
    diffuse = clear * (1.0 - mirror)
    planes = []
    for index, (strength, ambient, horizon) in enumerate(zip(light.sun, light.ambient, light.horizon, strict=True)):
        rest = horizon * (1.0 - clear) + mirrored[index] * (clear * mirror)
        planes.append(albedo[index] * diffuse * (strength * height * sun + ambient * sky) + rest)
    return torch.stack(planes)


def paint_sky(scene: Scene, view: View, rows: int, seconds: Tensor) -> Tensor:
    """Light of the upper `rows` rows of the picture, "3 f h w" (f = 1 if nothing moves)."""
    device = view.eye[0].device
    u = view.across(torch.arange(view.width, device=device) + 0.5)
    v = view.upward(torch.arange(rows, device=device) + 0.5)[:, None]
    ray = view.ray(u, v)
    scale = (1.0 + u * u + v * v).rsqrt()
    ray = (ray[0] * scale, ray[1] * scale, ray[2] * scale)
    clear = torch.stack(torch.broadcast_tensors(*sky_colour(scene.light, sun_direction(scene), ray)))
    cover = cloud_cover(scene, ray, seconds, view.pixel)
    cloud = torch.tensor(DAYLIGHT[scene.light].cloud, device=device).view(3, 1, 1, 1)
    sky = torch.lerp(clear.expand(3, *cover.shape), cloud.expand(3, *cover.shape), cover)
    hills = torch.tensor(DAYLIGHT[scene.light].hills, device=device).view(3, 1, 1, 1)
    return torch.lerp(sky, hills.expand_as(sky), hill_cover(scene, ray, view.pixel))


def paint_background(scene: Scene, view: View, seconds: Tensor, floor: Floor, num_frames: int) -> Tensor:
    """Develop floor (in full light) and sky into display-linear pictures, "3 f h w"; the floor's rows are not shaded.

    `view` and `floor` may hold one frame for a camera that stands; `seconds` is "f 1 1".
    """
    picture = torch.empty(3, num_frames, view.height, view.width, device=view.eye[0].device)
    ground = develop(light_floor(scene, floor.albedo, floor.clear, floor.mirror, floor.mirrored))
    picture[:, :, floor.first :] = ground
    rows = floor.first + int((floor.coverage < 1.0).any(0).sum())
    if rows:
        sky = develop(paint_sky(scene, view, rows, seconds)).expand(3, num_frames, rows, view.width)
        picture[:, :, : floor.first] = sky[:, :, : floor.first]
        if rows > floor.first:
            blend = floor.coverage[:, : rows - floor.first]
            seam = picture[:, :, floor.first : rows]
            picture[:, :, floor.first : rows] = torch.lerp(sky[:, :, floor.first :], seam, blend)
    return picture


def sun_vector(scene: Scene, like: Tensor) -> Vector:
    """Direction to the sun as scalar tensors on the device of `like`."""
    x, y, z = torch.tensor(sun_direction(scene), device=like.device)
    return x, y, z
