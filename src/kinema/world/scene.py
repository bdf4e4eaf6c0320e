"""What one clip of the demo world contains: plain data, drawn from a seed.

Axes, in metres: x to the right, y away from the camera, z up; the floor is z = 0, the subject is near the origin.
Angles are in degrees. Attributes are drawn independently, so that no caption word predicts another; the combinations of
`HELD_OUT_LOOKS` and `HELD_OUT_MOTIONS` never occur in the training split (compositional generalisation, as CATER and
phyworld test it).
"""

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

BETWEEN_CHANGES = 4
"""Frames between the moments at which clips may change: those of a latent, so that a change begins with one."""
LEAST_CHANGING = BETWEEN_CHANGES + 2
"""Fewest frames of a clip that changes."""

Shape = Literal["ball", "box", "cylinder", "cone", "capsule"]
Colour = Literal["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"]
Size = Literal["small", "large"]
Material = Literal["matte", "glossy", "metal"]
Action = Literal["rest", "roll", "slide", "tumble", "bounce", "fall", "spin", "swing", "rise", "collide"]
Direction = Literal["left", "right"]
Floor = Literal["wood", "tiles", "grass", "sand", "snow", "checker"]
Light = Literal["noon", "overcast", "sunset", "night"]
CameraMove = Literal["fixed", "pan", "orbit", "dolly", "tilt"]
CameraDirection = Literal["left", "right", "in", "out", "up", "down"]
Split = Literal["train", "held_out", "all"]

SHAPES: tuple[Shape, ...] = ("ball", "box", "cylinder", "cone", "capsule")
COLOURS: tuple[Colour, ...] = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
SIZES: tuple[Size, ...] = ("small", "large")
MATERIALS: tuple[Material, ...] = ("matte", "glossy", "metal")
ACTIONS: tuple[Action, ...] = (
    "rest",
    "roll",
    "slide",
    "tumble",
    "bounce",
    "fall",
    "spin",
    "swing",
    "rise",
    "collide",
)
FLOORS: tuple[Floor, ...] = ("wood", "tiles", "grass", "sand", "snow", "checker")
LIGHTS: tuple[Light, ...] = ("noon", "overcast", "sunset", "night")
CAMERA_MOVES: tuple[CameraMove, ...] = ("fixed", "pan", "orbit", "dolly", "tilt")

HEIGHT_M: dict[Size, float] = {"small": 0.42, "large": 0.68}
"""Height of an object of each size, in metres, whatever its shape."""

HALF_WIDTH_TO_HEIGHT: dict[Shape, float] = {"ball": 0.5, "box": 0.45, "cylinder": 0.36, "cone": 0.5, "capsule": 0.26}
"""Radius (for a box: half its edge along x and y) over height, of each shape standing upright."""

VIEW_HEIGHT_M: tuple[float, ...] = (1.6, 1.8, 2.1, 2.1)
"""Height of the view at the subject, in metres, by number of objects: the main object fills 0.2 to 0.45 of it."""

TRAVELLING: frozenset[Action] = frozenset({"roll", "slide", "tumble", "collide"})
"""Actions that cross the picture, and so have a direction."""

STAYING: frozenset[Action] = frozenset(ACTIONS) - TRAVELLING - {"rise"}
"""Actions that leave everything in the picture, however long they go on."""

ACTION_SHAPES: dict[Action, tuple[Shape, ...]] = {
    "rest": SHAPES,
    "roll": ("ball", "cylinder", "capsule"),
    "slide": ("box", "cylinder", "cone", "capsule"),
    "tumble": ("box", "cylinder", "cone", "capsule"),
    "bounce": SHAPES,
    "fall": SHAPES,
    "spin": SHAPES,
    "swing": SHAPES,
    "rise": SHAPES,
    "collide": SHAPES,
}
"""Shapes that can perform each action."""

CAMERA_DIRECTIONS: dict[CameraMove, tuple[CameraDirection, ...]] = {
    "fixed": (),
    "pan": ("left", "right"),
    "orbit": ("left", "right"),
    "dolly": ("in", "out"),
    "tilt": ("up", "down"),
}

