"""Pictures of the demo world: a batched ray tracer for five solids on a floor, on a CPU or a GPU.

Floor and sky take one analytically filtered sample per pixel; pixels that an object may touch take several rays each.
Every clip is rendered by itself, so that its pixels do not depend on what else is in the batch.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from kinema.errors import SpecError
from kinema.world.background import (
    Floor,
    floor_hit,
    lay_floor,
    light_floor,
    paint_background,
    sun_vector,
)
from kinema.world.body import Body, Window, bodies_of, to_local, to_world, window_of
from kinema.world.camera import camera_path
from kinema.world.film import develop, to_srgb_bytes
from kinema.world.scene import Scene
from kinema.world.shadow import local_offset, skylight, sunlight
from kinema.world.sky import DAYLIGHT, sun_direction
from kinema.world.solids import Vector, normal
from kinema.world.surface import pattern, shade
from kinema.world.trace import trace
from kinema.world.trajectory import Trajectory
from kinema.world.view import View

CHUNK_PIXELS = 1 << 18
"""Frames are rendered in stretches of about this many pixels, which bounds memory and keeps the CPU's caches warm."""


def render(
    scenes: Sequence[Scene],
    trajectories: Sequence[Trajectory],
    num_frames: int,
    height: int,
    width: int,
    device: torch.device | str = "cpu",
    samples: int = 4,
) -> Tensor:
    """Render one clip per scene: uint8 "b f h w 3", sRGB.

    `samples` is the number of rays per pixel on objects, a square number. See `render_clip`.
    """
    clips = [
        render_clip(scene, trajectory, num_frames, height, width, device, samples)
        for scene, trajectory in zip(scenes, trajectories, strict=True)
    ]
    return torch.stack(clips)


