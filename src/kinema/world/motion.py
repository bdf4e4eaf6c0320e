"""Measure how the objects of a scene moved, and tell whether that shows the scene's action."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinema.world.scene import Action, Scene

STILL_M = 0.001
"""Objects that do not take part move less than this."""


@dataclass(frozen=True)
class Track:
    """What the acting object did: places in view heights, angles in degrees."""

    scene: Scene
    path: NDArray[np.float64]
    """Centre, "f 3"."""
    other: NDArray[np.float64] | None
    """Centre of objects[1] if there is one, "f 3"."""
    tilt_deg: NDArray[np.float64]
    """Between the symmetry axis and the vertical, "f"."""
    turned_deg: float
    """Sum of all turns."""

    @property
    def sign(self) -> float:
        """1 where the action goes to the right, else -1."""
        return 1.0 if self.scene.direction == "right" else -1.0

    @property
    def along(self) -> float:
        """Distance from start to end in the action's direction."""
        return float(self.sign * (self.path[-1, 0] - self.path[0, 0]))

    @property
    def height(self) -> NDArray[np.float64]:
        """How far the centre is above where it is when the object stands on the floor, "f"."""
        return self.path[:, 2] - self.scene.main.height / 2 / self.scene.view_height


def broken_claim(scene: Scene, position: NDArray[np.float32], rotation: NDArray[np.float32]) -> str | None:
    """Say what a motion lacks to show the scene's action, or None if it shows it.

    `position` "f o 3" in metres and `rotation` "f o 4" (unit quaternions w, x, y, z), sampled evenly over the whole of
    `scene.seconds`, at least 30 times per second.
    """
    if not np.isfinite(position).all() or not np.isfinite(rotation).all():
        return "the motion is not finite"
    movers = {"rest": 0, "collide": 2}.get(scene.action, 1)
    drift = np.abs(position[:, movers:] - position[:1, movers:]).max(initial=0.0)
    if drift > STILL_M:
        return f"an object that takes no part moves by {drift:.4f} m"
    if scene.action == "rest":
        return None
    places = position.astype(np.float64) / scene.view_height
    track = Track(
        scene,
        places[:, 0],
        places[:, 1] if len(scene.objects) > 1 else None,
        tilt_deg(rotation[:, 0]),
        float(turn_deg(rotation[:, 0]).sum()),
    )
    return next((claim for holds, claim in CHECKS[scene.action](track) if not holds), None)


def tilt_deg(rotation: NDArray[np.float32]) -> NDArray[np.float64]:
    """Angle between the object's symmetry axis and the vertical, 0 to 180 degrees, from quaternions "f 4"."""
    _, x, y, _ = rotation.astype(np.float64).T
    tilt: NDArray[np.float64] = np.degrees(np.arccos(np.clip(1 - 2 * (x * x + y * y), -1, 1)))
    return tilt


def turn_deg(rotation: NDArray[np.float32]) -> NDArray[np.float64]:
    """Angle that the object turns from each frame to the next, 0 to 180 degrees, from quaternions "f 4"."""
    both = rotation.astype(np.float64)
    # |q - p| = 2 sin(angle / 4) is exact for small angles, where arccos of the dot product is not.
    near = np.minimum(np.linalg.norm(both[1:] - both[:-1], axis=1), np.linalg.norm(both[1:] + both[:-1], axis=1))
    turn: NDArray[np.float64] = np.degrees(4 * np.arcsin(np.clip(near / 2, 0, 1)))
    return turn


def rebounds(height: NDArray[np.float64], least: float = 0.05) -> list[float]:
    """How high the object gets above the floor after each landing, leaving out what is lower than `least`."""
    peaks = (height[:-2] < height[1:-1]) & (height[1:-1] >= height[2:]) & (height[1:-1] > least)
    return [round(float(peak), 3) for peak in height[1:-1][peaks]]


Checks = Iterator[tuple[bool, str]]
"""Claims that must hold, each with what to say when it does not."""


