"""What solids take away from the light: soft shadows of the sun, and the darkening near what they touch."""

from torch import Tensor

from kinema.world.body import Body, to_local
from kinema.world.solids import Vector, clearance, distance

CONTACT_M = (0.06, 0.22)
"""Heights above a surface at which the distance to a solid is probed for ambient occlusion."""

CONTACT_WEIGHT = (0.45, 0.55)


def sunlight(body: Body, offset: Vector, sun: Vector, sun_radius: float, footprint: Tensor | float) -> Tensor:
    """Share of the sun's disc that a body leaves visible.

    `offset` and the unit vector `sun` are in the body's frame. The nearest approach of the ray to the solid, compared with
    the width of the sun's disc at that distance, tells how much of the disc is covered; `footprint` (metres) blurs the
    shadow to the size of a pixel.
    """
    least, at = clearance(body.shape, body.radius, body.half, offset, sun)
    width = sun_radius * at.clamp(min=0.0) + footprint + 1e-4
    share = (0.5 + 0.5 * least / width).clamp(0.0, 1.0)
    share = share * share * (3.0 - 2.0 * share)
    return share.masked_fill(at < 0.0, 1.0)


def skylight(body: Body, offset: Vector, up: Vector) -> Tensor:
    """Share of the sky's light that a body leaves to points with the normal `up`, both in the body's frame."""
    hidden: Tensor | float = 0.0
    for height, weight in zip(CONTACT_M, CONTACT_WEIGHT, strict=True):
        probe = (offset[0] + height * up[0], offset[1] + height * up[1], offset[2] + height * up[2])
        gap = distance(body.shape, body.radius, body.half, probe)
        hidden = hidden + weight * (1.0 - gap / height).clamp(0.0, 1.0)
    return 1.0 - 0.85 * hidden


def local_offset(body_centre: Vector, axes: tuple[Vector, Vector, Vector], point: Vector) -> Vector:
    """World points in a body's frame."""
    return to_local(axes, (point[0] - body_centre[0], point[1] - body_centre[1], point[2] - body_centre[2]))
