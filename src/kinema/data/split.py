"""Stage 2: a file becomes clips, one shot each, of a length that training can use."""

import itertools
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pyarrow as pa

from kinema.data.cut import Method, Span, cut_clips
from kinema.data.frames import ANALYSIS_SIDE, iter_pictures
from kinema.data.ingest import local_copy
from kinema.data.lineage import fingerprint
from kinema.data.probe import probe_file
from kinema.data.shots import ShotFinder, Transition
from kinema.errors import MediaError, SpecError

VERSION = 1
"""Raised when the same file would give other clips."""

COLUMNS = pa.schema(
    [
        pa.field("clip_id", pa.string()),
        pa.field("uri", pa.string()),
        pa.field("file_hash", pa.string()),
        pa.field("start_s", pa.float64()),
        pa.field("end_s", pa.float64()),
        pa.field("first_frame", pa.int64()),
        pa.field("num_frames", pa.int64()),
        pa.field("damaged_frames", pa.int64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("fps", pa.float32()),
        pa.field("cut", pa.string()),
        pa.field("num_bytes", pa.int64()),
        pa.field("split_reason", pa.string()),
    ]
)
"""The columns that split makes; `cut` says how the clip was cut, `split_reason` why a shot became no clip."""

VIDEO_COLUMNS = pa.schema([pa.field("clip_id", pa.string()), pa.field("data", pa.large_binary())])
"""The columns of the table of encoded clips."""


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How files are split into clips."""

    min_s: float = 1.0
    """Shorter shots are listed with their reason, and not kept."""
    max_s: float = 20.0
    """Longer shots are cut into equal parts."""
    detect: bool = True
    """False takes each file as one shot."""

    def __post_init__(self) -> None:
        if not 0 < self.min_s <= self.max_s / 2:
            raise SpecError(
                f"split.min_s={self.min_s:g} and max_s={self.max_s:g} do not fit; min_s is above 0 and at most "
                f"half of max_s, such as {self.max_s / 2:g}"
            )


@dataclass(frozen=True)
class Scan:
    """What one pass over a file found: the time of every picture and of the end, the damaged ones, the transitions."""

    times: list[float]
    end_s: float
    damaged: list[int]
    transitions: list[Transition]


@dataclass(frozen=True)
class CutClip:
    """One row of clips, and the file that holds its bytes, if it has any."""

    row: dict[str, Any]
    path: Path | None


def split_file(uri: str, file_hash: str, config: SplitConfig, work: Path) -> list[CutClip]:
    """Split one file; the clips' bytes are written into a new folder below `work`, which the caller removes.

    Raises MediaError when the file cannot be decoded.
    """
    work.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=work))
    try:
        with local_copy(uri) as path:
            facts = probe_file(path)
            found = scan(path, facts["fps"], detect=config.detect)
            spans, short = plan(found, config)
            even = facts["width"] % 2 == 0 and facts["height"] % 2 == 0
            plain = not facts["rotation"] and not facts["interlaced"] and facts["pixel_aspect"] == 1.0
            as_is = even and plain and facts["pixel_format"] in ("yuv420p", "yuvj420p")
            cuts: list[tuple[Span, Path | None, Method | None]] = [*cut_clips(path, spans, folder, as_is=as_is)]
            cuts += [(span, None, None) for span in short]
            return [
                _clip(each, uri, file_hash, facts, found, config) for each in sorted(cuts, key=lambda cut: cut[0].first)
            ]
    except av.error.FFmpegError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise MediaError(f"{Path(uri).name} cannot be cut: {error.strerror}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def scan(path: Path, fps: float, *, detect: bool = True) -> Scan:
    """Decode a file once and find its transitions; memory does not grow with its length but for 8 bytes a picture."""
    finder = ShotFinder(fps)
    times: list[float] = []
    damaged = []
    for picture in iter_pictures(path):
        times.append(picture.time_s)
        if picture.damaged:
            damaged.append(picture.index)
        if detect:
            finder.add(picture.rgb(ANALYSIS_SIDE))
    step = times[-1] - times[-2] if len(times) > 1 else 1 / fps
    return Scan(times, times[-1] + step, damaged, finder.finish() if detect else [])


def plan(found: Scan, config: SplitConfig) -> tuple[list[Span], list[Span]]:
    """Turn transitions into the spans to keep and those that are too short, both by the pictures' own times."""
    kept: list[Span] = []
    short: list[Span] = []
    for first, last in shots(found):
        length = _end(found, last) - found.times[first]
        if length < config.min_s:
            short.append(_span(found, first, last))
            continue
        parts = max(1, -int(-length // config.max_s))
        edges = [
            first,
            *(_nearest(found.times, found.times[first] + length * k / parts) for k in range(1, parts)),
            last,
        ]
        kept += [_span(found, a, b) for a, b in itertools.pairwise(edges) if b > a]
    return kept, short


def shots(found: Scan) -> list[tuple[int, int]]:
    """First and last (exclusive) picture of each shot; pictures inside a gradual transition belong to none."""
    runs, begin = [], 0
    for transition in found.transitions:
        if transition.first > begin:
            runs.append((begin, transition.first))
        begin = max(begin, transition.last)
    if begin < len(found.times):
        runs.append((begin, len(found.times)))
    return runs


def _clip(
    cut: tuple[Span, Path | None, Method | None],
    uri: str,
    file_hash: str,
    facts: dict[str, Any],
    found: Scan,
    config: SplitConfig,
) -> CutClip:
    span, path, method = cut
    row = {
        "clip_id": fingerprint("clip", VERSION, file_hash, span.first, span.last, method),
        "uri": uri,
        "file_hash": file_hash,
        "start_s": span.start_s - found.times[0],
        "end_s": span.end_s - found.times[0],
        "first_frame": span.first,
        "num_frames": span.last - span.first,
        "damaged_frames": sum(span.first <= index < span.last for index in found.damaged),
        "width": facts["width"] // 2 * 2,
        "height": facts["height"] // 2 * 2,
        "fps": (span.last - span.first) / (span.end_s - span.start_s),
        "cut": method,
        "num_bytes": path.stat().st_size if path else None,
        "split_reason": None if path else f"shorter than {config.min_s:g} s",
    }
    return CutClip(row, path)


def _span(found: Scan, first: int, last: int) -> Span:
    return Span(first, last, found.times[first], _end(found, last))


def _end(found: Scan, last: int) -> float:
    return found.times[last] if last < len(found.times) else found.end_s


def _nearest(times: Sequence[float], time_s: float) -> int:
    return min(range(len(times)), key=lambda index: abs(times[index] - time_s))