HELD_OUT_LOOKS: frozenset[tuple[Colour, Shape]] = frozenset(
    {
        ("red", "cone"),
        ("orange", "capsule"),
        ("yellow", "cylinder"),
        ("green", "ball"),
        ("blue", "box"),
        ("purple", "ball"),
        ("cyan", "cone"),
        ("pink", "box"),
    }
)
HELD_OUT_MOTIONS: frozenset[tuple[Shape, Action]] = frozenset(
    {("cone", "swing"), ("box", "rise"), ("capsule", "bounce"), ("cylinder", "spin")}
)

COUNT_WEIGHTS: tuple[float, ...] = (0.55, 0.25, 0.12, 0.08)
"""Share of clips with one, two, three and four objects."""

MOST_OBJECTS = len(COUNT_WEIGHTS)

SAME_LOOK_SHARE = 0.25
"""Share of the clips with several objects in which all are alike ("three blue cones")."""

LANE_Y_M = 0.95
"""How far behind the main object's lane the row of bystanders stands, in metres."""


@dataclass(frozen=True, kw_only=True)
class Object:
    """One solid thing, of one base colour, standing at (x, y) on the floor when the clip starts."""

    shape: Shape
    colour: Colour
    size: Size
    material: Material
    x: float
    y: float
    yaw_deg: float

    @property
    def height(self) -> float:
        """Height in metres when upright."""
        return HEIGHT_M[self.size]

    @property
    def radius(self) -> float:
        """Radius in metres (for a box: half its edge)."""
        return self.height * HALF_WIDTH_TO_HEIGHT[self.shape]


@dataclass(frozen=True, kw_only=True)
class Camera:
    """How the picture is taken; `elevation_deg` above the floor, `azimuth_deg` turned about the subject."""

    move: CameraMove
    direction: CameraDirection | None
    elevation_deg: float
    azimuth_deg: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that determines a clip of `seconds`. `objects[0]` acts; in "collide" it hits `objects[1]`."""

    seed: int
    seconds: float
    objects: tuple[Object, ...]
    action: Action
    direction: Direction | None
    floor: Floor
    light: Light
    sun_azimuth_deg: float
    cloudiness: float
    camera: Camera

    @property
    def main(self) -> Object:
        """The object that acts."""
        return self.objects[0]

    @property
    def view_height(self) -> float:
        """Height of the field of view at the subject, in metres."""
        return _view_height(len(self.objects), self.action)

    @property
    def is_alike(self) -> bool:
        """Whether there are several objects and all look the same."""
        looks = {(thing.shape, thing.colour, thing.size) for thing in self.objects}
        return len(self.objects) > 1 and len(looks) == 1


def _view_height(count: int, action: Action) -> float:
    # Two objects in one lane, and the way that the second is knocked, need the widest view.
    return VIEW_HEIGHT_M[-1] if action == "collide" else VIEW_HEIGHT_M[count - 1]


def is_held_out(scene: Scene) -> bool:
    """Whether the scene shows a look or a motion that the training split never shows."""
    looks = any((thing.colour, thing.shape) in HELD_OUT_LOOKS for thing in scene.objects)
    return looks or (scene.main.shape, scene.action) in HELD_OUT_MOTIONS


def sample_scene(seed: int, *, seconds: float = 2.0, split: Split = "train") -> Scene:
    """Draw the scene that `seed` stands for: the same seed, length and split always give the same scene.

    `split` "train" never shows a held-out combination, "held_out" always does, "all" draws from everything.
    """
    source = random.Random(f"{seed}/{split}")
    while True:
        scene = _draw(source, seed, seconds)
        if split == "all" or is_held_out(scene) == (split == "held_out"):
            return scene


def mirror(scene: Scene) -> Scene:
    """Give the scene whose clip is the mirror image, left for right, of this scene's clip (its two tones swap too)."""
    swapped: dict[str, Direction] = {"left": "right", "right": "left"}
    camera = dataclasses.replace(
        scene.camera,
        direction=swapped.get(scene.camera.direction or "", scene.camera.direction),
        azimuth_deg=-scene.camera.azimuth_deg,
    )
    return dataclasses.replace(
        scene,
        objects=tuple(dataclasses.replace(thing, x=-thing.x, yaw_deg=-thing.yaw_deg) for thing in scene.objects),
        direction=swapped[scene.direction] if scene.direction else None,
        sun_azimuth_deg=-scene.sun_azimuth_deg,
        camera=camera,
    )


