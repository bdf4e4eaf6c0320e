"""Read a clip back: its objects, what they do and where, the camera, the light, without any learned weights.

Everything that is used is known of the demo world as such (its palette, its solids, its camera moves), nothing of the
clip but its pixels. Objects are found by hue once the light is taken out (segment, blobs), the camera's move is the
one under which the background fits itself (egomotion), shapes and sizes are those whose outlines fit (outline,
silhouette, recognise), and actions follow from tracks in the world and from changes inside the outlines (place,
action, turning).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from kinema.world.action import Motion, read_motion
from kinema.world.alike import part_alike
from kinema.world.blobs import Blob, clean_labels, exchange, find_blobs, follow_mask
from kinema.world.camera import CameraPath
from kinema.world.daylight import Daylight
from kinema.world.egomotion import Egomotion, estimate_egomotion
from kinema.world.facts import Facts, ObjectFacts, Relation, Side
from kinema.world.material import choose_materials, material_costs
from kinema.world.outline import DIRECTIONS, Outlines, measure_outlines
from kinema.world.place import LEAST_KNOWN, LEAST_WHOLE, Views, on_plane, rays_through, stillness, view_object
from kinema.world.recognise import NOT_ONE, Fit, choose_looks, fit_solids, lanes_of
from kinema.world.scene import (
    ACTION_SHAPES,
    COLOURS,
    VIEW_HEIGHT_M,
    Action,
    CameraDirection,
    CameraMove,
    Colour,
    Direction,
    Floor,
    Light,
    Material,
    Shape,
    Size,
)
from kinema.world.segment import Segmentation, segment
from kinema.world.silhouette import Poses, rolling_poses, tumbling_poses, upright_poses
from kinema.world.turning import turning

Floats = NDArray[np.float64]

WORKING_PX = 64
"""Larger videos are reduced until their shorter side has this many pixels."""

LEAST_PX = 24
"""Smaller videos show nothing that could be read."""

MOVES_PX, ROUGHLY_PX = 1.5, 3.0
"""An object that cannot be explained as standing still to this error moves; the second is for one seen only in part."""

BYSTANDER = 0.2
"""What a bystander that seems to move counts against a camera move, as a share of the background's mismatch."""

COVERED = 2
"""Frames in which something must cover an object that is behind it."""

SAME_LANE = 0.05
"""Difference in height, in view heights, below which two that move are in one lane, where none can pass the other."""

SPINS = 0.055
"""Change of the surface from frame to frame above which an object that keeps its place spins."""

CLEARLY = 0.6
"""How much better, at least, objects fit once a patch is cut in two that shows two."""

LEAN_DEG = (-12.0, -6.0, 0.0, 6.0, 12.0)
"""How far an object leans while it swings."""


@dataclass(frozen=True, kw_only=True)
class SeenObject:
    """One object as it is seen.

    `track` is its middle and `extent` its width and height at each frame, "f 2" in picture heights, NaN where it is
    hidden. `lane` is how far behind the subject's lane it stands, in view heights, and `misfit` how badly the best
    solid fits its outline (about 1 when it fits).
    """

    shape: Shape
    colour: Colour
    size: Size
    material: Material | None
    track: Floats
    extent: Floats
    lane: float
    misfit: float


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a clip shows; objects[0] acts, the others are in the order of their size in the picture."""

    objects: tuple[SeenObject, ...]
    relations: tuple[Relation, ...]
    action: Action | None
    direction: Direction | None
    camera: CameraMove
    camera_direction: CameraDirection | None
    light: Light
    floor: Floor

    @property
    def count(self) -> int:
        """Number of objects."""
        return len(self.objects)

    @property
    def facts(self) -> Facts:
        """The same as facts, to be compared with those of a scene or of a caption."""
        return Facts(
            objects=tuple(
                ObjectFacts(shape=thing.shape, colour=thing.colour, size=thing.size, material=thing.material)
                for thing in self.objects
            ),
            count=self.count,
            relations=self.relations,
            action=self.action,
            direction=self.direction,
            floor=self.floor,
            light=self.light,
            camera=self.camera,
            camera_direction=self.camera_direction,
        )


@dataclass(frozen=True)
class _Sight:
    """One object between segmentation and recognition."""

    blob: Blob
    outlines: Outlines
    middle: Floats
    track: Floats
    moves: bool
    is_behind: bool


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
    camera = _choose_camera(estimate_egomotion(seen.luma, background), blobs, (frames.shape[1], frames.shape[2]))
    if parted := _part(blobs, seen, camera.path, overlapping):
        sights = _sights(parted, frames, camera.path, is_parted=True)
        return _observe(sights, _motion(sights, seen), camera, seen, frames)[0], frozenset()
    sights = _sights(blobs, frames, camera.path)
    if passing := _passing(sights):
        first, second, frame = passing
        blobs = [sight.blob for sight in sights]
        blobs[first], blobs[second] = exchange(blobs[first], blobs[second], frame)
        sights = _sights(blobs, frames, camera.path)
    return _observe(sights, _motion(sights, seen), camera, seen, frames)


def _motion(sights: Sequence[_Sight], seen: Segmentation) -> Motion | None:
    movers = [index for index, sight in enumerate(sights) if sight.moves]
    return read_motion([sight.track for sight in sights], movers) or _in_place(sights, seen)


def _reduce(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average pixels until the shorter side has WORKING_PX, if it has clearly more."""
    height, width = frames.shape[1:3]
    shorter = min(height, width)
    if shorter <= 1.25 * WORKING_PX:
        return frames
    size = [round(side * WORKING_PX / shorter) for side in (height, width)]
    small = functional.interpolate(torch.from_numpy(frames).movedim(-1, 1).float(), size=size, mode="area")
    return small.round().to(torch.uint8).movedim(1, -1).numpy()


