"""The floors: what share of the light each point of the ground gives back, filtered to the size of a pixel."""

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor

from kinema.world.noise import cell_value, fade, value_noise
from kinema.world.palette import to_linear
from kinema.world.scene import Floor, Scene
from kinema.world.solids import Vector

Rgb = tuple[float, float, float]

TONE: dict[Floor, Rgb] = {
    "wood": to_linear((0.56, 0.50, 0.45)),
    "tiles": to_linear((0.68, 0.67, 0.65)),
    "grass": to_linear((0.42, 0.45, 0.33)),
    "sand": to_linear((0.74, 0.69, 0.61)),
    "snow": to_linear((0.88, 0.90, 0.92)),
    "checker": to_linear((0.60, 0.60, 0.61)),
}
"""Mean colour of each floor in linear light: low in saturation, so that no floor looks like an object."""

REFLECTANCE: dict[Floor, float] = {
    "wood": 0.02,
    "tiles": 0.06,
    "grass": 0.0,
    "sand": 0.0,
    "snow": 0.0,
    "checker": 0.04,
}
"""Share of light that each floor mirrors at a right angle."""


@dataclass(frozen=True)
class Ground:
    """The floor of one scene, turned and shifted as its seed says."""

    kind: Floor
    angle: float
    shift: tuple[float, float]
    tint: float

    @classmethod
    def of(cls, scene: Scene) -> "Ground":
        """Lay the floor of a scene."""
        source = random.Random(f"ground/{scene.seed}")
        angle = math.radians(source.uniform(-40.0, 40.0))
        return cls(
            scene.floor, angle, (source.uniform(0.0, 50.0), source.uniform(0.0, 50.0)), source.uniform(0.92, 1.08)
        )

    def albedo(self, x: Tensor, y: Tensor, across: Tensor, along: Tensor, heading: Tensor) -> Vector:
        """Linear reflectance (r, g, b) at points of the floor, in metres.

        A pixel covers `across` metres sideways and `along` metres in the horizontal direction `heading` (radians, from
        the x axis) in which it is seen. All tensors broadcast.
        """
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        u, v = x * cosine + y * sine + self.shift[0], y * cosine - x * sine + self.shift[1]
        seen = heading - self.angle
        toward, aside = seen.cos().abs(), seen.sin().abs()
        width_u = along * toward + across * aside
        width_v = along * aside + across * toward
        value = _VALUE[self.kind](u, v, width_u, width_v) * self.tint
        red, green, blue = TONE[self.kind]
        if self.kind == "wood":
            # Darker wood is a little redder.
            return red * value, green * value**1.1, blue * value**1.2
        return red * value, green * value, blue * value


def _wood(u: Tensor, v: Tensor, width_u: Tensor, width_v: Tensor) -> Tensor:
    plank = 0.21
    row, width = v / plank, width_v / plank
    shade = _blend_cells(row, width)
    lane = row.floor()
    offset = cell_value(lane, 3) * 7.0
    grain = value_noise(u * 1.6 + offset, v * 22.0, torch.maximum(width_u * 1.6, width_v * 22.0))
    streak = value_noise(u * 4.0 + offset, v * 60.0, torch.maximum(width_u * 4.0, width_v * 60.0))
    joint = _lines(u / 1.4 + offset, width_u / 1.4, 0.006)
    gap = _lines(row, width, 0.035)
    return (1.0 + 0.13 * shade + 0.12 * grain + 0.08 * streak) * (1.0 - 0.5 * gap) * (1.0 - 0.4 * joint)


def _tiles(u: Tensor, v: Tensor, width_u: Tensor, width_v: Tensor) -> Tensor:
    edge = 0.45
    line_u, line_v = _lines(u / edge, width_u / edge, 0.035), _lines(v / edge, width_v / edge, 0.035)
    cloud = value_noise(u * 5.0, v * 5.0, torch.maximum(width_u, width_v) * 5.0)
    tone = cell_value((u / edge).floor() + 57.0 * (v / edge).floor()) * fade(
        torch.maximum(width_u, width_v) / edge * 2.0
    )
    grout = 1.0 - (1.0 - line_u) * (1.0 - line_v)
    return (1.0 + 0.05 * cloud + 0.04 * tone) * (1.0 - 0.42 * grout)


