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
    from kinema.spec import VideoSpec

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "DataError",
    "DeviceMemoryError",
    "DirectorError",
    "JobCancelled",
    "JobError",
    "JobNotFound",
    "KinemaError",
    "MediaError",
    "Pipeline",
    "SpecError",
    "VideoSpec",
    "__version__",
]

_ROOMS = {"Pipeline": "kinema.generate.pipeline", "VideoSpec": "kinema.spec"}
"""The module that each public name comes from; the names not listed are errors."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'kinema' has no attribute {name!r}")
    value = getattr(importlib.import_module(_ROOMS.get(name, "kinema.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
