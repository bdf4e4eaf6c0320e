"""Videos made around given pictures and changing words: key frames, and storyboards."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from kinema.errors import SpecError
from kinema.generate.canvas import Canvas
from kinema.generate.edit import Fill, Frames
from kinema.generate.source import read_still
from kinema.generate.times import card_frames, frame_at
from kinema.shapes import Stride
from kinema.spec import KeyFrames, ModelDefaults, Storyboard, VideoSpec


def holds_pictures(spec: VideoSpec) -> bool:
    """Whether pictures are given at other places than the beginning."""
    return isinstance(spec.edit, KeyFrames) or (spec.edit is None and spec.last_image is not None)


def check_layout(spec: VideoSpec, stride: Stride) -> None:
    """Refuse cards and pictures of a resolved request that do not fit into it. Raises SpecError and MediaError."""
    if isinstance(spec.edit, Storyboard):
        card_frames(spec, stride)
    elif holds_pictures(spec):
        key_frame_canvas(spec, stride)


def key_frame_canvas(spec: VideoSpec, stride: Stride) -> Canvas:
    """Lay out given pictures: the request's own, and those of its key frames. Each holds for its latent frame.

    Raises SpecError for a picture outside of the video, between two frames, or in the latent frame of another one.
    """
    assert spec.frames is not None
    assert spec.fps is not None
    given = {0: spec.image, spec.frames - 1: spec.last_image}
    pictures = {place: path for place, path in given.items() if path is not None}
    for frame in spec.edit.frames if isinstance(spec.edit, KeyFrames) else ():
        place = frame_at(frame.second, spec.fps, "key frame")
        if place >= spec.frames:
            raise SpecError(
                f"{frame.image} stands at {frame.second:g} s, but the video ends at "
                f"{(spec.frames - 1) / spec.fps:g} s; make it longer (seconds), or the time earlier"
            )
        if place in pictures:
            raise SpecError(f"{frame.image} and {pictures[place]} both stand at {frame.second:g} s; give one of them")
        pictures[place] = frame.image
    groups = {place: -(-place // stride.time) for place in pictures}
    for place, other in itertools.pairwise(sorted(groups)):
        if groups[place] == groups[other]:
            raise SpecError(
                f"{pictures[place]} and {pictures[other]} stand {(other - place) / spec.fps:g} s apart, within one "
                f"latent frame; let {stride.time / spec.fps:g} s be between them"
            )
    if len(groups) == 1 + (spec.frames - 1) // stride.time:
        raise SpecError("every latent frame is given, which leaves nothing to make; give fewer pictures")
    frames = np.zeros((spec.frames, spec.shape.height, spec.shape.width, 3), np.uint8)
    is_made = np.ones((spec.frames, 1, 1), bool)
    for place, path in pictures.items():
        held = _held(groups[place], stride.time)
        frames[held] = read_still(path, spec, stride)
        is_made[held] = False
    return Canvas(frames=frames, is_made=is_made, keeps=False, pictures=tuple(sorted(pictures)))


def as_changes(spec: VideoSpec) -> VideoSpec:
    """A storyboard of words alone as one prompt after the other: models that make video block by block hear them so."""
    if not isinstance(spec.edit, Storyboard):
        return spec
    changes = tuple((card.second, card.prompt) for card in spec.edit.cards if card.prompt is not None)
    return replace(spec, edit=None, changes=changes)


def play_storyboard(spec: VideoSpec, defaults: ModelDefaults, stride: Stride, fill: Fill) -> Iterator[Frames]:
    """Make one span after the other, each going on from the one before and ending on the next card's picture."""
    edit = spec.edit
    assert isinstance(edit, Storyboard)
    time, usual = stride.time, (defaults.frames - 1) // stride.time + 1
    places = card_frames(spec, stride)
    pictures = [card.image for card in edit.cards] + [spec.last_image] * (len(places) - len(edit.cards))
    prompt, seen, start = spec.prompt, np.zeros((0, spec.shape.height, spec.shape.width, 3), np.uint8), 0
    for number, (place, picture) in enumerate(zip(places, pictures, strict=True)):
        if number and edit.cards[number - 1].prompt is not None:
            prompt = edit.cards[number - 1].prompt or prompt
        new = place - start if number else place + 1
        context = 0 if not number else min(max(2, usual - new // time) - 1, (len(seen) - 1) // time) * time + 1
        frames = np.concatenate([seen[len(seen) - context :], np.zeros((new, *seen.shape[1:]), np.uint8)])
        is_made = np.arange(context + new)[:, None, None] >= context
        if picture is not None:
            frames[-time:] = read_still(picture, spec, stride)
            is_made[-time:] = False
        if not number and spec.image is not None:
            frames[0], is_made[0] = read_still(spec.image, spec, stride), False
        part = replace(
            spec, prompt=prompt, frames=len(frames), edit=None, image=None, last_image=None, fit=None, changes=()
        )
        shown = () if picture is None else (len(frames) - 1,)
        canvas = Canvas(frames=frames, is_made=is_made, keeps=False, pictures=shown)
        first = 0 if not number else (start - context + 1) // time  # the noise runs on from span to span
        made = list(fill(part, canvas, first))
        fresh = np.concatenate(made)[context:]
        yield fresh
        seen = np.concatenate([seen, fresh])[-usual * time :]
        start = place


def _held(group: int, time: int) -> slice:
    """The frames that one latent frame stands for."""
    return slice(0, 1) if group == 0 else slice((group - 1) * time + 1, group * time + 1)
