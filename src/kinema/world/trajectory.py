"""How the objects of a scene move: what the physics computes and the renderer draws."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Trajectory:
    """Pose of each of a scene's objects at each frame, in the scene's order.

    `position` is "f o 3", the centre in metres (for a cone: the centre of its bounding cylinder). `rotation` is
    "f o 4", unit quaternions (w, x, y, z) from the object's frame to the world's; the object's z axis is its symmetry
    axis, and points up when it stands (a cone's apex is at +z). `rope` is the fixed point, "3" in metres, that
    objects[0] hangs from when it swings, else None. `fps` is frames per second.
    """

    position: NDArray[np.float32]
    rotation: NDArray[np.float32]
    rope: NDArray[np.float32] | None
    fps: float
