"""Which rays of a picture meet a body, and where."""

import torch
from torch import Tensor

from kinema.world.body import Body, to_local, window_of
from kinema.world.shadow import local_offset
from kinema.world.solids import Vector, intersect
from kinema.world.view import View


def trace(view: View, body: Body, side: int, num_frames: int) -> tuple[Tensor, Tensor, Vector, Tensor] | None:
    """Find the samples, side x side per pixel, that a body may show in: None where it is out of the picture.

    Gives their numbers in the flattened "f h w sample" pictures, their depths in units of their ray's length, the rays
    in the body's frame, and the frames.
    """
    window = window_of(view, body.corners(), 0.0, num_frames)
    if window is None:
        return None
    device = window.rows.device
    cell = torch.arange(side, device=device)
    # A rotated grid: no two rays of a pixel share a row or a column.
    x = ((cell[:, None] + (cell + 0.5) / side) / side).flatten()
    y = ((cell + (side - 0.5 - cell[:, None]) / side) / side).flatten()
    u = view.across(window.columns[..., None] + x)
    v = view.upward(window.rows[..., None] + y)
    turned = tuple(to_local(body.axes, axis) for axis in (view.forward, view.right, view.up))
    forward, right, up = (tuple(part[..., None] for part in axis) for axis in turned)
    dx, dy, dz = ((forward[i] + v * up[i]) + u * right[i] for i in range(3))
    start = local_offset(body.centre, body.axes, view.eye)
    origin = (start[0][..., None], start[1][..., None], start[2][..., None])
    near = intersect(body.shape, body.radius, body.half, origin, (dx, dy, dz)).flatten()
    hit = near.isfinite().nonzero().flatten()
    samples = side * side
    rows, columns = window.rows.shape[1], window.columns.shape[2]
    pixel = hit // samples
    frame = pixel // (rows * columns)
    index = window.index(view).flatten()[pixel] * samples + (hit - pixel * samples)
    ray = (dx.flatten()[hit], dy.flatten()[hit], dz.flatten()[hit])
    return index, near[hit], ray, frame
