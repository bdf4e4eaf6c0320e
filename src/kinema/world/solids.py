"""The five solids in their own frames: where a ray enters one, its surface normal, and the distance to it.

Every function takes vectors as tuples of three broadcastable tensors (x, y, z). A solid is given by `radius` (of a box:
half its edge along x and y) and `half` (half its height); z is its axis and the origin is its centre. All are convex.
"""

import math

import torch
from torch import Tensor

from kinema.world.scene import Shape

Vector = tuple[Tensor, Tensor, Tensor]

CLEARANCE_STEPS = 8
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
_BEVEL = 0.14
"""Width of the rounded edges of boxes, cylinders and cones, relative to the radius."""


def intersect(shape: Shape, radius: float, half: float, origin: Vector, ray: Vector) -> Tensor:
    """Distance along each ray (in units of its length) to where it enters the solid; infinity where it misses."""
    if shape == "ball":
        near, far = _quadratic(dot(ray, ray), dot(origin, ray), dot(origin, origin) - radius * radius)
    elif shape == "box":
        near, far = _slab(origin[0], ray[0], radius)
        for axis, extent in ((1, radius), (2, half)):
            low, high = _slab(origin[axis], ray[axis], extent)
            near, far = torch.maximum(near, low), torch.minimum(far, high)
    elif shape == "capsule":
        return _intersect_capsule(radius, half - radius, origin, ray)
    else:
        near, far = _round_side(shape, radius, half, origin, ray)
        low, high = _slab(origin[2], ray[2], half)
        near, far = torch.maximum(near, low), torch.minimum(far, high)
    return torch.where((near < far) & (near > 0.0), near, math.inf)


def normal(shape: Shape, radius: float, half: float, point: Vector) -> Vector:
    """Outward unit normal at points of the surface; the edges of boxes, cylinders and cones are slightly rounded."""
    x, y, z = point
    if shape == "ball":
        return _unit(point)
    if shape == "capsule":
        core = half - radius
        return _unit((x, y, z - z.clamp(-core, core)))
    bevel = _BEVEL * radius
    if shape == "box":
        return _unit((_edge(x, radius, bevel), _edge(y, radius, bevel), _edge(z, half, bevel)))
    distance = (x * x + y * y).sqrt().clamp(min=1e-6)
    if shape == "cylinder":
        side, cap = _edge(distance, radius, bevel), _edge(z, half, bevel)
        return _unit((side * x / distance, side * y / distance, cap))
    slant = math.hypot(2.0 * half, radius)
    base = ((bevel - (z + half)) / bevel).clamp(0.0, 1.0)
    side = ((distance * 2.0 * half + (z - half) * radius) / slant / bevel + 1.0).clamp(0.0, 1.0)
    across, along = side * 2.0 * half / slant, side * radius / slant
    return _unit((across * x / distance, across * y / distance, along - base))


def distance(shape: Shape, radius: float, half: float, point: Vector) -> Tensor:
    """Signed distance of points to the solid's surface, negative inside."""
    x, y, z = point
    if shape == "ball":
        return dot(point, point).sqrt() - radius
    if shape == "capsule":
        z = z - z.clamp(radius - half, half - radius)
        return (x * x + y * y + z * z).sqrt() - radius
    if shape == "box":
        x, y, z = x.abs() - radius, y.abs() - radius, z.abs() - half
        outside = (x.clamp(min=0.0).square() + y.clamp(min=0.0).square() + z.clamp(min=0.0).square()).sqrt()
        return outside + torch.maximum(torch.maximum(x, y), z).clamp(max=0.0)
    across = (x * x + y * y).sqrt()
    if shape == "cylinder":
        across, z = across - radius, z.abs() - half
        return (across.clamp(min=0.0).square() + z.clamp(min=0.0).square()).sqrt() + torch.maximum(across, z).clamp(
            max=0.0
        )
    # The cone's outline is a triangle: the nearest point lies on its slope or on its base.
    fall = half - z
    along = ((across * radius + fall * 2.0 * half) / (radius**2 + 4.0 * half**2)).clamp(0.0, 1.0)
    slope = (across - along * radius).square() + (fall - along * 2.0 * half).square()
    base = (across - radius).clamp(min=0.0).square() + (z + half).square()
    gap = torch.minimum(slope, base).sqrt()
    is_inside = (across * 2.0 * half < fall * radius) & (z > -half)
    return torch.where(is_inside, -gap, gap)


