"""What is to be done to videos that are here: the engine's edits, whose files are named by their place in the store."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from kinema.generate.times import new_frames
from kinema.serve.capabilities import Capabilities
from kinema.serve.faults import Fault
from kinema.serve.job import Job, Result
from kinema.serve.schema import Wish, WishBlend, WishedCut, WishJoin, WishLoop, WishReplace, WishVary
from kinema.spec import Blend, Cut, Edit, Extend, Join, Loop, Remix, Replace, Vary

FindVideo = Callable[[Any], Job]
"""From what a request calls a video to its job. Raises Fault and JobNotFound."""
KeepPicture = Callable[[Any, str], str]
"""(picture, name of the field) -> its place in the store. Raises Fault, MediaError and JobNotFound."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """An edit, and the lengths that come of it, in seconds."""

    edit: Edit
    total_s: float
    """Of the video that comes out."""
    new_s: float
    """Of what a model makes of it; this counts against quotas."""


def result_of(job: Job) -> Result:
    """What a finished video is. Raises Fault for one that is not finished."""
    if job.result is None or job.status != "completed":
        message = f"{job.id} is {job.status}; wait until it is completed"
        raise Fault(400, message, code="video_not_ready", param="video")
    return job.result


def video_of(job: Job) -> str:
    """Where a finished video is in the store. Raises Fault."""
    return result_of(job).artefacts["video"].name


def fps_of(job: Job) -> float:
    """Frames per second of a finished video. Raises Fault."""
    fps = result_of(job).spec.fps
    assert fps is not None, "a result's request is resolved"
    return fps


def plan_extension(job: Job, total_s: float, direction: Literal["forward", "backward"], model: Capabilities) -> Planned:
    """Make a finished video so long, in whole latent frames. Raises Fault, which names the nearest lengths."""
    before_s, fps, step = result_of(job).seconds, fps_of(job), model.stride.time
    added = round((total_s - before_s) * fps)
    if added % step or abs(added / fps - (total_s - before_s)) > 0.0005 + 1e-9:
        below = int((total_s - before_s) * fps / step) * step
        lengths = [before_s + frames / fps for frames in (below, below + step) if frames]
        raise Fault(
            400,
            f"seconds={total_s:g} does not fit: the video lasts {before_s:g} s and grows by multiples of {step} "
            f"frames; use {' or '.join(f'{length:.4g}' for length in lengths)}",
            code="invalid_value",
            param="seconds",
        )
    edit = Extend(video=video_of(job), seconds=added / fps, direction=direction)
    return Planned(edit=edit, total_s=total_s, new_s=added / fps)


def plan_edit(wish: Wish, job: Job, model: Capabilities | None, find: FindVideo, keep: KeepPicture) -> Planned:
    """Plan what is wished to be done to a finished video. Raises Fault, SpecError, and what `find` and `keep` raise."""
    video, total_s = video_of(job), result_of(job).seconds
    if isinstance(wish, WishVary):
        return Planned(edit=Vary(video=video, strength=wish.strength), total_s=total_s, new_s=total_s)
    if isinstance(wish, WishReplace):
        mask = None if wish.mask is None else keep(wish.mask, "edit.mask")
        box = None if wish.box is None else (wish.box[0], wish.box[1], wish.box[2], wish.box[3])
        edit = Replace(video=video, start=wish.start, end=wish.end, box=box, mask=mask, strength=wish.strength)
        span_s = (total_s if wish.end is None else min(wish.end, total_s)) - (wish.start or 0.0)
        return Planned(edit=edit, total_s=total_s, new_s=max(0.0, span_s))
    if isinstance(wish, WishLoop):
        _require_length("loop", wish.seconds, fps_of(job), model)
        return Planned(edit=Loop(video=video, seconds=wish.seconds), total_s=total_s + wish.seconds, new_s=wish.seconds)
    if isinstance(wish, WishBlend):
        _require_length("blend", wish.seconds, fps_of(job), model)
        other = find(wish.other)
        blend = Blend(video=video, other=video_of(other), seconds=wish.seconds, strength=wish.strength)
        both_s = total_s + result_of(other).seconds + 1 / fps_of(job) - wish.seconds
        return Planned(edit=blend, total_s=both_s, new_s=wish.seconds)
    assert not isinstance(wish, WishJoin), "parts are joined by `plan_join`"
    return Planned(edit=Remix(video=video, strength=wish.strength), total_s=total_s, new_s=total_s)


def plan_join(cuts: list[WishedCut], jobs: list[Job]) -> Planned:
    """Plan to play parts of finished videos one after the other. Raises Fault and SpecError."""
    parts, frames = [], 0.0
    for cut, job in zip(cuts, jobs, strict=True):
        fps = fps_of(job)
        parts.append(Cut(video=video_of(job), start=cut.start, end=cut.end))
        end_s = result_of(job).seconds + 1 / fps if cut.end is None else cut.end
        frames += (end_s - (cut.start or 0.0)) * fps
    fps = fps_of(jobs[0])
    return Planned(edit=Join(cuts=tuple(parts)), total_s=(frames - 1) / fps, new_s=0.0)


def _require_length(kind: str, seconds: float, fps: float, model: Capabilities | None) -> None:
    if model is not None:
        new_frames(seconds, fps, model.stride.time, kind)