def _choose_camera(rivals: Sequence[Egomotion], blobs: Sequence[Blob], size_px: tuple[int, int]) -> Egomotion:
    """Prefer, of camera moves that fit the background about equally, the one under which the bystanders stand still."""
    lanes = lanes_of(VIEW_HEIGHT_M[min(max(len(blobs), 1), 4) - 1])

    def cost(camera: Egomotion) -> float:
        moved = sorted(_rough_stillness(blob, lanes, camera.path, size_px) for blob in blobs)[:-1]
        return camera.mismatch * (1.0 + BYSTANDER * sum(min(error / ROUGHLY_PX, 1.0) for error in moved))

    return min(rivals, key=cost) if len(rivals) > 1 and len(blobs) > 1 else rivals[0]


def _sights(
    blobs: Sequence[Blob], frames: NDArray[np.uint8], path: CameraPath, *, is_parted: bool = False
) -> list[_Sight]:
    """Place each object in the world and say whether it moves.

    Of parted ones only the first may, which is in front of the others, so that its patch is whole.
    """
    size_px = (frames.shape[1], frames.shape[2])
    lanes = lanes_of(VIEW_HEIGHT_M[min(max(len(blobs), 1), 4) - 1])
    # What moves does so in the subject's lane, nearest to the camera; of what stands, the lowest in the picture is.
    roughly = [_rough_stillness(blob, lanes, path, size_px) for blob in blobs]
    lowest = [float(np.nanmedian(blob.box[:, 3])) if blob.area.any() else 0.0 for blob in blobs]
    nearness = [size_px[0] + error if error > ROUGHLY_PX else low for error, low in zip(roughly, lowest, strict=True)]
    if is_parted:
        nearness[0] = max(nearness) + 1.0
    sights = []
    for index, (blob, outlines) in enumerate(zip(blobs, measure_outlines(blobs, nearness, frames), strict=True)):
        views = view_object(blob, outlines)
        is_sure = int(views.is_known.all(axis=1).sum()) >= LEAST_KNOWN
        if is_parted:
            moves = index == 0 and _rough_stillness(blob, lanes[:1], path, size_px) > MOVES_PX
        else:
            moves = stillness(path, views, lanes, size_px).residual_px > (MOVES_PX if is_sure else ROUGHLY_PX)
        track = on_plane(path, rays_through(path, views.middle, size_px), 1, 0.0)[:, [0, 2]]
        is_behind = int(outlines.is_covered.sum()) >= COVERED and [one.colour for one in blobs].count(blob.colour) == 1
        sights.append(_Sight(blob, outlines, views.whole, track, moves, is_behind))
    return sights


def _part(blobs: list[Blob], seen: Segmentation, path: CameraPath, overlapping: frozenset[Colour]) -> list[Blob]:
    """Cut objects apart by what is known of scenes in which all are alike; none if these are not, or do not overlap."""
    colours = {blob.colour for blob in blobs}
    if len(colours) != 1 or not (_overlap(blobs) or colours & overlapping):
        return []
    colour = blobs[0].colour
    mask = clean_labels(seen.label, seen.is_pure, seen.is_vivid) == COLOURS.index(colour)
    return [follow_mask(one, colour) for one in part_alike(mask, path) or []]


