"""Places and lengths in time as frames; what does not fit is refused with the nearest that does."""

from kinema.errors import SpecError
from kinema.shapes import Stride
from kinema.spec import Storyboard, VideoSpec

_HALF_MILLISECOND = 0.0005 + 1e-9  # and room for the rounding of floats


def frame_at(second: float | int, fps: float, what: str) -> int:
    """Which frame a second is; raises SpecError, naming the nearest ones, for a place between two frames."""
    frame = round(second * fps)
    if abs(frame / fps - second) > _HALF_MILLISECOND:
        below = int(second * fps)
        raise SpecError(
            f"the {what} at {second:g} s lies between two frames; use {below / fps:.4g} or {(below + 1) / fps:.4g}"
        )
    return frame


def new_frames(seconds: float | int, fps: float, time: int, kind: str) -> int:
    """How many frames a new part has: whole latent frames, or a SpecError with the nearest lengths."""
    frames = round(seconds * fps)
    if frames == 0 or frames % time or abs(frames / fps - seconds) > _HALF_MILLISECOND:
        below = max(1, int(seconds * fps / time))
        raise SpecError(
            f"{kind} by {seconds:g} s does not fit: at {fps:g} frames per second a new part has a multiple of {time} "
            f"frames; use {below * time / fps:.4g} or {(below + 1) * time / fps:.4g} s"
        )
    return frames


def card_frames(spec: VideoSpec, stride: Stride) -> list[int]:
    """Give the frame at which each card of a resolved storyboard stands, and the last one of the video.

    Raises SpecError for a card beyond the end, or not at the end of a latent frame.
    """
    edit, frames, fps = spec.edit, spec.frames, spec.fps
    assert isinstance(edit, Storyboard)
    assert frames is not None
    assert fps is not None
    places = [new_frames(card.second, fps, stride.time, "a card") for card in edit.cards]
    if places[-1] > frames - 1 or (places[-1] == frames - 1 and edit.cards[-1].image is None):
        raise SpecError(
            f"the card at {edit.cards[-1].second:g} s comes too late: the video ends at {(frames - 1) / fps:g} s; "
            "make it longer (seconds), or the card earlier"
        )
    return places if places[-1] == frames - 1 else [*places, frames - 1]
