"""The five solids: rays, normals and distances agree with one another."""

import pytest
import torch

from kinema.world.scene import HALF_WIDTH_TO_HEIGHT, SHAPES, Shape
from kinema.world.solids import Vector, clearance, distance, intersect, normal

HALF = 0.3


def rays(shape: Shape, count: int = 4000) -> tuple[float, Vector, Vector]:
    """Radius of the shape, and rays of unit length from all around that pass near it."""
    source = torch.Generator().manual_seed(5)
    start = torch.randn(3, count, generator=source)
    start = 2.0 * start / start.norm(dim=0)
    aim = torch.rand(3, count, generator=source) * 1.2 - 0.6
    ray = aim - start
    ray = ray / ray.norm(dim=0)
    return 2.0 * HALF * HALF_WIDTH_TO_HEIGHT[shape], tuple(start), tuple(ray)  # type: ignore[return-value]


def along(start: Vector, ray: Vector, at: torch.Tensor) -> Vector:
    x, y, z = (origin + at * step for origin, step in zip(start, ray, strict=True))
    return x, y, z


@pytest.mark.parametrize("shape", SHAPES)
def test_a_ray_enters_at_the_surface_and_misses_only_what_it_passes(shape: Shape) -> None:
    radius, start, ray = rays(shape)
    near = intersect(shape, radius, HALF, start, ray)
    hit = near.isfinite()
    assert 0.1 < hit.float().mean() < 0.9
    point = along(start, ray, near.masked_fill(~hit, 0.0))
    assert distance(shape, radius, HALF, point)[hit].abs().max() < 2e-3
    # Before it enters, a ray is outside.
    before = along(start, ray, near.masked_fill(~hit, 0.0) * 0.97)
    assert distance(shape, radius, HALF, before)[hit].min() > 0.0
    steps = torch.linspace(1.0, 3.0, 400)[:, None]
    least = distance(shape, radius, HALF, along(start, ray, steps)).amin(0)
    assert least[~hit].min() > -4e-3


@pytest.mark.parametrize("shape", SHAPES)
def test_clearance_is_the_least_distance_along_the_ray(shape: Shape) -> None:
    radius, start, ray = rays(shape, 1000)
    least, at = clearance(shape, radius, HALF, start, ray)
    steps = torch.linspace(1.0, 3.0, 2001)[:, None]
    expected = distance(shape, radius, HALF, along(start, ray, steps)).amin(0)
    assert (least - expected).abs().max() < 0.012
    assert (distance(shape, radius, HALF, along(start, ray, at)) - least).abs().max() < 1e-5


@pytest.mark.parametrize("shape", SHAPES)
def test_normals_point_outwards_and_have_unit_length(shape: Shape) -> None:
    radius, start, ray = rays(shape)
    near = intersect(shape, radius, HALF, start, ray)
    hit = near.isfinite()
    x, y, z = along(start, ray, near.masked_fill(~hit, 0.0))
    point: Vector = (x[hit], y[hit], z[hit])
    facing = normal(shape, radius, HALF, point)
    length = sum(part.square() for part in facing)
    assert isinstance(length, torch.Tensor)
    assert (length - 1.0).abs().max() < 1e-4
    step = 1e-2
    outside = distance(shape, radius, HALF, along(point, facing, torch.tensor(step)))
    # On a rounded edge, leaving along the normal gains less distance than the step.
    assert outside.min() > 0.3 * step
    assert (outside > 0.98 * step).float().mean() > 0.5