def _overlap(blobs: Sequence[Blob]) -> bool:
    """Whether any frame shows one of several objects close to another, or not at all."""
    near = [ndimage.binary_dilation(blob.mask, np.ones((1, 3, 3), dtype=bool)) for blob in blobs]
    return len(blobs) > 1 and (
        any(not blob.mask.any(axis=(1, 2)).all() for blob in blobs)
        or any((first & second).any() for first, second in itertools.combinations(near, 2))
    )


def _passing(sights: Sequence[_Sight]) -> tuple[int, int, int] | None:
    """Find two like objects that seem to pass through each other, and from which frame: solids in one lane cannot.

    What happened is that one hit the other, which went on in its stead.
    """
    for first, second in itertools.combinations(range(len(sights)), 2):
        mine, other = sights[first], sights[second]
        if not (mine.moves and other.moves) or mine.blob.colour != other.blob.colour:
            continue
        apart = mine.track - other.track
        known = np.flatnonzero(np.isfinite(apart).all(axis=1))
        if not len(known) or float(np.median(np.abs(apart[known, 1]))) > SAME_LANE:
            continue
        side = apart[known, 0] * np.sign(apart[known[0], 0])
        if side[-1] < 0:
            return first, second, int(known[int(np.flatnonzero(side > 0).max(initial=-1)) + 1])
    return None


def _rough_stillness(blob: Blob, lanes: tuple[float, ...], path: CameraPath, size_px: tuple[int, int]) -> float:
    """How far an object's patch, which others may cover, is from standing still."""
    seen = np.isfinite(blob.centroid)
    edges = np.full((len(seen), 4), np.nan)
    is_known = seen & ~blob.is_cut[:, None]
    views = Views(blob.centroid, is_known, edges, np.isfinite(blob.centroid[:, 0]))
    return stillness(path, views, lanes, size_px).residual_px


def _in_place(sights: Sequence[_Sight], seen: Segmentation) -> Motion | None:
    """Tell rest from spin, for a clip in which nothing changes place."""
    if not sights:
        return None
    change = []
    for sight in sights:
        value = turning(sight.blob, sight.middle, seen.luma)
        change.append(turning(sight.blob, sight.blob.centroid, seen.luma) if np.isnan(value) else value)
    actor = int(np.argmax(np.nan_to_num(change)))
    return Motion("spin" if np.nan_to_num(change)[actor] > SPINS else "rest", None, actor)


def _observe(
    sights: list[_Sight], motion: Motion | None, camera: Egomotion, seen: Segmentation, frames: NDArray[np.uint8]
) -> tuple[Observation, frozenset[Colour]]:
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
        relations=_relations(objects),
        action=_possible(action, looks[0][0]) if looks else action,
        direction=motion.direction if motion else None,
        camera=camera.move,
        camera_direction=camera.direction,
        light=seen.daylight.light,
        floor=seen.daylight.floor,
    )
    return observation, crowded


def _fit(sight: _Sight, poses: Poses, path: CameraPath, size_px: tuple[int, int], view: float) -> Fit:
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
    sight: _Sight, direction: Direction | None, path: CameraPath, size_px: tuple[int, int], view: float
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


def _is_two(sight: _Sight, fit: Fit) -> bool:
    """Whether a patch is seen whole and still can be no one solid."""
    return fit.least > NOT_ONE and int(sight.outlines.is_whole.sum()) >= LEAST_WHOLE


def _materials(
    sights: Sequence[_Sight],
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
    sight: _Sight, fit: Fit, look: tuple[Shape, Size], material: Material | None, size_px: tuple[int, int]
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


def _relations(objects: Sequence[SeenObject]) -> tuple[Relation, ...]:
    """Find what is left or right of what in every frame that shows both, and what is in front or behind."""
    found = []
    for first, mine in enumerate(objects):
        for second, other in enumerate(objects):
            if first == second:
                continue
            apart = mine.track[:, 0] - other.track[:, 0]
            apart = apart[np.isfinite(apart)]
            sides: list[Side] = []
            if len(apart) and (apart < 0).all():
                sides.append("left of")
            if len(apart) and (apart > 0).all():
                sides.append("right of")
            if mine.lane < other.lane:
                sides.append("in front of")
            if mine.lane > other.lane:
                sides.append("behind")
            found += [Relation(first, side, second) for side in sides]
    return tuple(found)