def _draw(source: random.Random, seed: int, seconds: float) -> Scene:
    count = source.choices((1, 2, 3, 4), COUNT_WEIGHTS)[0]
    action = source.choice([name for name in ACTIONS if name != "collide" or count > 1])
    direction: Direction | None = source.choice(("left", "right")) if action in TRAVELLING else None
    move = source.choice(CAMERA_MOVES) if source.random() < 0.6 else "fixed"
    return Scene(
        seed=seed,
        seconds=seconds,
        objects=_place(source, _draw_looks(source, count, action), action, direction),
        action=action,
        direction=direction,
        floor=source.choice(FLOORS),
        light=source.choice(LIGHTS),
        sun_azimuth_deg=source.uniform(-70.0, 70.0),
        cloudiness=source.random(),
        camera=Camera(
            move=move,
            direction=source.choice(CAMERA_DIRECTIONS[move]) if move != "fixed" else None,
            elevation_deg=source.uniform(12.0, 24.0),
            azimuth_deg=source.uniform(-8.0, 8.0),
        ),
    )


def _draw_looks(source: random.Random, count: int, action: Action) -> list[Object]:
    """Draw shape, colour, size and material of each object; colours differ unless all objects are alike."""
    colours = source.sample(COLOURS, count)
    looks = [
        Object(
            shape=source.choice(ACTION_SHAPES[action] if index == 0 else SHAPES),
            colour=colours[index],
            size=source.choice(SIZES),
            material=source.choice(MATERIALS),
            x=0.0,
            y=0.0,
            yaw_deg=source.uniform(-180.0, 180.0),
        )
        for index in range(count)
    ]
    if count > 1 and source.random() < SAME_LOOK_SHARE:
        return [dataclasses.replace(looks[0], yaw_deg=thing.yaw_deg) for thing in looks]
    return looks


def _place(
    source: random.Random, looks: Sequence[Object], action: Action, direction: Direction | None
) -> tuple[Object, ...]:
    """Stand the objects so that none hides another for the whole clip and all fit into a square picture.

    The main object has the front lane; in "collide" it shares the lane with the object that it hits. Bystanders stand
    in a row behind, left, right and centre of the lane, or beside a main object that stays where it is.
    """
    view = _view_height(len(looks), action)
    sign = {"left": -1.0, "right": 1.0, None: 0.0}[direction]
    main = dataclasses.replace(looks[0], x=-sign * (0.31 if action == "collide" else 0.27) * view, y=0.0)
    placed = [main]
    rest = list(looks[1:])
    if action == "collide":
        target = rest.pop(0)
        placed.append(dataclasses.replace(target, x=sign * 0.13 * view, y=0.0))
    if len(rest) == 1 and action not in TRAVELLING and action != "swing" and source.random() < 0.5:
        # A lone bystander may stand beside a main object that stays: both move off the centre.
        side = source.choice((-0.25, 0.25))
        return (
            dataclasses.replace(main, x=-side * view),
            dataclasses.replace(rest[0], x=side * view),
        )
    if action not in TRAVELLING:
        placed[0] = dataclasses.replace(
            main, x=source.uniform(-1.0, 1.0) * (0.02 if action == "swing" else 0.12) * view
        )
    slots = {0: (), 1: (-0.3, 0.3), 2: (-0.33, 0.33), 3: (-0.43, 0.0, 0.43)}[len(rest)]
    for thing, slot in zip(rest, source.sample(slots, len(rest)), strict=True):
        x = (slot + source.uniform(-0.01, 0.01)) * view
        placed.append(dataclasses.replace(thing, x=x, y=LANE_Y_M))
    return tuple(placed)
