"""How the clips of split files come into the data set: some files at a time, in an order that a kill cannot break."""

import time
from collections.abc import Sequence

import pyarrow as pa

from kinema.data import dedup, split
from kinema.data import filter as scoring
from kinema.data.engine import BATCH, BATCH_S, Job, outcome_row
from kinema.data.lineage import fingerprint
from kinema.data.pool import Outcome
from kinema.data.recipe import DataRecipe
from kinema.data.store import Row, Store, outcome_columns, quoted

_MOST_BYTES = 16 * 2**20
"""Bytes of clips that are held before they are written."""
_MOST_CLIPS = 128


def clip_lineage(stage: str, clip_id: str, recipe: DataRecipe) -> str:
    """What the scores or the hash of a clip depend on, beside the clip."""
    if stage == "filter":
        return fingerprint(stage, scoring.VERSION, clip_id, recipe.filter)
    return fingerprint(stage, dedup.VERSION, clip_id)


class ClipWriter:
    """Writes what became of files into the data set, some at a time: videos first, then clips, then the files.

    A clip may be written before its file has ended. It carries the lineage of its file's split, so that what an earlier
    split of that file left is told from it, and goes when the file ends.
    """

    COLUMNS = pa.schema(
        [
            *split.COLUMNS,
            pa.field("split_key", pa.string()),
            *scoring.COLUMNS,
            *outcome_columns("filter"),
            *dedup.COLUMNS,
            *outcome_columns("dedup"),
        ]
    )

    def __init__(self, store: Store, recipe: DataRecipe) -> None:
        self._store, self._recipe = store, recipe
        self._clips: dict[str, tuple[Job, split.CutClip]] = {}
        self._ended: list[tuple[Job, Outcome]] = []
        self._num_bytes = 0
        self._since = time.monotonic()

    def add(self, job: Job, outcome: Outcome) -> None:
        """Take a clip of a file, or how the file ended; the clips of one that did not end well go."""
        if outcome.status == "part":
            clip: split.CutClip = outcome.value
            self._forget(clip.row["clip_id"])  # an attempt that failed may have given it before
            self._clips[clip.row["clip_id"]] = job, clip
            self._num_bytes += clip.row["num_bytes"] or 0
        else:
            self._ended.append((job, outcome))
            if outcome.status != "done":
                for name in [name for name, (its, _) in self._clips.items() if its.row == job.row]:
                    self._forget(name)
        is_full = len(self._ended) >= BATCH or len(self._clips) >= _MOST_CLIPS or self._num_bytes > _MOST_BYTES
        if is_full or time.monotonic() - self._since > BATCH_S:
            self.flush()

    def flush(self) -> None:
        """Write what was taken."""
        self._store_videos([clip for _, clip in self._clips.values()])
        rows = [self._row(job, clip) for job, clip in self._clips.values()]
        void = [_void(job, outcome) for job, outcome in self._ended]
        self._store.upsert("clips", rows, self.COLUMNS, scope=" OR ".join(void) or None)
        files = [{"uri": job.row, **outcome_row("split", job.lineage, outcome)} for job, outcome in self._ended]
        self._store.update("files", files, outcome_columns("split"))
        self._store.settle("videos", "clips", "files")
        self._clips, self._ended, self._num_bytes, self._since = {}, [], 0, time.monotonic()

    def _forget(self, name: str) -> None:
        """Leave out a clip that was taken, if it was."""
        if name in self._clips:
            _, clip = self._clips.pop(name)
            clip.remove()
            self._num_bytes -= clip.row["num_bytes"] or 0

    def _row(self, job: Job, clip: split.CutClip) -> Row:
        """The row of a clip; one that became a clip was scored and hashed in the same pass."""
        row = {**dict.fromkeys(self.COLUMNS.names), **clip.row, "split_key": job.lineage}
        name = clip.row["clip_id"]
        for stage, found in (("filter", clip.scores), ("dedup", clip.hashes)):
            if found is not None:
                lineage = clip_lineage(stage, name, self._recipe)
                row |= {**found, **outcome_row(stage, lineage, Outcome("done", found))}
        return row

    def _store_videos(self, clips: Sequence[split.CutClip]) -> None:
        batch: list[Row] = []
        size = 0
        for clip in clips:
            data = clip.take_bytes()
            if data is None:
                continue
            batch.append({"clip_id": clip.row["clip_id"], "data": data})
            size += len(data)
            if size > _MOST_BYTES:
                self._store.upsert("videos", batch, split.VIDEO_COLUMNS)
                batch, size = [], 0
        self._store.upsert("videos", batch, split.VIDEO_COLUMNS)


def _void(job: Job, outcome: Outcome) -> str:
    """The condition of the clips that a file is not left with: those of other splits, or all of them."""
    its = f"uri = {quoted(job.row)}"
    return f"({its} AND split_key IS DISTINCT FROM {quoted(job.lineage)})" if outcome.status == "done" else f"({its})"
