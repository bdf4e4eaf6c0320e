"""Edits of a video: each becomes frames that are known and a canvas in which the model makes the rest."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from kinema.errors import SpecError
from kinema.generate.canvas import Canvas
from kinema.generate.layout import blended, replaced
from kinema.generate.region import read_region
from kinema.generate.source import Clip, read_clip
from kinema.generate.times import new_frames
from kinema.media import probe
from kinema.model import CausalConfig
from kinema.shapes import Stride
from kinema.spec import Blend, Edit, Extend, Loop, ModelDefaults, Remix, Replace, Vary, VideoSpec

Frames = UInt8[np.ndarray, "f h w 3"]
Fill = Callable[[VideoSpec, Canvas, int], Iterator[Frames]]
"""(request, canvas, first latent frame) -> the canvas's frames, chunk by chunk; what one run of the model makes."""

Source = Remix | Vary | Replace | Extend | Loop | Blend
"""Edits of a video, which brings rate and length."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pass:
    """One run of the model, and the frames of the source that stand around it as they are."""

    before: UInt8[np.ndarray, "before h w 3"]
    canvas: Canvas
    shown: slice
    """Which of the canvas's frames come out."""
    after: UInt8[np.ndarray, "after h w 3"]


def settle(
    spec: VideoSpec,
    defaults: ModelDefaults,
    stride: Stride,
    causal: CausalConfig | None,
    check: Callable[[Canvas], None],
) -> VideoSpec:
    """Fill in what an edit's own files decide, rate and length; both are checked against what is given.

    `frames` becomes the length of the run of the model. `check` refuses what the model cannot make. Raises SpecError
    and MediaError.
    """
    edit = spec.edit
    assert isinstance(edit, Source)
    sized = replace(
        spec,
        width=defaults.width if spec.width is None else spec.width,
        height=defaults.height if spec.height is None else spec.height,
    )
    replace(sized, frames=1).shape.to_latent(stride)  # a side that does not fit is refused before any file is read
    step = make_pass(sized, defaults, stride, causal)
    check(step.canvas)
    fps = probe(edit.video).fps
    if spec.fps is not None and abs(spec.fps - fps) > 1e-3:
        raise SpecError(f"fps={spec.fps:g} does not fit: {edit.video} has {fps:g} frames per second; drop fps")
    frames = len(step.canvas.frames)
    if spec.frames is not None and spec.frames != frames:
        raise SpecError(f"{edit.kind} takes its length from the video; drop frames={spec.frames}")
    return replace(spec, frames=frames, fps=fps)


def make_pass(spec: VideoSpec, defaults: ModelDefaults, stride: Stride, causal: CausalConfig | None) -> Pass:
    """Lay out an edit of a video. `width` and `height` are settled. Raises SpecError and MediaError.

    A model that makes video block by block is shown whole blocks, as many as it looks back on.
    """
    edit = spec.edit
    assert isinstance(edit, Source)
    clip = _clip(spec, stride, edit.video)
    usual = (defaults.frames - 1) // stride.time + 1
    if isinstance(edit, Extend):
        return _extend(edit, clip, stride.time, usual, causal)
    if isinstance(edit, Loop):
        return _loop(edit, clip, stride.time, usual)
    if isinstance(edit, Replace):
        return _replace(edit, spec, clip, stride, usual)
    if isinstance(edit, Blend):
        return _blend(edit, clip, _clip(spec, stride, edit.other), stride.time, usual)
    return _remix(edit, clip, stride.time)


def play(
    spec: VideoSpec, defaults: ModelDefaults, stride: Stride, causal: CausalConfig | None, fill: Fill
) -> Iterator[Frames]:
    """Make what a resolved edit of a video asks for, chunk by chunk; frames around the canvas come as they are."""
    step = make_pass(spec, defaults, stride, causal)
    if len(step.before):
        yield step.before
    first, last, _ = step.shown.indices(len(step.canvas.frames))
    place = 0
    for frames in fill(spec, step.canvas, 0):
        shown = frames[max(0, first - place) : max(0, last - place)]
        place += len(frames)
        if len(shown):
            yield shown
    if len(step.after):
        yield step.after


def _clip(spec: VideoSpec, stride: Stride, path: str) -> Clip:
    return read_clip(path, spec.width or 0, spec.height or 0, stride, spec.fit)


def _nothing(clip: Clip) -> Frames:
    return clip.frames[:0]


def _unknown(clip: Clip, count: int) -> Frames:
    return np.zeros((count, *clip.frames.shape[1:]), np.uint8)


def _spans(*parts: tuple[int, bool]) -> np.ndarray:
    return np.concatenate([np.full((count, 1, 1), made) for count, made in parts])