def _grass(u: Tensor, v: Tensor, width_u: Tensor, width_v: Tensor) -> Tensor:
    width = torch.maximum(width_u, width_v)
    patch = value_noise(u * 1.3, v * 1.3, width * 1.3)
    tuft = value_noise(u * 7.0, v * 7.0, width * 7.0)
    blade = value_noise(u * 33.0 + 3.0 * tuft, v * 33.0, width * 25.0)
    return 1.0 + 0.16 * patch + 0.30 * tuft + 0.42 * blade


def _sand(u: Tensor, v: Tensor, width_u: Tensor, width_v: Tensor) -> Tensor:
    width = torch.maximum(width_u, width_v)
    dune = value_noise(u * 0.9, v * 0.9, width * 0.9)
    phase = (u * 0.35 + v + 0.10 * dune + 0.03 * value_noise(u * 3.0, v * 3.0, width * 3.0)) * (2.0 * math.pi / 0.16)
    ripple = phase.sin() * fade(width / 0.16 * 1.6)
    grain = value_noise(u * 70.0, v * 70.0, width * 60.0)
    return 1.0 + 0.07 * dune + 0.07 * ripple + 0.10 * grain


def _snow(u: Tensor, v: Tensor, width_u: Tensor, width_v: Tensor) -> Tensor:
    width = torch.maximum(width_u, width_v)
    drift = value_noise(u * 1.1, v * 1.1, width * 1.1)
    bump = value_noise(u * 5.0, v * 5.0, width * 5.0)
    return 1.0 + 0.06 * drift + 0.05 * bump + 0.05 * value_noise(u * 40.0, v * 40.0, width * 35.0)


def _checker(u: Tensor, v: Tensor, width_u: Tensor, width_v: Tensor) -> Tensor:
    edge = 0.5
    cells = _square_wave(u / edge, width_u / edge) * _square_wave(v / edge, width_v / edge)
    speck = value_noise(u * 9.0, v * 9.0, torch.maximum(width_u, width_v) * 9.0)
    return 1.0 + 0.36 * cells + 0.05 * speck


_VALUE = {"wood": _wood, "tiles": _tiles, "grass": _grass, "sand": _sand, "snow": _snow, "checker": _checker}


def _lines(x: Tensor, width: Tensor, thickness: float) -> Tensor:
    """Share of a pixel of `width` at x that is covered by lines of `thickness` at whole numbers (box filter)."""
    half = 0.5 * width.clamp(min=1e-4)

    def covered(end: Tensor) -> Tensor:
        cell = end.floor()
        return cell * thickness + (end - cell).clamp(max=thickness)

    return (covered(x + half) - covered(x - half)) / (2.0 * half)


def _square_wave(x: Tensor, width: Tensor) -> Tensor:
    """A wave of -1 and 1 that changes at whole numbers, averaged over a pixel of `width` (box filter)."""
    half = 0.5 * width.clamp(min=1e-4)

    def total(end: Tensor) -> Tensor:
        cycle = end * 0.5
        return ((cycle - cycle.floor()) - 0.5).abs() * 2.0

    return (total(x - half) - total(x + half)) / (2.0 * half)


def _blend_cells(x: Tensor, width: Tensor) -> Tensor:
    """A random value for each cell [k, k+1), averaged over a pixel of `width`; fades under wide pixels."""
    half = 0.5 * width.clamp(min=1e-4, max=1.0)
    low, high = (x - half).floor(), (x + half).floor()
    share = ((x + half - high) / (2.0 * half)).clamp(0.0, 1.0)
    return torch.lerp(cell_value(low), cell_value(high), share) * fade(width * 0.7)
