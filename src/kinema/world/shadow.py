"""What solids take away from the light: soft shadows of the sun, and the darkening near what they touch."""

from torch import Tensor

from kinema.world.body import Body, to_local
from kinema.world.solids import Vector, clearance, distance, dot

CONTACT_M = 0.07
"""Height above the floor at which the distance to a solid is probed for the dark line where they touch."""


def sunlight(body: Body, offset: Vector, sun: Vector, sun_radius: float, footprint: Tensor | float) -> Tensor:
    """Share of the sun's disc that a body leaves visible.

    `offset` and the unit vector `sun` are in the body's frame. The nearest approach of the ray to the solid, compared
    with the width of the sun's disc at that distance, tells how much of the disc is covered; `footprint` (metres) blurs
    the shadow to the size of a pixel.
    """
    least, at = clearance(body.shape, body.radius, body.half, offset, sun)
    width = sun_radius * at.clamp(min=0.0) + footprint + 1e-4
    share = (0.5 + 0.5 * least / width).clamp(0.0, 1.0)
    share = share * share * (3.0 - 2.0 * share)
    return share.masked_fill(at < 0.0, 1.0)


def skylight(body: Body, offset: Vector, up: Vector) -> Tensor:
    """Share of the sky's light that a body leaves to points with the normal `up`, both in the body's frame.

    Far away it is what a sphere of the body's volume hides of a cosine-weighted hemisphere (Quilez, "sphere ambient
    occlusion": cos r^2 / d^2); near the contact, the distance to the solid itself decides.
    """
    squared = dot(offset, offset)
    cosine = -dot(offset, up) * squared.rsqrt()
    round_size = (body.radius * body.radius * body.half) ** (2.0 / 3.0)
    wide = (cosine.clamp(min=0.0) * round_size / squared).clamp(max=0.75)
    probe = (offset[0] + CONTACT_M * up[0], offset[1] + CONTACT_M * up[1], offset[2] + CONTACT_M * up[2])
    gap = distance(body.shape, body.radius, body.half, probe)
    near = (1.0 - gap / CONTACT_M).clamp(0.0, 1.0)
    left: Tensor = (1.0 - wide) * (1.0 - 0.65 * near)
    return left


def local_offset(body_centre: Vector, axes: tuple[Vector, Vector, Vector], point: Vector) -> Vector:
    """World points in a body's frame."""
    return to_local(axes, (point[0] - body_centre[0], point[1] - body_centre[1], point[2] - body_centre[2]))
