"""What is true of a clip, as data: the truth that captions are drawn from and that evaluation compares with."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kinema.world.camera import camera_path, project
from kinema.world.launch import SWING_REACH, TRAVEL
from kinema.world.scene import (
    TRAVELLING,
    Action,
    CameraDirection,
    CameraMove,
    Colour,
    Direction,
    Floor,
    Light,
    Material,
    Object,
    Scene,
    Shape,
    Size,
)

Side = Literal["left of", "right of", "in front of", "behind"]
OPPOSITE: dict[Side, Side] = {
    "left of": "right of",
    "right of": "left of",
    "in front of": "behind",
    "behind": "in front of",
}

SIDE_MARGIN = 0.04
"""Free space between the outlines of two objects of which one is called left of the other, in picture widths."""
DEPTH_MARGIN_M = 0.5
"""How much nearer to the camera one object is that is called in front of the other."""
CAMERA_SAMPLES = 9


@dataclass(frozen=True)
class ObjectFacts:
    """What is known, or said, of one object; None is not said."""

    shape: Shape | None = None
    colour: Colour | None = None
    size: Size | None = None
    material: Material | None = None


@dataclass(frozen=True)
class Relation:
    """objects[subject] is `side` objects[reference], as the camera sees it, in every frame."""

    subject: int
    side: Side
    reference: int


@dataclass(frozen=True)
class Facts:
    """What is known, or said, of a clip; None is not said.

    `objects` are in the scene's order, objects[0] acts. `relations` holds each relation both ways round when it is the
    truth, and only what is said when it is what a caption states.
    """

    objects: tuple[ObjectFacts, ...]
    count: int | None = None
    relations: tuple[Relation, ...] = ()
    action: Action | None = None
    direction: Direction | None = None
    floor: Floor | None = None
    light: Light | None = None
    camera: CameraMove | None = None
    camera_direction: CameraDirection | None = None

    def contradicts(self, other: "Facts") -> tuple[str, ...]:
        """Name the facts that both state and that differ; relations differ where the other states the opposite."""
        names = ("count", "action", "direction", "floor", "light", "camera", "camera_direction")
        wrong = [name for name in names if _differ(getattr(self, name), getattr(other, name))]
        for index, (mine, theirs) in enumerate(zip(self.objects, other.objects, strict=False)):
            for name in ("shape", "colour", "size", "material"):
                if _differ(getattr(mine, name), getattr(theirs, name)):
                    wrong.append(f"objects[{index}].{name}")
        for relation in self.relations:
            if Relation(relation.subject, OPPOSITE[relation.side], relation.reference) in other.relations:
                wrong.append(f"objects[{relation.subject}] {relation.side} objects[{relation.reference}]")
        return tuple(wrong)


def facts(scene: Scene) -> Facts:
    """Collect everything that is true of the scene's clip."""
    return Facts(
        objects=tuple(
            ObjectFacts(shape=thing.shape, colour=thing.colour, size=thing.size, material=thing.material)
            for thing in scene.objects
        ),
        count=len(scene.objects),
        relations=relations(scene),
        action=scene.action,
        direction=scene.direction,
        floor=scene.floor,
        light=scene.light,
        camera=scene.camera.move,
        camera_direction=scene.camera.direction,
    )


def relations(scene: Scene) -> tuple[Relation, ...]:
    """Find which objects stand left of, or in front of, which others in every frame, with a clear margin.

    Objects that travel are looked at everywhere they may get to, whenever; so what is returned is certain, and what
    holds only just, or only part of the time, is left out. "In front of" is nearer to the camera, by `DEPTH_MARGIN_M`.
    """
    spans = [_span(scene, index) for index in range(len(scene.objects))]
    found = []
    for first in range(len(spans)):
        for second in range(len(spans)):
            if first == second:
                continue
            (low, high, near, far), (other_low, other_high, other_near, other_far) = spans[first], spans[second]
            if bool((high + SIDE_MARGIN < other_low).all()):
                found.append(Relation(first, "left of", second))
            if bool((low - SIDE_MARGIN > other_high).all()):
                found.append(Relation(first, "right of", second))
            if bool((far + DEPTH_MARGIN_M < other_near).all()):
                found.append(Relation(first, "in front of", second))
            if bool((near - DEPTH_MARGIN_M > other_far).all()):
                found.append(Relation(first, "behind", second))
    return tuple(found)


def _span(scene: Scene, index: int) -> tuple[NDArray[np.float64], ...]:
    """Left and right edge in the picture, nearest and farthest centre in metres, at each of several camera places."""
    thing = scene.objects[index]
    path = camera_path(scene, CAMERA_SAMPLES, (CAMERA_SAMPLES - 1) / scene.seconds)
    centres = np.array([[x, thing.y, thing.height / 2] for x in _reach(scene, index)])
    seen = project(path, centres, 1.0)
    half = _half_extent(thing) / (2.0 * seen[..., 2] * path.half_extent(1.0)[0])
    return (
        (seen[..., 0] - half).min(1),
        (seen[..., 0] + half).max(1),
        seen[..., 2].min(1),
        seen[..., 2].max(1),
    )


def _reach(scene: Scene, index: int) -> tuple[float, ...]:
    """Outermost places along x, in metres, that the centre of an object gets to while the clip lasts."""
    thing, view = scene.objects[index], scene.view_height
    if index == 0 and scene.action == "swing":
        return (thing.x - 1.1 * SWING_REACH * view, thing.x + 1.1 * SWING_REACH * view)
    if (index == 0 and scene.action in TRAVELLING) or (index == 1 and scene.action == "collide"):
        sign = 1.0 if scene.direction == "right" else -1.0
        return (thing.x, thing.x + sign * 1.1 * TRAVEL * view)
    return (thing.x,)


def _half_extent(thing: Object) -> float:
    """Half the width that an upright object shows at most, in metres, whatever its yaw."""
    return thing.radius * (2.0**0.5 if thing.shape == "box" else 1.0)


def _differ(mine: object, theirs: object) -> bool:
    return mine is not None and theirs is not None and mine != theirs
