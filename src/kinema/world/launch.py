"""How each action is set going: joints, initial speeds, drives and contacts, as plain data that physics.py simulates.

Bodies move in the plane that the camera faces (x sideways, z up): joints leave them only the freedoms that their action
needs, so a bouncing cone stays upright and a rolling cylinder rolls straight. Drag and steady drives act through joints
too: a drive of `c * v` on a joint of damping `c` pulls it to the speed `v`. All masses are 1 kg.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from kinema.world.scene import Action, Object, Scene

GRAVITY = 9.81
TRAVEL = 0.55
"""How far an action of `TRAVELLING` carries the object while the clip lasts, in view heights."""
DROP_TOP = 0.82
"""Where the top of an object is when it is let go, in view heights above the floor."""
RISE_TOP = 0.84
"""Above this height, in view heights, the top of a rising object never gets."""
RISE = 0.5
"""How far an object rises, in view heights, if `RISE_TOP` lets it."""
SWING_PIVOT = 1.3
"""Height of the pivot that a swinging object hangs from, in view heights."""
SWING_REACH = 0.23
"""How far a swinging object gets to either side of its lowest point, in view heights."""
TUMBLE_TURN_DEG = (270.0, 330.0)
"""How far a tumbling object turns while the clip lasts, at least."""
SPIN_DEG_PER_S = (200.0, 300.0)
"""Slow enough to be seen at 8 frames per second, even of a box, which looks the same after a quarter turn."""

UPRIGHT = (1.0, 0.0, 0.0, 0.0)
LYING = (math.sqrt(0.5), -math.sqrt(0.5), 0.0, 0.0)
"""Turns the symmetry axis from z to y, across the direction of travel."""

Quaternion = tuple[float, float, float, float]


@dataclass(frozen=True)
class Joint:
    """One freedom of a body; `pivot` is the height of a hinge above the body's centre, in metres."""

    kind: str
    axis: str
    speed: float = 0.0
    damping: float = 0.0
    drive: float = 0.0
    angle: float = 0.0
    pivot: float = 0.0


@dataclass(frozen=True)
class Body:
    """One moving object: where its centre is when the clip starts, how it is turned, and how it may move."""

    thing: Object
    x: float
    z: float
    turn: Quaternion
    joints: tuple[Joint, ...]


@dataclass(frozen=True)
class Contact:
    """How two surfaces meet: sliding `friction`, and `restitution`, the share of the speed kept when rebounding."""

    friction: float = 0.0
    restitution: float = 0.0


@dataclass(frozen=True)
class Launch:
    """All that the physics needs: the bodies that move, their contacts with the floor and with each other.

    A contact of None means that the two never meet, or meet without being felt.
    """

    bodies: tuple[Body, ...]
    floor: Contact | None = None
    between: Contact | None = None
    gravity: float = GRAVITY
    pivot_z: float | None = None


def launch(scene: Scene, source: random.Random) -> Launch | None:
    """Choose how the scene's action starts, with variation drawn from `source`; None if nothing moves."""
    start = STARTS.get(scene.action)
    return start(scene, source) if start else None


def yaw_turn(yaw_deg: float) -> Quaternion:
    """Quaternion of a turn about the vertical."""
    half = math.radians(yaw_deg) / 2
    return (math.cos(half), 0.0, 0.0, math.sin(half))


def collision_yaw_deg(thing: Object) -> float:
    """Yaw of an object that collides: a box meets the other almost face on, everything else as it stands."""
    return ((thing.yaw_deg + 45.0) % 90.0 - 45.0) / 3 if thing.shape == "box" else thing.yaw_deg


def lying_turn(thing: Object) -> Quaternion:
    """Turn of an object that rolls: lying across the direction of travel, or for a ball as it stands."""
    if thing.shape == "ball":
        return yaw_turn(thing.yaw_deg)
    (w, x, _, _), (cos, _, _, sin) = LYING, yaw_turn(thing.yaw_deg)
    return (w * cos, x * cos, -x * sin, w * sin)


def _sign(scene: Scene) -> float:
    return 1.0 if scene.direction == "right" else -1.0


def _standing(scene: Scene, *joints: Joint, z: float | None = None) -> Body:
    main = scene.main
    return Body(main, main.x, main.height / 2 if z is None else z, yaw_turn(main.yaw_deg), joints)


def _coast(distance: float, seconds: float, source: random.Random) -> tuple[float, float]:
    """Initial speed, and drag per unit of mass, that carry a body `distance` in `seconds` while it slows a little."""
    drag = source.uniform(0.2, 0.8) / seconds
    return distance * drag / (1.0 - math.exp(-drag * seconds)), drag


def _travel(scene: Scene, source: random.Random) -> float:
    return source.uniform(TRAVEL - 0.02, TRAVEL + 0.02) * scene.view_height


def _start_slide(scene: Scene, source: random.Random) -> Launch:
    speed, drag = _coast(_travel(scene, source), scene.seconds, source)
    return Launch((_standing(scene, Joint("slide", "x", _sign(scene) * speed, drag), Joint("slide", "z")),), Contact())


def _start_roll(scene: Scene, source: random.Random) -> Launch:
    main, sign = scene.main, _sign(scene)
    speed, drag = _coast(_travel(scene, source), scene.seconds, source)
    joints = (
        # The turning mass of a ball or cylinder carries 0.4 to 0.5 of its inertia when it rolls.
        Joint("slide", "x", sign * speed, 1.45 * drag),
        Joint("slide", "z"),
        Joint("hinge", "y", sign * speed / main.radius),
    )
    return Launch((Body(main, main.x, main.radius, lying_turn(main), joints),), Contact(friction=1.0))


