"""Stage 3: scores for every clip, then thresholds as a query over them; what is dropped keeps its row and reason."""

from dataclasses import dataclass
from typing import Any

from kinema.data.scores import COLUMNS
from kinema.errors import SpecError

__all__ = ["COLUMNS", "READS", "VERSION", "FilterConfig", "KeepConfig", "drop_reason"]

VERSION = 6
"""Raised when the same clip would have other scores."""

READS = (
    "split_reason", "filter_status", "filter_reason", "width", "height", "num_frames", "damaged_frames", *COLUMNS.names
)  # fmt: skip
"""The columns of clips that `drop_reason` reads."""


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """How scores are computed: changing this scores all clips again."""

    per_second: float = 4.0
    """Pictures looked at for each second of a clip, 64 at most."""

    def __post_init__(self) -> None:
        if self.per_second <= 0:
            raise SpecError(f"filter.per_second={self.per_second:g} does not fit; it is above 0, such as 4")


@dataclass(frozen=True, kw_only=True)
class KeepConfig:
    """Which clips are kept. Changing a threshold computes no score again."""

    min_side: int = 64
    """Shorter side in pixels, without bars."""
    max_aspect: float = 3.0
    """Longer side over shorter side."""
    min_motion: float = 0.001
    """Median motion: shares of the longer side per second."""
    max_motion: float = 2.0
    """As above."""
    min_codec_motion: float | None = None
    """Mean motion by the codec's own vectors, in the same unit. Clips of codecs that give none pass."""
    max_codec_motion: float | None = None
    """As above."""
    min_sharpness: float = 4.0
    """Variance of the Laplacian at 256 pixels."""
    min_brightness: float = 0.04
    """0 to 1."""
    max_brightness: float = 0.96
    """0 to 1."""
    max_clipped: float = 0.7
    """Share of pixels at the ends of the scale."""
    max_flicker: float = 0.08
    """Share of white."""
    max_black: float = 0.3
    """Share of black pictures."""
    max_frozen: float = 0.8
    """Share of pictures that repeat the one before."""
    max_text: float = 0.03
    """Share of the picture under text."""
    max_watermark: float = 0.003
    """Share of the picture under edges that stay while those around them move."""
    max_damaged: float = 0.0
    """Share of pictures that did not decode cleanly."""
    min_aesthetic: float | None = None
    """As the model of `[aesthetic]` counts: 0 to 1 for a classifier, about 1 to 10 for LAION's heads."""
    max_nsfw: float | None = None
    """0 to 1, as the model of `[nsfw]` says."""
    cameras: tuple[str, ...] = ()
    """Camera motions to keep, such as static; empty keeps all."""
    hdr: bool = False
    """Whether clips in high dynamic range are kept: their colours are not converted."""


def drop_reason(clip: dict[str, Any], keep: KeepConfig) -> str | None:
    """Why a clip is not kept: the first threshold that its row does not meet, or None.

    `clip` is a row with the columns `READS`, and `hdr` of its file; where a rating has a threshold, with that, its
    status and its reason.
    """
    if clip["split_reason"]:
        return str(clip["split_reason"])
    if clip["filter_status"] != "done":
        return f"not scored: {clip['filter_reason']}"
    width = clip["width"] * (1 - clip["crop_left"] - clip["crop_right"])
    height = clip["height"] * (1 - clip["crop_top"] - clip["crop_bottom"])
    if keep.cameras and clip["camera"] not in keep.cameras:
        return f"camera is {clip['camera']}"
    if clip["hdr"] and not keep.hdr:
        return "high dynamic range"
    width, height = max(width, 1.0), max(height, 1.0)
    limits: tuple[tuple[str, float | None, float | None, float | None], ...] = (
        ("damaged share", clip["damaged_frames"] / clip["num_frames"], 0, keep.max_damaged),
        ("shorter side", min(width, height), keep.min_side, None),
        ("aspect", max(width, height) / min(width, height), 1, keep.max_aspect),
        ("black share", clip["black_share"], 0, keep.max_black),
        ("frozen share", clip["frozen_share"], 0, keep.max_frozen),
        ("brightness", clip["brightness"], keep.min_brightness, keep.max_brightness),
        ("clipped share", clip["clipped_share"], 0, keep.max_clipped),
        ("sharpness", clip["sharpness"], keep.min_sharpness, None),
        ("motion", clip["motion"], keep.min_motion, keep.max_motion),
        ("codec motion", clip["codec_motion"], keep.min_codec_motion, keep.max_codec_motion),
        ("flicker", clip["flicker"], 0, keep.max_flicker),
        ("text share", clip["text_share"], 0, keep.max_text),
        ("watermark share", clip["watermark_share"], 0, keep.max_watermark),
    )
    for name, value, least, most in limits:
        if value is None:
            continue
        if least is not None and value < least:
            return f"{name} {value:.3g} is below {least:g}"
        if most is not None and value > most:
            return f"{name} {value:.3g} is above {most:g}"
    return _rating_reason(clip, keep)


def _rating_reason(clip: dict[str, Any], keep: KeepConfig) -> str | None:
    """The same for what models say; a clip that none could look at is not kept where it matters."""
    for name, least, most in (("aesthetic", keep.min_aesthetic, None), ("nsfw", None, keep.max_nsfw)):
        if least is None and most is None:
            continue
        if clip[f"{name}_status"] != "done":
            return f"{name} not rated: {clip[f'{name}_reason']}"
        if least is not None and not clip[name] >= least:  # nan passes nothing
            return f"{name} {clip[name]:.3g} is below {least:g}"
        if most is not None and not clip[name] <= most:
            return f"{name} {clip[name]:.3g} is above {most:g}"
    return None
