"""Small scenes with hand-made poses, for tests of the camera and the renderer."""

from typing import Any

import numpy as np

from kinema.world.scene import Camera, Object, Scene
from kinema.world.trajectory import Trajectory

STILL = Camera(move="fixed", direction=None, elevation_deg=18.0, azimuth_deg=0.0)


def one_object(shape: str = "ball", colour: str = "red", **changes: Any) -> Scene:
    """A scene with one object in the middle, under a clear noon unless changed."""
    thing = Object(
        shape=shape,  # type: ignore[arg-type]
        colour=colour,  # type: ignore[arg-type]
        size=changes.pop("size", "large"),
        material=changes.pop("material", "matte"),
        x=0.0,
        y=0.0,
        yaw_deg=0.0,
    )
    values: dict[str, Any] = {
        "seed": 3,
        "seconds": 2.0,
        "objects": (thing,),
        "action": "rest",
        "direction": None,
        "floor": "checker",
        "light": "noon",
        "sun_azimuth_deg": 40.0,
        "cloudiness": 0.2,
        "camera": STILL,
    }
    return Scene(**{**values, **changes})


def standing(scene: Scene, num_frames: int, quaternion: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)) -> Trajectory:
    """Every object stands where the scene puts it, turned by a quaternion (w, x, y, z)."""
    position = np.array([[(thing.x, thing.y, thing.height / 2.0) for thing in scene.objects]], dtype=np.float32)
    rotation = np.array(quaternion, dtype=np.float32) / np.linalg.norm(quaternion)
    shape = (num_frames, len(scene.objects))
    return Trajectory(
        np.repeat(position, num_frames, 0), np.broadcast_to(rotation, (*shape, 4)).astype(np.float32), None, 8.0
    )


def absent(scene: Scene, num_frames: int) -> Trajectory:
    """Every object is far outside the picture, which then shows floor and sky alone."""
    trajectory = standing(scene, num_frames)
    return Trajectory(trajectory.position + np.float32(500.0), trajectory.rotation, None, 8.0)
