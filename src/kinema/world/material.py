"""What solids of a known place would look like in each material, beside what the pixels show.

The demo world's light is known but for the direction of its sun. Every pixel inside an object's outline shows one of
its two tones, or something between, under a normal that its solid tells; so each material and each direction of the sun
has its own picture, and the nearest one is what the clip shows.
"""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from kinema.world.camera import CameraPath
from kinema.world.daylight import Daylight
from kinema.world.film import develop, to_srgb
from kinema.world.palette import tones
from kinema.world.place import rays_through
from kinema.world.recognise import Stand
from kinema.world.scene import HALF_WIDTH_TO_HEIGHT, HEIGHT_M, MATERIALS, Colour, Light, Material, Shape, Size
from kinema.world.sky import sun_at
from kinema.world.solids import Vector, intersect, normal
from kinema.world.surface import pattern, shade

Floats = NDArray[np.float64]

AZIMUTHS_DEG: tuple[float, ...] = tuple(float(angle) for angle in range(-78, 79, 12))
"""Directions of the sun that are tried, as the camera sees them."""

LEAST_SURFACE_PX = 12
"""Fewest pixels that tell a material."""

MOST_VIEWS, MOST_PIXELS = 4, 120
"""Views of an object that are compared, and pixels of each."""

USUAL = 0.03
"""Usual error of a pixel's colour, of sRGB in [0, 1]."""

TURNS_DEG: tuple[float, ...] = tuple(float(angle) for angle in range(0, 180, 15))
"""Turns about its axis, after half of which a solid's pattern repeats, that are tried."""

BLUR = 3.0
"""How many pixels wide the edges of the pattern seem."""


def material_costs(
    frames: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    look: tuple[Shape, Size, Colour],
    stands: Sequence[Stand],
    path: CameraPath,
    view_height_m: float,
    day: Daylight,
) -> Floats | None:
    """Say how badly each direction of the sun and each material explain an object: "azimuth material", or None.

    `stands` says where the object is, `mask` "f h w" which pixels show it. None is given if too few do.
    """
    shape, size, colour = look
    usable = [stand for stand in stands if mask[stand.frame].any() and np.isfinite(stand.centre).all()]
    usable.sort(key=lambda stand: -int(mask[stand.frame].sum()))
    surfaces = [
        _trace(stand, shape, size, path, view_height_m, _inner(mask[stand.frame]), frames)
        for stand in usable[:MOST_VIEWS]
    ]
    counts = [surface.shape[1] for surface in surfaces]
    if sum(counts) < LEAST_SURFACE_PX:
        return None
    return _compare(np.concatenate(surfaces, axis=1), counts, colour, day)


def choose_materials(costs: Sequence[Floats | None], colours: Sequence[Colour]) -> list[Material | None]:
    """Choose the material of each object under the one sun that explains all; those of one colour are alike."""
    known = [cost for cost in costs if cost is not None]
    if not known:
        return [None] * len(costs)
    joint = {
        colour: sum(
            (cost for cost, other in zip(costs, colours, strict=True) if cost is not None and other == colour),
            np.zeros_like(known[0]),
        )
        for colour in colours
    }
    sun = int(np.argmin(sum(cost.min(axis=1) for cost in joint.values())))
    return [MATERIALS[int(np.argmin(joint[colour][sun]))] if joint[colour].any() else None for colour in colours]


