"""Parts of videos, one after the other: no model is asked, and no frame changes but in size."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from kinema.errors import SpecError
from kinema.generate.source import read_clip
from kinema.generate.times import frame_at
from kinema.media import probe
from kinema.shapes import Stride
from kinema.spec import Cut, Join, VideoSpec

_PIXELS = Stride(1, 1, 1)  # any size will do


def settle_join(spec: VideoSpec) -> VideoSpec:
    """Fill in size, rate and length: those of the first part, and of all together.

    Raises SpecError for parts of different rates or outside of their video, MediaError for files that are no videos.
    """
    assert isinstance(spec.edit, Join)
    infos = [probe(cut.video) for cut in spec.edit.cuts]
    first = infos[0]
    for cut, info in zip(spec.edit.cuts, infos, strict=True):
        if abs(info.fps - first.fps) > 1e-3:
            raise SpecError(
                f"{spec.edit.cuts[0].video} has {first.fps:g} frames per second and {cut.video} {info.fps:g}; join "
                "videos of one rate"
            )
    frames = sum(
        len(range(*_part(cut, info.frames, info.fps))) for cut, info in zip(spec.edit.cuts, infos, strict=True)
    )
    for name, given, found in (("frames", spec.frames, frames), ("fps", spec.fps, first.fps)):
        if given is not None and abs(given - found) > 1e-3:
            raise SpecError(f"join takes {name} from its videos; drop {name}={given:g}")
    return replace(
        spec, frames=frames, fps=first.fps, width=spec.width or first.width, height=spec.height or first.height
    )


def join_frames(spec: VideoSpec) -> Iterator[UInt8[np.ndarray, "f h w 3"]]:
    """Give the frames of a settled request, part after part. Raises what `read_clip` raises."""
    assert isinstance(spec.edit, Join)
    for cut in spec.edit.cuts:
        clip = read_clip(cut.video, spec.shape.width, spec.shape.height, _PIXELS, spec.fit)
        start, end = _part(cut, len(clip.frames), clip.fps)
        yield clip.frames[start:end]


def _part(cut: Cut, count: int, fps: float) -> tuple[int, int]:
    start = 0 if cut.start is None else frame_at(cut.start, fps, "start")
    end = count if cut.end is None else frame_at(cut.end, fps, "end")
    if start >= end or end > count:
        raise SpecError(f"the part reaches beyond {cut.video}, which has {count} frames ({count / fps:.4g} s)")
    return start, end
