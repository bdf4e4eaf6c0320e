"""Stage 2: a file becomes clips, one shot each, of a length that training can use; they are scored on the way."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import av
import pyarrow as pa

from kinema.data.cut import Cutter, Method
from kinema.data.dedup import PER_SECOND
from kinema.data.filter import FilterConfig
from kinema.data.ingest import local_copy
from kinema.data.lineage import fingerprint
from kinema.data.probe import probe_file
from kinema.data.shots import ShotFinder
from kinema.data.survey import Finder, KnownRuns, Piece, Run, ShotPlanner, survey_file
from kinema.data.transcode import Span
from kinema.errors import MediaError, SpecError

VERSION = 7
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


SHORTEST_S = 1 / PER_SECOND
"""Length of a clip below which it may have no moment to hash."""

_AT_ONCE = 16
"""Clips that are cut together."""


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How files are split into clips."""

    min_s: float = 1.0
    """Shorter shots are listed with their reason, and not kept."""
    max_s: float = 20.0
    """Longer shots are cut into parts: equal ones up to twice this length, then such of this length first. A part ends
    at a key frame instead where one is near, so that it is copied as it is."""
    detector: Literal["blend", "transnet", "none"] = "blend"
    """How shots are told apart: by rules that need no weights, by TransNetV2, or not at all."""

    def __post_init__(self) -> None:
        if not SHORTEST_S <= self.min_s <= self.max_s / 2:
            raise SpecError(
                f"split.min_s={self.min_s:g} and max_s={self.max_s:g} do not fit; min_s is at least {SHORTEST_S:g} and "
                f"at most half of max_s, such as {max(SHORTEST_S, self.max_s / 2):g}"
            )


@dataclass(frozen=True)
class CutClip:
    """One row of clips, its scores and hashes, and its bytes, if it has any: in a file, or here to travel."""

    row: dict[str, Any]
    path: Path | None
    scores: dict[str, Any] | None
    hashes: dict[str, Any] | None
    data: bytes | None = None

    def carried(self) -> "CutClip":
        """The clip with its bytes instead of their file, which is removed."""
        if self.path is None:
            return self
        data = self.path.read_bytes()
        self.path.unlink()
        return replace(self, path=None, data=data)

    def remove(self) -> None:
        """Remove the file, if it has one."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def take_bytes(self) -> bytes | None:
        """The bytes; their file is removed."""
        return self.carried().data


def split_file(
    uri: str, file_hash: str, config: SplitConfig, work: Path, filtered: FilterConfig | None = None
) -> Iterator[CutClip]:
    """Split one file, score and hash its clips, and yield each as soon as it is cut; their bytes lie below `work`.

    The caller removes them. Raises MediaError when the file cannot be decoded any further; then its clips are void.
    """
    filtered = filtered or FilterConfig()
    work.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=work))
    try:
        with local_copy(uri) as path:
            facts = probe_file(path)
            planner = ShotPlanner(make_finder(config), config.max_s, config.min_s)
            with Cutter(path, folder) as cutter:
                pieces = survey_file(
                    path, planner, facts["fps"],
                    min_s=config.min_s, per_second=filtered.per_second, watch=cutter.watch,
                )  # fmt: skip
                while some := list(itertools.islice(pieces, _AT_ONCE)):
                    cuts = {span.first: (cut.rename(work / f"{folder.name}-{cut.name}"), method)
                            for span, cut, method in _cut(cutter, some, facts)}  # fmt: skip
                    for piece in some:
                        cut = cuts.get(piece.first, (None, None))
                        yield _clip(piece, cut, uri, file_hash, facts, config)
    except av.error.FFmpegError as error:
        raise MediaError(f"{Path(uri).name} cannot be cut: {error.strerror}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_finder(config: SplitConfig) -> Finder | None:
    """What names the transitions of a file; raises DataError for one whose package is missing."""
    if config.detector == "none":
        return None
    if config.detector == "transnet":
        from kinema.data.transnet import TransNetFinder

        return TransNetFinder()
    return ShotFinder()


def survey_again(
    uri: str, runs: Sequence[Run], *, per_second: float | None, hashed: bool
) -> dict[Run, tuple[dict[str, Any] | None, dict[str, Any] | None]]:
    """Scores and hashes of the clips of one file, exactly as `split_file` gives them; None where they are not asked."""
    with local_copy(uri) as path:
        pieces = survey_file(
            path, KnownRuns(runs), probe_file(path)["fps"], per_second=per_second, hashed=hashed
        )  # fmt: skip
        return {(piece.first, piece.last): (piece.scores, piece.hashes) for piece in pieces}


def _cut(cutter: Cutter, pieces: Sequence[Piece], facts: dict[str, Any]) -> Iterator[tuple[Span, Path, Method]]:
    spans = {
        Span(each.first, each.last, each.start_s, each.end_s): each.damaged for each in pieces if not each.is_short
    }
    even = facts["width"] % 2 == 0 and facts["height"] % 2 == 0
    plain = not facts["rotation"] and not facts["interlaced"] and facts["pixel_aspect"] == 1.0
    as_is = even and plain and facts["pixel_format"] in ("yuv420p", "yuvj420p")
    copied = [span for span, damaged in spans.items() if as_is and not damaged]
    return cutter.cut(list(spans), copied, at_end=len(pieces) < _AT_ONCE)


def _clip(
    piece: Piece,
    cut: tuple[Path | None, Method | None],
    uri: str,
    file_hash: str,
    facts: dict[str, Any],
    config: SplitConfig,
) -> CutClip:
    path, method = cut
    count = piece.last - piece.first
    row = {
        "clip_id": fingerprint("clip", VERSION, file_hash, piece.first, piece.last, method),
        "uri": uri,
        "file_hash": file_hash,
        "start_s": piece.start_s - piece.origin_s,
        "end_s": piece.end_s - piece.origin_s,
        "first_frame": piece.first,
        "num_frames": count,
        "damaged_frames": piece.damaged,
        "width": facts["width"] // 2 * 2,
        "height": facts["height"] // 2 * 2,
        "fps": count / (piece.end_s - piece.start_s),
        "cut": method,
        "num_bytes": path.stat().st_size if path else None,
        "split_reason": f"shorter than {config.min_s:g} s" if piece.is_short else None,
    }
    return CutClip(row, path, piece.scores, piece.hashes)