def _extend(edit: Extend, clip: Clip, time: int, usual: int, causal: CausalConfig | None) -> Pass:
    new = new_frames(edit.seconds, clip.fps, time, edit.kind)
    # As much of the video is shown as makes the usual length with what is new, and no less than two latent frames.
    wanted = max(2, usual - new // time) if causal is None else max(1, (causal.window or usual) - causal.block)
    shown = min(wanted, (len(clip.frames) - 1) // time + 1)
    if causal is not None:
        shown = shown // causal.block * causal.block or shown
    context = (shown - 1) * time + 1
    if edit.direction == "forward":
        frames = np.concatenate([clip.frames[-context:], _unknown(clip, new)])
        canvas = Canvas(frames=frames, is_made=_spans((context, False), (new, True)))
        return Pass(before=clip.frames[:-context], canvas=canvas, shown=slice(None), after=_nothing(clip))
    if len(clip.frames) < time:
        raise SpecError(f"{edit.video} has {len(clip.frames)} frames; to begin before it, give {time} or more")
    known = min(wanted, len(clip.frames) // time) * time
    # One frame more is made than is shown: the first latent frame stands for one alone, the known ones for four each.
    frames = np.concatenate([_unknown(clip, new + 1), clip.frames[:known]])
    canvas = Canvas(frames=frames, is_made=_spans((new + 1, True), (known, False)))
    return Pass(before=_nothing(clip), canvas=canvas, shown=slice(1, None), after=clip.frames[known:])


def _loop(edit: Loop, clip: Clip, time: int, usual: int) -> Pass:
    new = new_frames(edit.seconds, clip.fps, time, edit.kind)
    if len(clip.frames) < 2 * time + 1:
        raise SpecError(
            f"{edit.video} has {len(clip.frames)} frames; a loop leads from its end to its beginning, which takes "
            f"{2 * time + 1} or more"
        )
    each = max(1, (usual - new // time) // 2)
    tail = min(each - 1, (len(clip.frames) - 1) // time) * time + 1
    head = min(each, len(clip.frames) // time) * time
    frames = np.concatenate([clip.frames[-tail:], _unknown(clip, new), clip.frames[:head]])
    canvas = Canvas(frames=frames, is_made=_spans((tail, False), (new, True), (head, False)))
    return Pass(before=clip.frames[:-tail], canvas=canvas, shown=slice(0, tail + new), after=_nothing(clip))


def _remix(edit: Remix | Vary, clip: Clip, time: int) -> Pass:
    count = len(clip.frames)
    if (count - 1) % time:
        below = count - (count - 1) % time
        raise SpecError(
            f"{edit.video} has {count} frames; to make all of it anew it must have a multiple of {time} and one more, "
            f"such as {below} ({below / clip.fps:.4g} s) or {below + time}; cut it with kinema edit --join first"
        )
    canvas = Canvas(frames=clip.frames, is_made=_spans((count, True)), strength=edit.strength, keeps=False)
    return Pass(before=_nothing(clip), canvas=canvas, shown=slice(None), after=_nothing(clip))


def _replace(edit: Replace, spec: VideoSpec, clip: Clip, stride: Stride, usual: int) -> Pass:
    count = len(clip.frames)
    span = replaced(edit, count, clip.fps, stride.time, usual)
    region = read_region(edit, spec, count)
    is_made = np.array(span.made)[:, None, None] & (region[span.first : span.last] if len(region) > 1 else region)
    if not is_made.any():
        raise SpecError(f"{edit.mask} marks nothing in that span; white is made anew")
    canvas = Canvas(frames=clip.frames[span.first : span.last], is_made=is_made, strength=edit.strength)
    return Pass(before=clip.frames[: span.first], canvas=canvas, shown=slice(None), after=clip.frames[span.last :])


def _blend(edit: Blend, clip: Clip, other: Clip, time: int, usual: int) -> Pass:
    if abs(clip.fps - other.fps) > 1e-3:
        raise SpecError(
            f"{edit.video} has {clip.fps:g} frames per second and {edit.other} {other.fps:g}; give two of one rate"
        )
    lead, overlap, tail = blended(edit, (len(clip.frames), len(other.frames)), clip.fps, time, usual)
    end = len(clip.frames) - overlap
    share = (np.arange(1, overlap + 1) / (overlap + 1))[:, None, None, None]
    mixed = (1 - share) * clip.frames[end:] + share * other.frames[:overlap]
    frames = np.concatenate(
        [clip.frames[end - lead : end], mixed.round().astype(np.uint8), other.frames[overlap : overlap + tail]]
    )
    is_made = _spans((lead, False), (overlap, True), (tail, False))
    return Pass(
        before=clip.frames[: end - lead],
        canvas=Canvas(frames=frames, is_made=is_made, strength=edit.strength),
        shown=slice(None),
        after=other.frames[overlap + tail :],
    )


def edit_warnings(edit: Edit | None, spec: VideoSpec, defaults: ModelDefaults) -> Iterator[str]:
    """What a person may want to know of an edit before the work begins."""
    if isinstance(edit, Source) and spec.fps is not None and abs(spec.fps / defaults.fps - 1) > 0.25:
        yield (
            f"{edit.video} plays {spec.fps:g} frames per second and the model was trained at {defaults.fps:g}: what is "
            "made will move at another pace"
        )
