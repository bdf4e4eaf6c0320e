"""What a clip shows, as far as it was read: objects with their tracks, and what is said of all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinema.world.facts import Facts, ObjectFacts, Relation, Side
from kinema.world.scene import (
    Action,
    CameraDirection,
    CameraMove,
    Colour,
    Direction,
    Floor,
    Light,
    Material,
    Shape,
    Size,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SeenObject:
    """One object as it is seen.

    `track` is its middle and `extent` its width and height at each frame, "f 2" in picture heights, NaN where it is
    hidden. `lane` is how far behind the subject's lane it stands, in view heights, and `misfit` how badly the best
    solid fits its outline (about 1 when it fits).
    """

    shape: Shape
    colour: Colour
    size: Size
    material: Material | None
    track: Floats
    extent: Floats
    lane: float
    misfit: float


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a clip shows; objects[0] acts, the others are in the order of their size in the picture."""

    objects: tuple[SeenObject, ...]
    relations: tuple[Relation, ...]
    action: Action | None
    direction: Direction | None
    camera: CameraMove
    camera_direction: CameraDirection | None
    light: Light
    floor: Floor

    @property
    def count(self) -> int:
        """Number of objects."""
        return len(self.objects)

    @property
    def facts(self) -> Facts:
        """The same as facts, to be compared with those of a scene or of a caption."""
        return Facts(
            objects=tuple(
                ObjectFacts(shape=thing.shape, colour=thing.colour, size=thing.size, material=thing.material)
                for thing in self.objects
            ),
            count=self.count,
            relations=self.relations,
            action=self.action,
            direction=self.direction,
            floor=self.floor,
            light=self.light,
            camera=self.camera,
            camera_direction=self.camera_direction,
        )


def relations_of(objects: Sequence[SeenObject]) -> tuple[Relation, ...]:
    """Find what is left or right of what in every frame that shows both, and what is in front or behind."""
    found = []
    for first, mine in enumerate(objects):
        for second, other in enumerate(objects):
            if first == second:
                continue
            apart = mine.track[:, 0] - other.track[:, 0]
            apart = apart[np.isfinite(apart)]
            sides: list[Side] = []
            if len(apart) and (apart < 0).all():
                sides.append("left of")
            if len(apart) and (apart > 0).all():
                sides.append("right of")
            if mine.lane < other.lane:
                sides.append("in front of")
            if mine.lane > other.lane:
                sides.append("behind")
            found += [Relation(first, side, second) for side in sides]
    return tuple(found)