def clearance(shape: Shape, radius: float, half: float, origin: Vector, ray: Vector) -> tuple[Tensor, Tensor]:
    """How closely each ray passes the solid: the least signed distance along it, and where that is.

    `ray` must have unit length. The distance to a convex solid is convex along a line, so a golden-section search over
    the stretch inside the bounding sphere finds its minimum.
    """
    if shape == "ball":
        at = -dot(origin, ray)
        return _along(shape, radius, half, origin, ray, at), at
    reach = math.hypot(radius * (math.sqrt(2.0) if shape == "box" else 1.0), half)
    low = -dot(origin, ray) - reach
    span = 2.0 * reach
    first, second = low + (1.0 - _GOLDEN) * span, low + _GOLDEN * span
    value_first = _along(shape, radius, half, origin, ray, first)
    value_second = _along(shape, radius, half, origin, ray, second)
    for _ in range(CLEARANCE_STEPS):
        is_left = value_first < value_second
        low = torch.where(is_left, low, first)
        span *= _GOLDEN
        probe = torch.where(is_left, low + (1.0 - _GOLDEN) * span, low + _GOLDEN * span)
        value = _along(shape, radius, half, origin, ray, probe)
        first, second = torch.where(is_left, probe, second), torch.where(is_left, first, probe)
        value_first, value_second = (
            torch.where(is_left, value, value_second),
            torch.where(is_left, value_first, value),
        )
    is_left = value_first < value_second
    return torch.where(is_left, value_first, value_second), torch.where(is_left, first, second)


def dot(first: Vector, second: Vector) -> Tensor:
    """Scalar product."""
    return first[0] * second[0] + first[1] * second[1] + first[2] * second[2]


def _along(shape: Shape, radius: float, half: float, origin: Vector, ray: Vector, at: Tensor) -> Tensor:
    point = (origin[0] + at * ray[0], origin[1] + at * ray[1], origin[2] + at * ray[2])
    return distance(shape, radius, half, point)


def _unit(vector: Vector) -> Vector:
    scale = dot(vector, vector).clamp(min=1e-12).rsqrt()
    return vector[0] * scale, vector[1] * scale, vector[2] * scale


def _edge(coordinate: Tensor, extent: float, bevel: float) -> Tensor:
    """Share of a face in the normal: 1 on it, falling to 0 `bevel` inside its edge; carries the coordinate's sign."""
    return ((coordinate.abs() - extent) / bevel + 1.0).clamp(0.0, 1.0) * coordinate.sign()


def _quadratic(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Roots of a t^2 + 2 b t + c, the smaller first for a > 0; (inf, -inf) where there are none."""
    discriminant = b * b - a * c
    root = discriminant.clamp(min=0.0).sqrt()
    misses = discriminant < 0.0
    inverse = 1.0 / a
    near = ((-b - root) * inverse).masked_fill(misses, math.inf)
    return near, ((root - b) * inverse).masked_fill(misses, -math.inf)


def _slab(origin: Tensor, ray: Tensor, extent: float) -> tuple[Tensor, Tensor]:
    inverse = 1.0 / torch.where(ray.abs() < 1e-7, 1e-7, ray)
    middle, width = -origin * inverse, extent * inverse.abs()
    return middle - width, middle + width


def _round_side(shape: Shape, radius: float, half: float, origin: Vector, ray: Vector) -> tuple[Tensor, Tensor]:
    """Where rays are inside the endless cylinder or below the apex of the endless cone."""
    ox, oy, oz = origin
    dx, dy, dz = ray
    a, b, c = dx * dx + dy * dy, ox * dx + oy * dy, ox * ox + oy * oy
    if shape == "cylinder":
        return _quadratic(a.clamp(min=1e-9), b, c - radius * radius)
    slope = (radius / (2.0 * half)) ** 2
    oz = oz - half
    a, b, c = a - slope * dz * dz, b - slope * oz * dz, c - slope * oz * oz
    a = torch.where(a.abs() < 1e-9, 1e-9, a)
    near, far = _quadratic(a, b, c)
    # A steep ray (a < 0) is inside both nappes but for a gap; it leaves the lower one upwards, or enters it downwards.
    steep, falls = a < 0.0, dz < 0.0
    low, high = torch.minimum(near, far), torch.maximum(near, far)
    return (
        torch.where(steep, torch.where(falls, high, -math.inf), near),
        torch.where(steep, torch.where(falls, math.inf, low), far),
    )


def _intersect_capsule(radius: float, core: float, origin: Vector, ray: Vector) -> Tensor:
    ox, oy, oz = origin
    dx, dy, dz = ray
    a, b, c = dx * dx + dy * dy, ox * dx + oy * dy, ox * ox + oy * oy - radius * radius
    near, _ = _quadratic(a.clamp(min=1e-9), b, c)
    height = oz + near * dz
    on_side = height.abs() <= core
    # Beyond the side, the ray can only enter through the ball at the end that it reaches first.
    end = torch.where(height.isfinite(), height, -dz).sign() * core
    length = a + dz * dz
    cap, _ = _quadratic(length, b + (oz - end) * dz, c + (oz - end).square())
    hit = torch.where(on_side, near, cap)
    return torch.where(near.isfinite() & (hit > 0.0), hit, math.inf)