def _start_tumble(scene: Scene, source: random.Random) -> Launch:
    main, sign = scene.main, _sign(scene)
    travel = 0.95 * _travel(scene, source)
    # Rolling over its corners, a body turns by about distance / (perimeter / 2 pi), or else slips.
    rolling = travel * math.pi / (main.height + 2 * main.radius)
    turn = max(math.radians(source.uniform(*TUMBLE_TURN_DEG)), rolling)
    speed, rate = travel / scene.seconds, turn / scene.seconds
    joints = (
        Joint("slide", "x", sign * speed, 100.0, sign * speed * 100.0),
        Joint("slide", "z"),
        Joint("hinge", "y", sign * rate, 20.0, sign * rate * 20.0),
    )
    return Launch((Body(main, main.x, main.height / 2, UPRIGHT, joints),), Contact(friction=0.1))


def _dropped(scene: Scene) -> tuple[float, float]:
    """Height of the centre when let go, and how far the object falls."""
    z = DROP_TOP * scene.view_height - scene.main.height / 2
    return z, z - scene.main.height / 2


def _start_bounce(scene: Scene, source: random.Random) -> Launch:
    z, drop = _dropped(scene)
    restitution = source.uniform(0.72, 0.8)
    # Short clips get a stronger gravity, so that the second rebound still happens within the clip.
    longest_fall_s = 0.9 * scene.seconds / (1 + 2 * restitution + 2 * restitution**2)
    gravity = max(GRAVITY, 2 * drop / longest_fall_s**2)
    return Launch((_standing(scene, Joint("slide", "z"), z=z),), Contact(restitution=restitution), gravity=gravity)


def _start_fall(scene: Scene, _: random.Random) -> Launch:
    z, drop = _dropped(scene)
    gravity = max(GRAVITY, 2 * drop / (0.5 * scene.seconds) ** 2)
    return Launch((_standing(scene, Joint("slide", "z"), z=z),), Contact(), gravity=gravity)


def _start_spin(scene: Scene, source: random.Random) -> Launch:
    rate = math.radians(source.uniform(*SPIN_DEG_PER_S)) * source.choice((-1.0, 1.0))
    return Launch((_standing(scene, Joint("hinge", "z", rate)),))


def _start_swing(scene: Scene, source: random.Random) -> Launch:
    main, view = scene.main, scene.view_height
    z = main.height / 2 + source.uniform(0.1, 0.15) * view
    pivot = SWING_PIVOT * view - z
    angle = source.choice((-1.0, 1.0)) * math.asin(SWING_REACH * view / pivot)
    # Short clips get a stronger gravity, so that the object still swings to the other side within the clip.
    gravity = max(GRAVITY, pivot * (2 * math.pi / (1.5 * scene.seconds)) ** 2)
    joint = Joint("hinge", "y", angle=angle, pivot=pivot, damping=0.02)
    return Launch((_standing(scene, joint, z=z),), gravity=gravity, pivot_z=SWING_PIVOT * view)


def _start_rise(scene: Scene, source: random.Random) -> Launch:
    room = RISE_TOP * scene.view_height - scene.main.height
    height = min(RISE * scene.view_height, room) * source.uniform(0.95, 1.0)
    drag = source.uniform(6.0, 10.0) / scene.seconds
    # Lift starts the body from rest: its height is speed * (seconds - (1 - exp(-drag * seconds)) / drag).
    speed = height / (scene.seconds - (1.0 - math.exp(-drag * scene.seconds)) / drag)
    return Launch((_standing(scene, Joint("slide", "z", 0.0, drag, drag * speed)),), gravity=0.0)


def _start_collide(scene: Scene, source: random.Random) -> Launch:
    main, target, sign, seconds = scene.main, scene.objects[1], _sign(scene), scene.seconds
    gap = abs(target.x - main.x) - main.radius - target.radius
    hit_s = source.uniform(0.3, 0.36) * seconds
    speed = gap / hit_s
    room = 0.48 * scene.view_height - abs(target.x) - target.radius
    drag = _drag_to_stop(min(room, 0.24 * scene.view_height), 0.85 * speed, seconds - hit_s)
    bodies = (
        _collider(main, sign * speed, 0.1 / seconds),
        _collider(target, 0.0, drag),
    )
    return Launch(bodies, Contact(friction=0.3), Contact(restitution=0.75))


def _collider(thing: Object, speed: float, drag: float) -> Body:
    joints = [Joint("slide", "x", speed, drag)]
    if thing.shape == "ball":
        joints += [Joint("slide", "z"), Joint("hinge", "y", speed / thing.radius)]
    return Body(thing, thing.x, thing.height / 2, yaw_turn(collision_yaw_deg(thing)), tuple(joints))


def _drag_to_stop(distance: float, speed: float, seconds: float) -> float:
    """Drag per unit of mass that lets a body go no further than `distance` in `seconds`."""
    low, high = 1e-3 / seconds, 50.0 / seconds
    for _ in range(30):
        drag = math.sqrt(low * high)
        low, high = (drag, high) if speed * (1 - math.exp(-drag * seconds)) / drag > distance else (low, drag)
    return high


STARTS: dict[Action, Callable[[Scene, random.Random], Launch]] = {
    "roll": _start_roll,
    "slide": _start_slide,
    "tumble": _start_tumble,
    "bounce": _start_bounce,
    "fall": _start_fall,
    "spin": _start_spin,
    "swing": _start_swing,
    "rise": _start_rise,
    "collide": _start_collide,
}
