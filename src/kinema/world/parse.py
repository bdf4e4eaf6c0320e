"""Read a clip back: its objects, what they do and where, the camera, the light, without any learned weights.

Everything that is used is known of the demo world as such (its palette, its solids, its camera moves), nothing of the
clip but its pixels. Objects are found by hue once the light is taken out (segment, blobs), the camera's move is the
one under which the background fits itself (egomotion), objects are placed in the world (sight, place), shapes and
sizes are those whose outlines fit (outline, silhouette, recognise, identify), and actions follow from tracks and from
changes inside the outlines (action, turning). What was read is an Observation.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from kinema.world.action import Motion, read_motion
from kinema.world.blobs import exchange, find_blobs
from kinema.world.egomotion import estimate_egomotion
from kinema.world.identify import identify
from kinema.world.observation import Observation
from kinema.world.scene import Colour
from kinema.world.segment import Segmentation, segment
from kinema.world.sight import Sight, choose_camera, find_passing, part_blobs, place_sights
from kinema.world.turning import turning

WORKING_PX = 64
"""Larger videos are reduced until their shorter side has this many pixels."""

LEAST_PX = 24
"""Smaller videos show nothing that could be read."""

SPINS = 0.055
"""Change of the surface from frame to frame above which an object that keeps its place spins."""

CLEARLY = 0.6
"""How much better, at least, objects fit once a patch is cut in two that shows two."""


def parse(frames: NDArray[np.uint8], fps: float) -> Observation:  # noqa: ARG001 - moves last the clip at any rate
    """Say what a clip "f h w 3" (RGB) shows, as far as it shows anything: a blurred one gives few objects or none.

    It takes camera moves to last for the whole clip. It never fails on what a video may hold; frames of fewer than 24
    pixels on a side, and clips without frames, show nothing.
    """
    if len(frames) == 0 or min(frames.shape[1:3]) < LEAST_PX:
        return Observation(
            objects=(),
            relations=(),
            action=None,
            direction=None,
            camera="fixed",
            camera_direction=None,
            light="overcast",
            floor="tiles",
        )
    frames = _reduce(frames)
    seen = segment(frames)
    first, crowded = _read(frames, seen, frozenset())
    if crowded:
        second, _ = _read(frames, seen, crowded)
        if _misfit(second) < CLEARLY * _misfit(first):
            return second
    return first


def _misfit(observation: Observation) -> float:
    return sum(thing.misfit for thing in observation.objects) / max(observation.count, 1)


def _read(
    frames: NDArray[np.uint8], seen: Segmentation, overlapping: frozenset[Colour]
) -> tuple[Observation, frozenset[Colour]]:
    """Read a clip, cutting apart what overlaps in some colours, and name other colours for which that may be needed."""
    blobs = find_blobs(seen.label, seen.is_pure, seen.is_vivid, overlapping)
    background = ~ndimage.binary_dilation(seen.label >= 0, np.ones((1, 5, 5), dtype=bool))
    camera = choose_camera(estimate_egomotion(seen.luma, background), blobs, (frames.shape[1], frames.shape[2]))
    if parted := part_blobs(blobs, seen, camera.path, overlapping):
        sights = place_sights(parted, frames, camera.path, is_parted=True)
        return identify(sights, _motion(sights, seen), camera, seen, frames)[0], frozenset()
    sights = place_sights(blobs, frames, camera.path)
    if passing := find_passing(sights):
        first, second, frame = passing
        blobs = [sight.blob for sight in sights]
        blobs[first], blobs[second] = exchange(blobs[first], blobs[second], frame)
        sights = place_sights(blobs, frames, camera.path)
    return identify(sights, _motion(sights, seen), camera, seen, frames)


def _motion(sights: Sequence[Sight], seen: Segmentation) -> Motion | None:
    movers = [index for index, sight in enumerate(sights) if sight.moves]
    return read_motion([sight.track for sight in sights], movers) or _in_place(sights, seen)


def _in_place(sights: Sequence[Sight], seen: Segmentation) -> Motion | None:
    """Tell rest from spin, for a clip in which nothing changes place."""
    if not sights:
        return None
    change = []
    for sight in sights:
        value = turning(sight.blob, sight.middle, seen.luma)
        change.append(turning(sight.blob, sight.blob.centroid, seen.luma) if np.isnan(value) else value)
    actor = int(np.argmax(np.nan_to_num(change)))
    return Motion("spin" if np.nan_to_num(change)[actor] > SPINS else "rest", None, actor)


def _reduce(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average pixels until the shorter side has WORKING_PX, if it has clearly more."""
    height, width = frames.shape[1:3]
    shorter = min(height, width)
    if shorter <= 1.25 * WORKING_PX:
        return frames
    size = [round(side * WORKING_PX / shorter) for side in (height, width)]
    small = functional.interpolate(torch.from_numpy(frames).movedim(-1, 1).float(), size=size, mode="area")
    return small.round().to(torch.uint8).movedim(1, -1).numpy()
