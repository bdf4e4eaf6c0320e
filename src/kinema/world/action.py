"""What the objects of a clip do, from how they move in the world once the camera's move is taken out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kinema.world.scene import Action, Direction

Floats = NDArray[np.float64]

PUSHED = 0.04
"""Distance, in view heights, that an object must be knocked by a collision."""

SWINGS_BACK = 0.15
"""Share of its sideways range that an object crosses either way when it swings."""

REBOUND = 0.1
"""Height, in view heights, to which an object must rise again after falling to be called bouncing."""


@dataclass(frozen=True)
class Motion:
    """What a clip's objects do together; `actor` is the index of the one that acts.

    "slide" stands for all that travels: outlines tell it from rolling and tumbling.
    """

    action: Action
    direction: Direction | None
    actor: int


def read_motion(tracks: Sequence[Floats], movers: Sequence[int]) -> Motion | None:
    """Tell what happens from the tracks "f 2" (sideways, up; view heights, NaN where unseen) of those that move.

    None means that nothing changes place: the clip shows rest, or a spin, which tracks do not tell.
    """
    if not movers:
        return None
    reach = {index: _range(tracks[index]) for index in movers}
    actor = max(movers, key=lambda index: float(reach[index].sum()))
    pushed = [index for index in movers if abs(_net(tracks[index])) > PUSHED]
    if len(pushed) > 1:
        first, second = sorted(pushed, key=lambda index: _start(tracks[index]))[:2]
        if _net(tracks[first]) * _net(tracks[second]) > 0 and _start(tracks[first]) < _start(tracks[second]):
            return Motion("collide", _side(_net(tracks[first])), first)
    across, up = reach[actor]
    if across >= 0.6 * up:
        return _sideways(tracks[actor], actor)
    return Motion(_vertical(tracks[actor]), None, actor)


def _sideways(track: Floats, actor: int) -> Motion:
    x = _seen(track)[:, 0]
    span = max(float(np.ptp(x)), 1e-6)
    # A swing goes far both ways, what travels one way only.
    leftwards = float((np.maximum.accumulate(x) - x).max())
    rightwards = float((x - np.minimum.accumulate(x)).max())
    if min(leftwards, rightwards) > SWINGS_BACK * span:
        return Motion("swing", None, actor)
    return Motion("slide", _side(_net(track)), actor)


def _vertical(track: Floats) -> Action:
    z = _seen(track)[:, 1]
    lowest = int(np.argmin(z))
    risen = float(z[-1] - z[0])
    if risen > 0.5 * float(np.ptp(z)) and lowest < len(z) // 2:
        return "rise"
    # One smeared view is no rebound, but one view may be all that shows the ground being hit.
    rebound = float((ndimage.median_filter(z, 3, mode="nearest") - np.minimum.accumulate(z)).max())
    return "bounce" if rebound > REBOUND else "fall"


def _seen(track: Floats) -> Floats:
    return track[np.isfinite(track).all(axis=-1)]


def _range(track: Floats) -> Floats:
    seen = _seen(track)
    return np.ptp(seen, axis=0) if len(seen) else np.zeros(2)


def _net(track: Floats) -> float:
    """How far the track ends to the right of where it starts."""
    seen = _seen(track)
    return float(seen[-1, 0] - seen[0, 0]) if len(seen) else 0.0


def _start(track: Floats) -> int:
    """The first frame in which the track has clearly left its first place."""
    frames = np.flatnonzero(np.isfinite(track).all(axis=-1))
    away = np.hypot(*(track[frames] - track[frames[0]]).T)
    moved = np.flatnonzero(away > 0.025)
    return int(frames[moved[0]]) if len(moved) else len(track)


def _side(distance: float) -> Direction:
    return "right" if distance > 0 else "left"