@torch.no_grad()
def render_clip(
    scene: Scene,
    trajectory: Trajectory,
    num_frames: int,
    height: int,
    width: int,
    device: torch.device | str = "cpu",
    samples: int = 4,
) -> Tensor:
    """Render the first `num_frames` poses of a trajectory: uint8 "f h w 3", sRGB, on `device`.

    The same scene and trajectory give the same bytes on the same type of machine. Raises SpecError if the trajectory
    is too short, or if `samples` is no square number.
    """
    device = torch.device(device)
    side = math.isqrt(samples)
    if samples < 1 or side * side != samples:
        raise SpecError(f"samples={samples} rays per pixel do not make a square grid; use 1, 4, 9 or 16")
    if len(trajectory.position) < num_frames:
        raise SpecError(f"the trajectory has {len(trajectory.position)} frames; {num_frames} were asked for")
    path = camera_path(scene, num_frames, trajectory.fps)
    view = View.of(path, height, width, device)
    bodies = bodies_of(scene, trajectory, num_frames, device)
    is_still = path.is_still
    floor = lay_floor(scene, view.frames(0, 1)) if is_still else None
    step = max(1, CHUNK_PIXELS // (height * width))
    clip = torch.empty(num_frames, height, width, 3, dtype=torch.uint8, device=device)
    for start in range(0, num_frames, step):
        stop = min(start + step, num_frames)
        seconds = torch.arange(start, stop, device=device)[:, None, None] / trajectory.fps
        part = [body.frames(start, stop) for body in bodies]
        stretch = view.frames(start, stop)
        ground = floor or lay_floor(scene, stretch)
        picture = paint_background(scene, view.frames(0, 1) if is_still else stretch, seconds, ground, stop - start)
        _cast_shadows(scene, stretch, ground, part, picture)
        _draw_bodies(scene, stretch, part, picture, side)
        clip[start:stop] = to_srgb_bytes(picture).permute(1, 2, 3, 0)
    return clip


def _cast_shadows(scene: Scene, view: View, floor: Floor, bodies: list[Body], picture: Tensor) -> None:
    """Darken the floor of a picture ("3 f h w", changed in place) where bodies keep sun and sky from it."""
    _, num_frames, height, width = picture.shape
    light = DAYLIGHT[scene.light]
    sun = sun_vector(scene, picture)
    sun_share = torch.ones(num_frames * height * width, device=picture.device)
    sky_share = torch.ones_like(sun_share)
    for body in bodies:
        if body.is_rope:
            continue
        window = window_of(view, _shadow_outline(body, sun_direction(scene), light.sun_radius), 1.0, num_frames)
        if window is None:
            continue
        index = window.index(view)
        point, footprint = _floor_points(view, window)
        centre, axes = body.centre, body.axes
        offset = local_offset(centre, axes, point)
        index = index.flatten()
        shadow = sunlight(body, offset, to_local(axes, sun), light.sun_radius, footprint)
        sun_share[index] = sun_share[index] * shadow.flatten()
        up = (axes[0][2], axes[1][2], axes[2][2])
        sky_share[index] = sky_share[index] * skylight(body, offset, up).flatten()
    shaded = (sun_share < 0.999) | (sky_share < 0.999)
    shaded = shaded.view(num_frames, height, width)
    shaded[:, : floor.first] = False
    frame, row, column = shaded.nonzero(as_tuple=True)
    flat = (frame * height + row) * width + column
    source = frame if floor.albedo.shape[1] > 1 else torch.zeros_like(frame)
    row = row - floor.first
    lit = light_floor(
        scene,
        floor.albedo[:, source, row, column],
        floor.clear[source, row, 0],
        floor.mirror[source, row, 0],
        floor.mirrored[:, source, row, 0],
        sun_share[flat],
        sky_share[flat],
    )
    pixels = picture.view(3, -1)
    cover = floor.coverage[source, row, 0]
    pixels[:, flat] = torch.lerp(pixels[:, flat], develop(lit), cover)


def _shadow_outline(body: Body, sun: tuple[float, float, float], sun_radius: float) -> list[Vector]:
    """Points on the floor whose hull holds all that a body darkens."""
    outline = []
    for x, y, z in body.corners():
        z = z.clamp(min=0.0)
        reach = z / sun[2]
        spread = sun_radius * reach / sun[2] + 0.02
        end_x, end_y = x - reach * sun[0], y - reach * sun[1]
        for side_x, side_y in ((-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)):
            outline.append((end_x + side_x * spread, end_y + side_y * spread, torch.zeros_like(z)))
    near = body.reach * 2.0
    for side_x, side_y in ((-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)):
        outline.append(
            (body.centre[0] + side_x * near, body.centre[1] + side_y * near, torch.zeros_like(body.centre[2]))
        )
    return outline


def _floor_points(view: View, window: Window) -> tuple[Vector, Tensor]:
    """Where the rays through a window's pixels meet the floor, and about how wide a pixel is there."""
    u, v = view.across(window.columns + 0.5), view.upward(window.rows + 0.5)
    depth = floor_hit(view, window.rows + 0.5)
    x = (view.eye[0] + depth * (view.forward[0] + v * view.up[0])) + (depth * view.right[0]) * u
    y = (view.eye[1] + depth * (view.forward[1] + v * view.up[1])) + (depth * view.right[1]) * u
    return (x, y, torch.zeros_like(depth)), depth * view.pixel


def _draw_bodies(scene: Scene, view: View, bodies: list[Body], picture: Tensor, side: int) -> None:
    """Draw the bodies over a picture ("3 f h w", changed in place) with side x side rays per pixel."""
    _, num_frames, height, width = picture.shape
    samples = side * side
    depth = torch.full((num_frames * height * width * samples,), math.inf, device=picture.device)
    seen = [trace(view, body, side, num_frames) for body in bodies]
    hits = [hit for hit in seen if hit is not None]
    for index, near, *_ in hits:
        depth[index] = torch.minimum(depth[index], near)
    touched = torch.zeros(num_frames * height * width, dtype=torch.bool, device=picture.device)
    for index, *_ in hits:
        touched[index // samples] = True
    pixels = touched.nonzero().flatten()
    place = torch.zeros_like(touched, dtype=torch.int64)
    place[pixels] = torch.arange(len(pixels), device=picture.device)
    flat = picture.view(3, -1)
    colours = flat[:, pixels, None].repeat(1, 1, samples).view(3, -1)
    for body, hit in zip(bodies, seen, strict=True):
        if hit is None:
            continue
        index, near, local_ray, frame = hit
        front = (near <= depth[index]).nonzero().flatten()
        index, near, frame = index[front], near[front], frame[front]
        ray = (local_ray[0][front], local_ray[1][front], local_ray[2][front])
        colour = develop(_shade_hits(scene, view, body, bodies, near, ray, frame))
        pixel = index // samples
        colours[:, place[pixel] * samples + (index - pixel * samples)] = colour
    flat[:, pixels] = colours.view(3, -1, samples).mean(-1)


def _shade_hits(
    scene: Scene, view: View, body: Body, bodies: list[Body], near: Tensor, ray: Vector, frame: Tensor
) -> Tensor:
    """Light that comes from a body along rays (in its frame) that meet it at depth `near`, "3 n"."""
    centre, axes = body.at(frame)
    start = local_offset(body.centre, body.axes, view.eye)
    origin = tuple(part.flatten()[frame] for part in start)
    point = (origin[0] + near * ray[0], origin[1] + near * ray[1], origin[2] + near * ray[2])
    facing = to_world(axes, normal(body.shape, body.radius, body.half, point))
    scale = (ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2]).rsqrt()
    toward = to_world(axes, (ray[0] * scale, ray[1] * scale, ray[2] * scale))
    offset = to_world(axes, point)
    place = (centre[0] + offset[0], centre[1] + offset[1], centre[2] + offset[2])
    colour = pattern(point, near * view.pixel, body.light, body.dark)
    sun_share: Tensor | float = 1.0
    sun = sun_vector(scene, near)
    for other in bodies:
        if other is body or other.is_rope or body.is_rope:
            continue
        other_centre, other_axes = other.at(frame)
        share = sunlight(
            other,
            local_offset(other_centre, other_axes, place),
            to_local(other_axes, sun),
            DAYLIGHT[scene.light].sun_radius,
            near * view.pixel,
        )
        sun_share = sun_share * share
    at = sun_direction(scene)
    return shade(scene.light, scene.floor, at, body.material, colour, facing, toward, place[2], sun_share)
