"""What is to be done to videos that are here: the engine's edits, whose files are named by their place in the store."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from kinema.config import to_dict
from kinema.generate.ability import check_edit, check_made
from kinema.generate.layout import blended, replaced
from kinema.generate.times import new_frames
from kinema.serve.capabilities import Capabilities
from kinema.serve.faults import Fault
from kinema.serve.job import Job, made_by
from kinema.serve.schema import Wish, WishBlend, WishedCut, WishJoin, WishLoop, WishReplace, WishVary
from kinema.spec import Blend, Cut, Edit, Extend, Join, KeyFrames, Loop, Remix, Replace, Storyboard, Vary, VideoSpec

FindVideo = Callable[[Any], "Source"]
"""From what a request calls a video to the video. Raises Fault, MediaError and JobNotFound."""
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
    made: tuple[bool, ...] = ()
    """Which frames of its run the model makes, where that decides whether it can."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A finished video that something is to be done to: one made here, or one that came with the request."""

    video: str
    """Its place in the store."""
    seconds: float
    fps: float
    width: int
    height: int
    job: Job | None = None
    """What made it; None for one that came with the request."""

    @property
    def model(self) -> str | None:
        """The model that made it, as it was asked for."""
        return None if self.job is None else self.job.request.get("model", self.job.model)

    @property
    def seed(self) -> int | None:
        """The noise that it was made from."""
        return None if self.job is None else self.job.spec.seed

    @property
    def frames(self) -> int:
        """How many frames it has."""
        return round(self.seconds * self.fps) + 1

    @property
    def spec(self) -> VideoSpec | None:
        """The request that it was made by, resolved."""
        return None if self.job is None or self.job.result is None else self.job.result.spec


def source_of(job: Job) -> Source:
    """A video that was made here. Raises Fault for one that is not finished."""
    if job.result is None or job.status != "completed":
        message = f"{job.id} is {job.status}; wait until it is completed"
        raise Fault(400, message, code="video_not_ready", param="video")
    made = job.result
    assert made.spec.fps is not None, "a result's request is resolved"
    return Source(
        video=made.artefacts["video"].name, seconds=made.seconds, fps=made.spec.fps, width=made.spec.width or 0,
        height=made.spec.height or 0, job=job,
    )  # fmt: skip


def show_edit(edit: Edit | None) -> dict[str, Any] | None:
    """What asks for an edit of a video again, in the fields of the API; what somebody sent is told as null.

    `seconds` of an extension is the length of its new part. The video that is edited is left out.
    """
    if edit is None or isinstance(edit, KeyFrames | Storyboard):
        return None
    fields = {name: value for name, value in to_dict(edit).items() if value is not None and name != "video"}
    for name in ("other", "mask"):
        if name in fields:
            fields[name] = _show_file(fields[name])
    if isinstance(edit, Join):
        fields["cuts"] = [{**_show_cut(cut), "video": _show_file(cut.video)} for cut in edit.cuts]
    return fields


def _show_cut(cut: Cut) -> dict[str, Any]:
    return {name: value for name, value in to_dict(cut).items() if value is not None}


def _show_file(name: str) -> dict[str, str] | None:
    video_id = made_by(name)
    return None if video_id is None else {"id": video_id}


def plan_extension(
    source: Source, total_s: float, direction: Literal["forward", "backward"], model: Capabilities | None
) -> Planned:
    """Make a finished video so long, in whole latent frames. Raises Fault, which names the nearest lengths."""
    before_s, fps, step = source.seconds, source.fps, 1 if model is None else model.stride.time
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
    edit = Extend(video=source.video, seconds=added / fps, direction=direction)
    return Planned(edit=edit, total_s=total_s, new_s=added / fps)


def plan_edit(wish: Wish, source: Source, model: Capabilities | None, find: FindVideo, keep: KeepPicture) -> Planned:
    """Plan what is wished to be done to a finished video. Raises Fault, SpecError, and what `find` and `keep` raise."""
    video, total_s = source.video, source.seconds
    if isinstance(wish, WishVary):
        return Planned(edit=Vary(video=video, strength=wish.strength), total_s=total_s, new_s=total_s)
    if isinstance(wish, WishReplace):
        mask = None if wish.mask is None else keep(wish.mask, "edit.mask")
        box = None if wish.box is None else (wish.box[0], wish.box[1], wish.box[2], wish.box[3])
        edit = Replace(video=video, start=wish.start, end=wish.end, box=box, mask=mask, strength=wish.strength)
        made: tuple[bool, ...] = ()
        if model is not None:
            named = dataclasses.replace(edit, video="the video")  # what its place in the store is tells nobody anything
            made = tuple(replaced(named, source.frames, source.fps, model.stride.time, model.usual).made)
        span_s = (total_s if wish.end is None else min(wish.end, total_s)) - (wish.start or 0.0)
        return Planned(edit=edit, total_s=total_s, new_s=max(0.0, span_s), made=made)
    if isinstance(wish, WishLoop):
        _require_length("loop", wish.seconds, source.fps, model)
        return Planned(edit=Loop(video=video, seconds=wish.seconds), total_s=total_s + wish.seconds, new_s=wish.seconds)
    if isinstance(wish, WishBlend):
        other = find(wish.other)
        blend = Blend(video=video, other=other.video, seconds=wish.seconds, strength=wish.strength)
        made = () if model is None else _blended(blend, source, other, model)
        both_s = total_s + other.seconds + 1 / source.fps - wish.seconds
        return Planned(edit=blend, total_s=both_s, new_s=wish.seconds, made=made)
    assert not isinstance(wish, WishJoin), "parts are joined by `plan_join`"
    return Planned(edit=Remix(video=video, strength=wish.strength), total_s=total_s, new_s=total_s)


def plan_join(cuts: list[WishedCut], sources: list[Source]) -> Planned:
    """Plan to play parts of finished videos one after the other. Raises Fault and SpecError."""
    parts, frames = [], 0.0
    for cut, source in zip(cuts, sources, strict=True):
        parts.append(Cut(video=source.video, start=cut.start, end=cut.end))
        end_s = source.seconds + 1 / source.fps if cut.end is None else cut.end
        frames += (end_s - (cut.start or 0.0)) * source.fps
    return Planned(edit=Join(cuts=tuple(parts)), total_s=(frames - 1) / sources[0].fps, new_s=0.0)


def check_plan(planned: Planned, model: Capabilities) -> None:
    """Refuse what a model cannot make of what is planned. Raises SpecError in the words of the engine."""
    check_edit(model, planned.edit, model.name)
    if planned.made:
        check_made(model, planned.made, model.stride.time, model.name)


def _blended(blend: Blend, source: Source, other: Source, model: Capabilities) -> tuple[bool, ...]:
    counts = (source.frames, other.frames)
    lead, overlap, tail = blended(blend, counts, source.fps, model.stride.time, model.usual)
    return (*[False] * lead, *[True] * overlap, *[False] * tail)


def _require_length(kind: str, seconds: float, fps: float, model: Capabilities | None) -> None:
    if model is not None:
        new_frames(seconds, fps, model.stride.time, kind)