def _check_travel(track: Track) -> Checks:
    yield 0.48 < track.along < 0.62, f"it travels {track.along:.2f} view heights"


def _check_slide(track: Track) -> Checks:
    yield from _check_travel(track)
    yield track.turned_deg < 1.0, f"it turns by {track.turned_deg:.0f} degrees"


def _check_roll(track: Track) -> Checks:
    yield from _check_travel(track)
    rolling_deg = np.degrees(track.along * track.scene.view_height / track.scene.main.radius)
    yield abs(track.turned_deg - rolling_deg) < 0.15 * rolling_deg, f"it turns by {track.turned_deg:.0f} degrees"
    yield bool(np.ptp(track.path[:, 2]) < 0.01), "it leaves the floor"


def _check_tumble(track: Track) -> Checks:
    yield from _check_travel(track)
    yield 200.0 < track.turned_deg < 560.0, f"it turns by {track.turned_deg:.0f} degrees"
    yield bool(track.tilt_deg.max() > 85.0), "it never turns on its side"


def _check_upright(track: Track) -> Checks:
    yield bool(track.tilt_deg.max() < 1.0 and np.ptp(track.path[:, 0]) < 0.005), "it does not stay upright"


def _check_bounce(track: Track) -> Checks:
    peaks = rebounds(track.height)
    yield len(peaks) >= 2, f"it rebounds to {peaks} view heights"
    yield from _check_upright(track)


def _check_fall(track: Track) -> Checks:
    drop = float(track.path[0, 2] - track.path[-1, 2])
    yield drop > 0.3, f"it falls {drop:.2f} view heights"
    yield not rebounds(track.height, 0.01), "it rebounds"
    yield from _check_upright(track)


def _check_spin(track: Track) -> Checks:
    rate = track.turned_deg / track.scene.seconds
    yield 180.0 < rate < 340.0, f"it turns by {rate:.0f} degrees per second"
    yield bool(np.ptp(track.path, axis=0).max() < 0.005), "it does not stay in place"


def _check_swing(track: Track) -> Checks:
    reach = float(np.ptp(track.path[:, 0]))
    yield reach > 0.4, f"it swings {reach:.2f} view heights"
    steps = np.sign(np.diff(track.path[:, 0]))
    yield bool((steps[1:] * steps[:-1] < 0).any()), "it never swings back"


def _check_rise(track: Track) -> Checks:
    rise = float(track.path[-1, 2] - track.path[0, 2])
    yield 0.35 < rise < 0.52, f"it rises {rise:.2f} view heights"
    yield bool((np.diff(track.path[:, 2]) > -1e-4).all()), "it sinks"


def _check_collide(track: Track) -> Checks:
    """The other object moves only once it is hit, clearly, and the hitter is slower after that."""
    assert track.other is not None
    moved = track.sign * (track.other[:, 0] - track.other[0, 0])
    yield bool(moved[-1] > 0.08), f"the other object moves {moved[-1]:.2f} view heights"
    hit = int(np.argmax(moved > 0.003))
    share = hit / len(moved)
    yield 0.2 < share < 0.6, f"the hit comes at {share:.2f} of the clip"
    speed = track.sign * np.diff(track.path[:, 0])
    before, after = float(speed[: hit - 1].mean()), float(speed[hit + 2 :].mean())
    yield -0.2 < after / before < 0.6, f"the hitter keeps {after / before:.2f} of its speed"
    reach = abs(track.other[-1, 0]) + track.scene.objects[1].radius / track.scene.view_height
    yield bool(reach < 0.53), f"the other object gets {reach:.2f} view heights from the centre"


CHECKS: dict[Action, Callable[[Track], Checks]] = {
    "roll": _check_roll,
    "slide": _check_slide,
    "tumble": _check_tumble,
    "bounce": _check_bounce,
    "fall": _check_fall,
    "spin": _check_spin,
    "swing": _check_swing,
    "rise": _check_rise,
    "collide": _check_collide,
}
"""What must be seen of each action but "rest"."""