def _inner(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the pixels of a mask "h w" that show nothing else, or of all if those are few."""
    inner = ndimage.binary_erosion(mask)
    row, column = np.nonzero(inner if inner.sum() >= LEAST_SURFACE_PX else mask)
    step = -(-len(row) // MOST_PIXELS)
    return row[::step], column[::step]


def _trace(
    stand: Stand,
    shape: Shape,
    size: Size,
    path: CameraPath,
    view_height_m: float,
    pixel: tuple[NDArray[np.intp], NDArray[np.intp]],
    frames: NDArray[np.uint8],
) -> Floats:
    """Find what a solid shows at some pixels, given as rows and columns, of those through which it is seen: "14 n".

    The rows are the colours, sRGB in [0, 1]; the surface's normal and the line of sight, unit vectors of the world; the
    place in the solid's frame, in metres; the height above the floor; and the width of a pixel there.
    """
    size_px = frames.shape[1:3]
    at = slice(stand.frame, stand.frame + 1)
    path = CameraPath(path.eye[at] * view_height_m, path.target[at] * view_height_m, path.up, path.fov_deg)
    place = np.stack([pixel[1] + 0.5 - stand.shift_px[0], pixel[0] + 0.5 - stand.shift_px[1]], axis=-1)
    ray = rays_through(path, place, (size_px[0], size_px[1]))
    centre = stand.centre * view_height_m
    origin, local = (path.eye[0] - centre) @ stand.turn, ray @ stand.turn
    half = HEIGHT_M[size] / 2.0
    radius = 2.0 * half * HALF_WIDTH_TO_HEIGHT[shape]
    near = intersect(shape, radius, half, _vector(np.broadcast_to(origin, local.shape).T), _vector(local.T)).numpy()
    hit = np.isfinite(near)
    near, ray = near[hit], ray[hit]
    point = origin + near[:, None] * local[hit]
    facing = torch.stack(normal(shape, radius, half, _vector(point.T)), -1).numpy() @ stand.turn.T
    height = np.maximum((centre + point @ stand.turn.T)[:, 2], 0.0)
    width = near * 2.0 * path.half_extent(size_px[1] / size_px[0])[1] / size_px[0]
    shown = frames[stand.frame, pixel[0], pixel[1]][hit] / 255.0
    toward = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    return np.concatenate([shown.T, facing.T, toward.T, point.T, height[None], width[None]])


def _compare(surface: Floats, counts: Sequence[int], colour: Colour, day: Daylight) -> Floats:
    """Mean cost of pixels "14 n" (see `_trace`), of several views with `counts` of them: "azimuth material"."""
    rows = torch.from_numpy(surface).float()
    shown, facing, toward, point, height, width = rows.split((3, 3, 3, 3, 1, 1))
    low, high = (_vector(np.array(tone)[:, None, None]) for tone in tones(colour)[::-1])
    base = torch.cat([torch.stack(low), torch.stack(high)], 1)[..., None].unbind(0)
    share = _patterns(point, width[0])
    cost = np.zeros((len(AZIMUTHS_DEG), len(MATERIALS)))
    for column, material in enumerate(MATERIALS):
        lit = shade(
            day.light,
            day.floor,
            _suns(day.light),
            material,
            (base[0], base[1], base[2]),
            (facing[0], facing[1], facing[2]),
            (toward[0], toward[1], toward[2]),
            height[0],
            1.0,
        )
        dark, light = to_srgb(develop(lit)).unbind(1)
        cost[:, column] = _between(shown[:, None], dark, light, share, counts).numpy()
    return cost / sum(counts)


def _patterns(point: Tensor, width: Tensor) -> Tensor:
    """Share of the light tone at points "3 n", "q n", for each way that the solid may be turned about its axis."""
    angle = torch.deg2rad(torch.tensor(TURNS_DEG))[:, None]
    x, y, z = point
    turned = (angle.cos() * x - angle.sin() * y, angle.sin() * x + angle.cos() * y, z)
    return pattern(turned, BLUR * width, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))[0]


def _between(shown: Tensor, dark: Tensor, light: Tensor, share: Tensor, counts: Sequence[int]) -> Tensor:
    """Cost "a" of colours "3 1 n" where the two tones would show as "3 a n" each.

    Each view, of `counts` pixels, shows the pattern "q n" that suits it best.
    """
    away, span = shown - dark, light - dark
    # |away - share span|^2, for every share.
    own, both, wide = away.square().sum(0), (away * span).sum(0), span.square().sum(0)
    square = own[:, None] - 2.0 * share * both[:, None] + share.square() * wide[:, None]
    cost = torch.log1p(square.clamp(min=0.0) / USUAL**2)
    return torch.stack([view.sum(-1).amin(-1) for view in cost.split(list(counts), -1)]).sum(0)


@functools.cache
def _suns(light: Light) -> Vector:
    x, y, z = torch.tensor([sun_at(light, azimuth) for azimuth in AZIMUTHS_DEG]).T[..., None]
    return x, y, z


def _vector(values: Floats) -> Vector:
    x, y, z = torch.from_numpy(np.ascontiguousarray(values)).float()
    return x, y, z
