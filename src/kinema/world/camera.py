"""Where the camera of a clip stands at each frame, and where a point of the world falls in the picture."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinema.world.scene import CameraMove, Scene

FOV_DEG = 35.0
"""Field of view over the shorter side of the picture."""

SUBJECT_Z = 0.2
"""Height of the point that the camera turns about, in view heights; it falls below the middle of the picture."""

LIFT_DEG = 7.0
"""How far the lens is raised from that point, so that the horizon and the space above the subject are seen."""

ORBIT_DEG = 36.0
PAN_DEG = 11.0
TILT_DEG = 8.0
DOLLY_IN = (1.18, 0.885)
DOLLY_OUT = (0.9, 1.17)
DISTANCE: dict[CameraMove, float] = {"fixed": 1.0, "pan": 1.12, "orbit": 1.08, "dolly": 1.0, "tilt": 1.08}
"""Distance of each move relative to the one that shows exactly `scene.view_height`: turning needs some margin."""


@dataclass(frozen=True)
class CameraPath:
    """Where the camera stands and looks at each frame.

    `eye` and `target` are "f 3" in metres, `up` is the world's "3"; `fov_deg` spans the shorter side of the picture.
    """

    eye: NDArray[np.float64]
    target: NDArray[np.float64]
    up: NDArray[np.float64]
    fov_deg: float

    @property
    def is_still(self) -> bool:
        """Whether the camera never moves."""
        return bool((self.eye == self.eye[:1]).all() and (self.target == self.target[:1]).all())

    def basis(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Unit vectors to the right of the picture, to its top and into it, "f 3" each."""
        forward = self.target - self.eye
        forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
        right = np.cross(forward, self.up)
        right /= np.linalg.norm(right, axis=-1, keepdims=True)
        return right, np.cross(right, forward), forward

    def half_extent(self, aspect: float) -> tuple[float, float]:
        """Half width and half height of the picture at distance 1; `aspect` is width over height."""
        half = math.tan(math.radians(self.fov_deg) / 2.0)
        return (half * aspect, half) if aspect >= 1.0 else (half, half / aspect)


def camera_path(scene: Scene, num_frames: int, fps: float) -> CameraPath:
    """Place the camera for each frame of a scene's clip; moves are eased over `scene.seconds`."""
    progress = np.clip(np.arange(num_frames) / fps / scene.seconds, 0.0, 1.0)
    eased = progress * progress * (3.0 - 2.0 * progress)
    sweep = eased - 0.5
    camera = scene.camera
    zero = np.zeros(num_frames)
    sign = -1.0 if camera.direction in ("left", "down") else 1.0
    yaw = np.radians(sign * PAN_DEG) * sweep if camera.move == "pan" else zero
    pitch = np.radians(sign * TILT_DEG) * sweep if camera.move == "tilt" else zero
    turn = np.radians(sign * ORBIT_DEG) * sweep if camera.move == "orbit" else zero
    factor = zero + DISTANCE[camera.move]
    if camera.move == "dolly":
        start, end = DOLLY_IN if camera.direction == "in" else DOLLY_OUT
        factor = start * (end / start) ** eased

    distance = factor * scene.view_height / 2.0 / math.tan(math.radians(FOV_DEG) / 2.0)
    subject = np.array([0.0, 0.0, SUBJECT_Z * scene.view_height])
    azimuth = math.radians(camera.azimuth_deg) + turn
    elevation = math.radians(camera.elevation_deg)
    back = np.stack(
        [np.sin(azimuth) * math.cos(elevation), -np.cos(azimuth) * math.cos(elevation), zero + math.sin(elevation)], -1
    )
    eye = subject + distance[:, None] * back

    heading = -azimuth + yaw
    down = elevation - math.radians(LIFT_DEG) - pitch
    forward = np.stack([np.sin(heading) * np.cos(down), np.cos(heading) * np.cos(down), -np.sin(down)], -1)
    return CameraPath(eye, eye + distance[:, None] * forward, np.array([0.0, 0.0, 1.0]), FOV_DEG)


def project(path: CameraPath, points: NDArray[np.floating], aspect: float) -> NDArray[np.float64]:
    """Find where points of the world fall in the picture.

    `points` is "f p 3" (or "p 3", the same at each frame) in metres; `aspect` is the picture's width over its height.
    The answer is "f p 3": x from 0 (left edge) to 1, y from 0 (top edge) to 1, and the distance along the view axis in
    metres. Points that are not in front of the camera have a distance <= 0 and x, y without meaning.
    """
    offset = np.asarray(points, dtype=np.float64) - path.eye[:, None, :]
    right, up, forward = (np.einsum("fpi,fi->fp", offset, axis) for axis in path.basis())
    half_width, half_height = path.half_extent(aspect)
    safe = np.where(np.abs(forward) < 1e-6, 1e-6, forward)
    x = 0.5 + 0.5 * right / (safe * half_width)
    y = 0.5 - 0.5 * up / (safe * half_height)
    return np.stack([x, y, forward], -1)
