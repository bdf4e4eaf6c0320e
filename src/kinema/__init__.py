"""Kinema: type a prompt, get a video.

    import kinema
    kinema.Pipeline.load("mini")(kinema.VideoSpec(prompt="a red ball rolls to the right")).save("ball.mp4")

Names resolve when they are first used, so that importing the package costs no torch.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kinema.errors import (
        CheckpointError,
        DataError,
        DeviceMemoryError,
        DirectorError,
        JobCancelled,
        JobError,
        JobNotFound,
        KinemaError,
        MediaError,
        SpecError,
    )
    from kinema.generate.pipeline import Pipeline
    from kinema.spec import (
        Blend,
        Card,
        Cut,
        Extend,
        Join,
        KeyFrame,
        KeyFrames,
        Loop,
        Remix,
        Replace,
        Storyboard,
        Vary,
        VideoSpec,
    )

__version__ = "0.1.0"

__all__ = [
    "Blend",
    "Card",
    "CheckpointError",
    "Cut",
    "DataError",
    "DeviceMemoryError",
    "DirectorError",
    "Extend",
    "JobCancelled",
    "JobError",
    "JobNotFound",
    "Join",
    "KeyFrame",
    "KeyFrames",
    "KinemaError",
    "Loop",
    "MediaError",
    "Pipeline",
    "Remix",
    "Replace",
    "SpecError",
    "Storyboard",
    "Vary",
    "VideoSpec",
    "__version__",
]

_EDITS = (
    *("Blend", "Card", "Cut", "Extend", "Join", "KeyFrame", "KeyFrames"),
    *("Loop", "Remix", "Replace", "Storyboard", "Vary"),
)
_ROOMS = {"Pipeline": "kinema.generate.pipeline", **dict.fromkeys(["VideoSpec", *_EDITS], "kinema.spec")}
"""The module that each public name comes from; the names not listed are errors."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'kinema' has no attribute {name!r}")
    value = getattr(importlib.import_module(_ROOMS.get(name, "kinema.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
