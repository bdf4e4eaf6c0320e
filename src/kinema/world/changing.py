"""Clips that turn into what their caption says on the way: what a prompt that changes in mid-video asks for.

Nothing in the world changes colour, and no clip that begins with its action shows how one begins. So a clip is made to
become another: its looks pass over into others in half a second, what stood still sets off, or what moved comes to
rest. Only from then on is its scene true.
"""

import dataclasses
import random
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinema.errors import SpecError
from kinema.world.facts import Facts
from kinema.world.physics import simulate
from kinema.world.render import render_clip
from kinema.world.scene import (
    COLOURS,
    FLOORS,
    LIGHTS,
    MATERIALS,
    Action,
    Object,
    Scene,
    is_held_out,
)
from kinema.world.trajectory import Trajectory

Kind = Literal["look", "start", "stop"]
Stated = Literal["colour", "material", "floor", "light", "action", "camera"]

KINDS: tuple[Kind, ...] = ("look", "look", "start", "stop")
"""What changes, as often as it stands here; looks change where an action can neither set off nor stop."""
PASSING_S = 0.5
"""Time in which looks pass over into others, and in which a motion comes to rest."""
STARTING: frozenset[Action] = frozenset({"roll", "slide", "tumble", "spin", "rise", "collide"})
"""Actions that begin on the floor, at rest as it seems until then."""
STOPPING: frozenset[Action] = frozenset({"roll", "slide", "spin"})
"""Actions that can end at any moment and leave their object standing as it can stand."""
FINE = 8
"""Moments between two frames from which those of a motion that slows down are taken."""
LOOKS: tuple[Stated, ...] = ("colour", "colour", "colour", "material", "floor", "light")
"""Which look changes, as often as it stands here."""


@dataclass(frozen=True)
class Change:
    """What happens to a scene on the way to what it is."""

    kind: Kind
    before: Scene
    """How all looks until then."""
    after: Scene
    """What is true from then on."""
    stated: Stated
    """What a caption must say, or else nothing would tell that this changes."""


def draw_change(scene: Scene) -> Change:
    """Draw what `scene` came about by: the same scene always changes in the same way."""
    source = random.Random(f"{scene.seed}/changing")
    kind = source.choice(KINDS)
    if kind == "start" and scene.action in STARTING:
        return Change(kind, scene, scene, "action")
    if kind == "stop" and scene.action in STOPPING:
        stopped = dataclasses.replace(scene, action="rest", direction=None)
        if not is_held_out(stopped):
            return Change(kind, scene, stopped, "action")
    before, look = _other_look(scene, source)
    return Change("look", before, scene, look)


def changing_clip(
    scene: Scene,
    first: int,
    num_frames: int,
    fps: float,
    height: int,
    width: int,
    device: torch.device | str = "cpu",
    samples: int = 4,
) -> tuple[NDArray[np.uint8], Change]:
    """Render a clip, "f h w 3", that turns into `scene` from frame `first` on, by the change that is drawn for it.

    A motion that stops leaves another scene: all lies where it has come to. Raises SpecError where `first` leaves
    nothing before it, or after; `device` and `samples` are those of `render_clip`.
    """
    if not 0 < first < num_frames:
        raise SpecError(f"first={first} is not within a clip of {num_frames} frames; use 1 to {num_frames - 1}")

    def shown(scene: Scene, trajectory: Trajectory) -> Tensor:
        return render_clip(scene, trajectory, num_frames, height, width, device, samples).cpu()

    change = draw_change(scene)
    if change.kind == "start":
        places = np.maximum(np.arange(num_frames) - first + 1, 0)
        return shown(scene, _at(simulate(scene, num_frames, fps), places, fps)).numpy(), change
    if change.kind == "stop":
        moving = simulate(scene, (num_frames - 1) * FINE + 1, fps * FINE)
        trajectory = _at(moving, _slowing(first, num_frames, fps), fps)
        x, y, _ = (float(value) for value in trajectory.position[-1, 0])
        objects = (dataclasses.replace(scene.main, x=x, y=y), *scene.objects[1:])
        change = dataclasses.replace(change, after=dataclasses.replace(change.after, objects=objects))
        return shown(scene, trajectory).numpy(), change
    trajectory = simulate(scene, num_frames, fps)
    before, after = (shown(each, trajectory).float() for each in (change.before, change.after))
    share = ((torch.arange(num_frames) - first + 1) / (PASSING_S * fps)).clamp(0, 1)
    return torch.lerp(before, after, share[:, None, None, None]).round().byte().numpy(), change


def states(stated: Facts, what: Stated) -> bool:
    """Whether the facts of a caption say what they must."""
    whose = stated.objects[0] if what in ("colour", "material") else stated
    return getattr(whose, what) is not None


def _at(trajectory: Trajectory, places: NDArray[np.int64], fps: float) -> Trajectory:
    return Trajectory(trajectory.position[places], trajectory.rotation[places], trajectory.rope, fps)


def _slowing(first: int, num_frames: int, fps: float) -> NDArray[np.int64]:
    """Moments, in parts of a frame, of a motion whose pace falls to nothing from frame `first` on."""
    pace = 1.0 - (np.arange(1, num_frames) - first + 1) / (PASSING_S * fps)
    return np.rint(FINE * np.concatenate([[0.0], pace.clip(0.0, 1.0).cumsum()])).astype(np.int64)


def _other_look(scene: Scene, source: random.Random) -> tuple[Scene, Stated]:
    """Give the scene with another look, of its main object and those alike or of its surroundings, and which one."""
    while True:
        look = source.choice(LOOKS)
        if look == "floor":
            floor = source.choice([each for each in FLOORS if each != scene.floor])
            return dataclasses.replace(scene, floor=floor), look
        if look == "light":
            light = source.choice([each for each in LIGHTS if each != scene.light])
            return dataclasses.replace(scene, light=light), look
        other = dataclasses.replace(scene, objects=tuple(_repaint(scene, look, source)))
        if other != scene and not is_held_out(other):
            return other, look


def _repaint(scene: Scene, look: Stated, source: random.Random) -> list[Object]:
    main, values = scene.main, COLOURS if look == "colour" else MATERIALS
    value = source.choice(values)

    def is_like(thing: Object) -> bool:
        return (thing.shape, thing.colour, thing.size) == (main.shape, main.colour, main.size)

    return [
        dataclasses.replace(thing, **{look: value}) if is_like(thing) else thing  # type: ignore[arg-type]
        for thing in scene.objects
    ]
