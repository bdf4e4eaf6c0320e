"""A finished video in memory, and how it gets into a file."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from kinema.media import check_output
from kinema.provenance.mark import Marks, write_marked
from kinema.spec import VideoSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Video:
    """What a pipeline made: the frames, and the resolved request that makes them again."""

    frames: UInt8[np.ndarray, "f h w 3"]
    """RGB."""
    fps: float
    """Frames per second."""
    spec: VideoSpec
    """The request with every default filled in."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What `save` writes into the file beside the frames; see `record.Record`."""

    def save(self, path: str | Path, force: bool = False, marks: Marks | None = None) -> Path:
        """Write the video in the format of the file's ending: mp4, webm, gif, webp, and png for one frame.

        It gets every mark that `kinema.provenance` has, unless `marks` says otherwise.

        Raises MediaError for an unknown ending, a file that already exists (`force=True` replaces it), or a place that
        cannot be written to. Nothing stands under the final name until it is whole.
        """
        path = Path(path)
        check_output(path, overwrite=force)
        marker = write_marked(path, [self.frames], self.fps, self.metadata, marks)
        if marker.missing:
            logger.warning(marker.missing)
        return path
