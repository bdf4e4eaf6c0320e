"""What can be done to a video, as values: each is the `edit` of a `VideoSpec`.

Places in time are seconds from the first frame on; a place between two frames is refused. Files are named by path.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from kinema.errors import SpecError
from kinema.spec.checks import require_integer, require_number, require_text

Fit = Literal["crop", "pad", "stretch"]
"""How a picture of other proportions comes into the frame: its middle, all of it between black bars, or distorted."""

T = TypeVar("T")

_FILES = ("video", "other", "mask", "image")  # the fields that hold paths


@dataclass(frozen=True, kw_only=True)
class KeyFrame:
    """A picture, and when it is shown."""

    image: str
    """A picture."""
    second: float
    """When it is shown."""

    def __post_init__(self) -> None:
        """Refuse what is no place in time."""
        require_text("image", self.image, example="key.png")
        require_number("second", self.second, zero=True)


@dataclass(frozen=True, kw_only=True)
class KeyFrames:
    """Make a video that shows given pictures at given times."""

    kind: Literal["key_frames"] = "key_frames"
    frames: tuple[KeyFrame, ...]
    """The pictures, in the order of their times."""

    def __post_init__(self) -> None:
        """Refuse none, and times out of order."""
        if not self.frames:
            raise SpecError("key_frames is empty; give a picture and its time, such as key.png at 1.5")
        _require_order("key frames", [frame.second for frame in self.frames])


@dataclass(frozen=True, kw_only=True)
class Extend:
    """Go on where a video ends, or begin before it does; its own frames stay as they are."""

    kind: Literal["extend"] = "extend"
    video: str
    """The video."""
    seconds: float
    """How long the new part is."""
    direction: Literal["forward", "backward"] = "forward"
    """After its end, or before its beginning."""

    def __post_init__(self) -> None:
        """Refuse a part of no length."""
        require_text("video", self.video, example="clip.mp4")
        require_number("seconds", self.seconds, zero=False)
        _require_one_of("direction", self.direction, ("forward", "backward"))


@dataclass(frozen=True, kw_only=True)
class Loop:
    """Add an end to a video that leads back to its beginning, so that it can play round and round."""

    kind: Literal["loop"] = "loop"
    video: str
    """The video."""
    seconds: float
    """How long the way back is."""

    def __post_init__(self) -> None:
        """Refuse a way of no length."""
        require_text("video", self.video, example="clip.mp4")
        require_number("seconds", self.seconds, zero=False)


@dataclass(frozen=True, kw_only=True)
class Remix:
    """Make a video anew from another one: what is where stays, what it is follows the prompt."""

    kind: Literal["remix"] = "remix"
    video: str
    """The video."""
    strength: float = 0.7
    """How much is made anew, above 0 (nothing) to 1 (everything)."""

    def __post_init__(self) -> None:
        """Refuse a strength that is none."""
        require_text("video", self.video, example="clip.mp4")
        require_number("strength", self.strength, zero=False, most=1)


@dataclass(frozen=True, kw_only=True)
class Vary:
    """Make another take of a video: the same, but for its details, which each seed draws differently."""

    kind: Literal["vary"] = "vary"
    video: str
    """The video."""
    strength: float = 0.4
    """How far the take may go, above 0 (nowhere) to 1 (anywhere)."""

    def __post_init__(self) -> None:
        """Refuse a strength that is none."""
        require_text("video", self.video, example="clip.mp4")
        require_number("strength", self.strength, zero=False, most=1)


@dataclass(frozen=True, kw_only=True)
class Replace:
    """Make a part of a video anew, a span of time or a region or both; nothing else of it changes."""

    kind: Literal["replace"] = "replace"
    video: str
    """The video."""
    start: float | None = None
    """The second from which on frames are made anew; None = from the first."""
    end: float | None = None
    """The second before which that ends: the frame at it stays; None = with the last."""
    box: tuple[int, int, int, int] | None = None
    """Left, top, right and bottom edge of the region, in pixels of the video that is made."""
    mask: str | None = None
    """A picture or video of the region: white is made anew. A video has as many frames as the one it masks."""
    strength: float = 1.0
    """How much of it is made anew, above 0 (nothing) to 1 (everything)."""

    def __post_init__(self) -> None:
        """Refuse a part that is everything, or nothing."""
        require_text("video", self.video, example="clip.mp4")
        require_number("start", self.start, zero=True)
        require_number("end", self.end, zero=False)
        require_number("strength", self.strength, zero=False, most=1)
        if self.start is None and self.end is None and self.box is None and self.mask is None:
            raise SpecError("replace names no part of the video; give start and end, a box, or a mask - or use remix")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise SpecError(f"the span from {self.start:g} s to {self.end:g} s is empty; let it end after it starts")
        if self.box is not None and self.mask is not None:
            raise SpecError("a box and a mask both name the region; give one of them")
        if self.mask is not None:
            require_text("mask", self.mask, example="mask.png")
        if self.box is not None:
            self._check_box(self.box)

    @staticmethod
    def _check_box(box: tuple[int, int, int, int]) -> None:
        for edge in box:
            require_integer("box", edge, 0, None)
        left, top, right, bottom = box
        if right <= left or bottom <= top:
            raise SpecError(f"box {box} is empty; it takes left, top, right and bottom, such as 0,0,32,32")


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Let one video turn into another: the end of the first and the start of the second become one."""

    kind: Literal["blend"] = "blend"
    video: str
    """The first video."""
    other: str
    """The second one, of the same frame rate."""
    seconds: float
    """How long they overlap."""
    strength: float = 0.7
    """How much of the overlap is made anew, above 0 (a dissolve) to 1 (all of it)."""

    def __post_init__(self) -> None:
        """Refuse an overlap of no length."""
        require_text("video", self.video, example="clip.mp4")
        require_text("other", self.other, example="next.mp4")
        require_number("seconds", self.seconds, zero=False)
        require_number("strength", self.strength, zero=False, most=1)


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a storyboard shows from a time on: words, a picture at that time, or both."""

    second: float
    """When it begins."""
    prompt: str | None = None
    """What is shown from then on; None = what was shown before."""
    image: str | None = None
    """The picture at that time."""

    def __post_init__(self) -> None:
        """Refuse a card with nothing on it."""
        require_number("second", self.second, zero=False)
        if self.prompt is None and self.image is None:
            raise SpecError(f"the card at {self.second:g} s is empty; give it a prompt, an image, or both")
        if self.prompt is not None:
            require_text("prompt", self.prompt, example="the ball stops")
        if self.image is not None:
            require_text("image", self.image, example="key.png")


@dataclass(frozen=True, kw_only=True)
class Storyboard:
    """Make a video whose prompt changes on the way; the request's own prompt and image are the card at 0 s."""

    kind: Literal["storyboard"] = "storyboard"
    cards: tuple[Card, ...]
    """The later cards, in the order of their times."""

    def __post_init__(self) -> None:
        """Refuse none, and cards out of order."""
        if not self.cards:
            raise SpecError('storyboard is empty; give a card, such as "the ball stops" at 2')
        _require_order("cards", [card.second for card in self.cards])


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A part of a video, or all of it."""

    video: str
    """The video."""
    start: float | None = None
    """The second of its first frame; None = the video's first."""
    end: float | None = None
    """The second before which it ends; None = with the video."""

    def __post_init__(self) -> None:
        """Refuse a part of no length."""
        require_text("video", self.video, example="clip.mp4")
        require_number("start", self.start, zero=True)
        require_number("end", self.end, zero=False)
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise SpecError(f"the part from {self.start:g} s to {self.end:g} s is empty; let it end after it starts")


