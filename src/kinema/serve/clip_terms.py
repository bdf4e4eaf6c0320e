"""What a video of a stranger is to become: told by the server, which decodes nothing, to the child that does."""

from dataclasses import dataclass

from kinema.serve.capabilities import Capabilities

CLEAN = "clean.mp4"
"""What the child calls the video that it writes."""

FORMATS = {"mp4": "mp4", "webm": "matroska"}
"""The demuxer by what the first bytes say; no other is tried."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the clean video is to be."""

    model: Capabilities
    """It gets this model's rate, a size near its own, and a length of whole latent frames."""
    max_pixels: int
    max_seconds: float
