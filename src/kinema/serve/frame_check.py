"""A look at some frames of a finished video before it is published: by nudenet, or by a function of the operator's own.

nudenet is under the AGPL-3.0, so it is no part of Kinema and no extra of it: whoever wants it installs it.
"""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from kinema.errors import KinemaError, SpecError
from kinema.media import Frame

FrameCheck = Callable[[Frame], str | None]
"""Some frames, "f h w 3", RGB from 0 to 255 -> why they must not be shown, or None."""

FrameScores = Callable[[Frame], dict[str, float]]
"""One frame, "h w 3" -> how sure nudenet is of each of its labels that it sees there, from 0 to 1."""

NUDENET = "nudenet"
EXPOSED = (
    "FEMALE_GENITALIA_EXPOSED", "MALE_GENITALIA_EXPOSED", "FEMALE_BREAST_EXPOSED", "BUTTOCKS_EXPOSED", "ANUS_EXPOSED",
)  # fmt: skip
"""What nudenet must not find; these are its own labels."""

LEAST_SCORE = 0.5
"""How sure it must be, from 0 to 1."""


class FrameRefused(KinemaError):  # noqa: N818 - an answer, not a fault
    """The frames of a video must not be shown."""


def require_check(name: str) -> None:
    """Refuse a check that is not installed, without loading it. Raises SpecError."""
    module, colon, _ = name.partition(":")
    if name == NUDENET:
        if importlib.util.find_spec(NUDENET) is None:
            raise SpecError("check-frames=nudenet needs the package nudenet (AGPL-3.0): pip install nudenet")
    elif not colon or importlib.util.find_spec(module.partition(".")[0]) is None:
        raise SpecError(f"check-frames={name!r} is not known; give nudenet, or MODULE:FUNCTION of your own")


def load_check(name: str) -> FrameCheck:
    """A check by its name: `nudenet`, or `MODULE:FUNCTION`, a `FrameCheck` of one's own. Raises SpecError."""
    require_check(name)
    if name == NUDENET:
        return _nudenet()
    module, _, function = name.partition(":")
    try:
        check = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SpecError(f"check-frames={name!r} cannot be loaded: {error}") from None
    if not callable(check):
        raise SpecError(f"check-frames={name!r} is no function")
    found: FrameCheck = check
    return found


def require_allowed(check: FrameCheck, frames: Frame) -> None:
    """Raise FrameRefused when a check says no."""
    reason = check(frames)
    if reason is not None:
        raise FrameRefused(f"the frame check of this server refuses the video ({reason}); ask for something else")


def load_scores() -> FrameScores:
    """What nudenet sees, for those who judge it. Raises SpecError when it is not installed."""
    require_check(NUDENET)
    detector: Any = importlib.import_module(NUDENET).NudeDetector()

    def scores(frame: Frame) -> dict[str, float]:
        # Version 3.4.2 swaps red and blue twice on the way to its network, which finds more of people in RGB.
        surest: dict[str, float] = {}
        for found in detector.detect(np.ascontiguousarray(frame)):
            surest[found["class"]] = max(found["score"], surest.get(found["class"], 0.0))
        return surest

    return scores


def _nudenet() -> FrameCheck:
    scores = load_scores()

    def check(frames: Frame) -> str | None:
        for frame in frames:
            for name, score in scores(frame).items():
                if name in EXPOSED and score >= LEAST_SCORE:
                    return name.replace("_", " ").lower()
        return None

    return check