@dataclass(frozen=True, kw_only=True)
class Join:
    """Play parts of videos one after the other; no model is asked, and no frame changes."""

    kind: Literal["join"] = "join"
    cuts: tuple[Cut, ...]
    """The parts, of one frame rate."""

    def __post_init__(self) -> None:
        """Refuse none."""
        if not self.cuts:
            raise SpecError("join is empty; give a part of a video, such as clip.mp4 from 0 to 2")


Edit = KeyFrames | Extend | Loop | Remix | Vary | Replace | Blend | Storyboard | Join
"""Every edit there is."""

VERBS = {
    "key_frames": "meet key frames",
    "extend": "extend a video",
    "loop": "close a loop",
    "remix": "remix a video",
    "vary": "vary a video",
    "replace": "replace a part of a video",
    "blend": "blend videos",
    "storyboard": "follow a storyboard",
}
"""What each edit of a model does, after "can" or "cannot"."""


def edit_files(edit: Any) -> Iterator[str]:
    """Give the path of every file that an edit reads, in the order of its fields."""
    for field in dataclasses.fields(edit):
        value = getattr(edit, field.name)
        if field.name in _FILES and value is not None:
            yield value
        elif isinstance(value, tuple):
            for part in value:
                if dataclasses.is_dataclass(part):
                    yield from edit_files(part)


def with_files(edit: T, places: Mapping[str, str]) -> T:
    """Return the same edit reading its files elsewhere: from their place in `places`, where it has one."""
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(edit):  # type: ignore[arg-type]
        value = getattr(edit, field.name)
        if field.name in _FILES and value is not None:
            changed[field.name] = places.get(value, value)
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            changed[field.name] = tuple(with_files(part, places) for part in value)
    return dataclasses.replace(edit, **changed)  # type: ignore[type-var]


def _require_order(what: str, seconds: list[float]) -> None:
    for before, after in itertools.pairwise(seconds):
        if after <= before:
            raise SpecError(f"{what} stand at {before:g} s and then at {after:g} s; give them in their order")


def _require_one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SpecError(f"{name}={value!r} does not fit; use {' or '.join(choices)}")
