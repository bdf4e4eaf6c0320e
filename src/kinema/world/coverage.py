"""How much of each part of the picture each object fills: the truth about where things are, without their looks."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from kinema.world.body import bodies_of
from kinema.world.camera import camera_path
from kinema.world.scene import Scene
from kinema.world.trace import trace
from kinema.world.trajectory import Trajectory
from kinema.world.view import View

RAYS = 4
"""Rays along each side of a cell."""


@torch.no_grad()
def coverage(
    scene: Scene, trajectory: Trajectory, num_frames: int, rows: int, columns: int, aspect: float | None = None
) -> Float[Tensor, "o f y x"]:
    """Give the share of each cell of a grid over the picture that shows each object of the scene, in [0, 1].

    What another object hides is not seen. `aspect` is the picture's width over its height, that of the grid unless
    given.
    """
    device = torch.device("cpu")
    path = camera_path(scene, num_frames, trajectory.fps)
    view = View.of(path, rows, columns, device, aspect)
    bodies = bodies_of(scene, trajectory, num_frames, device)[: len(scene.objects)]
    size = (num_frames, rows, columns, RAYS * RAYS)
    depth = torch.full((math.prod(size),), math.inf)
    nearest = torch.full((math.prod(size),), -1, dtype=torch.int8)
    for number, body in enumerate(bodies):
        hit = trace(view, body, RAYS, num_frames)
        if hit is None:
            continue
        index, near, *_ = hit
        is_front = near < depth[index]
        index = index[is_front]
        depth[index], nearest[index] = near[is_front], number
    nearest = nearest.view(size)
    return torch.stack([(nearest == number).float().mean(-1) for number in range(len(bodies))])
