"""From objects that were placed to what they are and do: shapes, sizes and materials that fit, and one action."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinema.world.action import Motion
from kinema.world.camera import CameraPath
from kinema.world.daylight import Daylight
from kinema.world.egomotion import Egomotion
from kinema.world.material import choose_materials, material_costs
from kinema.world.observation import Observation, SeenObject, relations_of
from kinema.world.outline import DIRECTIONS
from kinema.world.place import LEAST_WHOLE
from kinema.world.recognise import NOT_ONE, Fit, choose_looks, fit_solids, lanes_of
from kinema.world.scene import ACTION_SHAPES, VIEW_HEIGHT_M, Action, Colour, Direction, Material, Shape, Size
from kinema.world.segment import Segmentation
from kinema.world.sight import Sight
from kinema.world.silhouette import Poses, rolling_poses, tumbling_poses, upright_poses

LEAN_DEG = (-12.0, -6.0, 0.0, 6.0, 12.0)
"""How far an object leans while it swings."""


def identify(
    sights: list[Sight], motion: Motion | None, camera: Egomotion, seen: Segmentation, frames: NDArray[np.uint8]
) -> tuple[Observation, frozenset[Colour]]:
    """Say what the objects are, first the one that acts, and name the colours of patches that no one solid explains."""
    size_px = (frames.shape[1], frames.shape[2])
    actor = motion.actor if motion else 0
    order = sorted(range(len(sights)), key=lambda index: (index != actor, -float(sights[index].blob.area.sum())))
    sights = [sights[index] for index in order]
    view = VIEW_HEIGHT_M[min(max(len(sights), 1), 4) - 1]
    action = motion.action if motion else None
    if action == "collide":
        view = VIEW_HEIGHT_M[-1]
    fits = []
    for index, sight in enumerate(sights):
        if index == 0 and action == "slide":
            action, fit = _travel(sight, motion.direction if motion else None, camera.path, size_px, view)
        else:
            poses = _upright(action if index == 0 else None)
            fit = _fit(sight, poses, camera.path, size_px, view)
        fits.append(fit)
    looks = choose_looks(fits, [sight.blob.colour for sight in sights])
    materials = _materials(sights, fits, looks, camera.path, view, seen.daylight, frames)
    objects = [
        _describe(sight, fit, look, material, size_px)
        for sight, fit, look, material in zip(sights, fits, looks, materials, strict=True)
    ]
    crowded = frozenset(sight.blob.colour for sight, fit in zip(sights, fits, strict=True) if _is_two(sight, fit))
    observation = Observation(
        objects=tuple(objects),
        relations=relations_of(objects),
        action=_possible(action, looks[0][0]) if looks else action,
        direction=motion.direction if motion else None,
        camera=camera.move,
        camera_direction=camera.direction,
        light=seen.daylight.light,
        floor=seen.daylight.floor,
    )
    return observation, crowded


def _fit(sight: Sight, poses: Poses, path: CameraPath, size_px: tuple[int, int], view: float) -> Fit:
    near, far = lanes_of(view)
    # What moves does so in the nearer lane; what something of another colour covers stands in the farther one.
    lanes = (near, near) if sight.moves else (far, far) if sight.is_behind else (near, far)
    return fit_solids(
        sight.outlines,
        sight.middle,
        poses,
        path,
        size_px,
        view_height_m=view,
        lanes=lanes,
        is_grounded=not sight.moves,
    )


def _possible(action: Action | None, shape: Shape) -> Action | None:
    """Give the action that a shape known from its like ones can do, for one that its own outlines seem to do."""
    if action is None or shape in ACTION_SHAPES[action]:
        return action
    return "roll" if shape in ACTION_SHAPES["roll"] else "slide"


def _upright(action: Action | None) -> Poses:
    """How an object that does this, or nothing, may stand."""
    if action == "swing":
        return upright_poses(tilt_deg=LEAN_DEG, is_steady=False)
    return upright_poses(is_steady=action != "spin")


def _travel(
    sight: Sight, direction: Direction | None, path: CameraPath, size_px: tuple[int, int], view: float
) -> tuple[Action, Fit]:
    """Tell sliding, rolling and tumbling apart by the poses that explain the outlines."""
    slide, roll, tumble = (
        _fit(sight, poses, path, size_px, view)
        for poses in (upright_poses(ACTION_SHAPES["slide"]), rolling_poses(), tumbling_poses(direction))
    )
    if roll.shape == "ball" and roll.least <= min(slide.least, tumble.least) + 0.3:
        return "roll", roll
    if slide.least <= min(roll.least, tumble.least) + 0.3:
        return "slide", slide
    return ("roll", roll) if roll.least < tumble.least else ("tumble", tumble)


def _is_two(sight: Sight, fit: Fit) -> bool:
    """Whether a patch is seen whole and still can be no one solid."""
    return fit.least > NOT_ONE and int(sight.outlines.is_whole.sum()) >= LEAST_WHOLE


def _materials(
    sights: Sequence[Sight],
    fits: Sequence[Fit],
    looks: Sequence[tuple[Shape, Size]],
    path: CameraPath,
    view: float,
    day: Daylight,
    frames: NDArray[np.uint8],
) -> list[Material | None]:
    costs = [
        material_costs(frames, sight.blob.mask, (*look, sight.blob.colour), fit.stands(*look), path, view, day)
        for sight, fit, look in zip(sights, fits, looks, strict=True)
    ]
    return choose_materials(costs, [sight.blob.colour for sight in sights])


def _describe(
    sight: Sight, fit: Fit, look: tuple[Shape, Size], material: Material | None, size_px: tuple[int, int]
) -> SeenObject:
    quarter = DIRECTIONS // 4
    reach = sight.outlines.reach
    extent = np.stack([reach[:, 0] + reach[:, 2 * quarter], reach[:, quarter] + reach[:, 3 * quarter]], axis=-1)
    return SeenObject(
        shape=look[0],
        colour=sight.blob.colour,
        size=look[1],
        material=material,
        track=sight.blob.centroid / size_px[0],
        extent=extent / size_px[0],
        lane=0.0 if sight.moves else fit.lane,
        misfit=fit.least,
    )
