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


def clip_lineage(stage: str, clip_id: str, recipe: DataRecipe) -> str:
    """What the scores or the hash of a clip depend on, beside the clip."""
    if stage == "filter":
        return fingerprint(stage, scoring.VERSION, clip_id, recipe.filter)
    return fingerprint(stage, dedup.VERSION, clip_id)


class ClipWriter:
    """Writes what became of files into the data set, some at a time: videos first, then clips, then the files."""

    COLUMNS = pa.schema(
        [*split.COLUMNS, *scoring.COLUMNS, *outcome_columns("filter"), *dedup.COLUMNS, *outcome_columns("dedup")]
    )

    def __init__(self, store: Store, recipe: DataRecipe) -> None:
        self._store, self._recipe = store, recipe
        self._ended: list[tuple[Job, Outcome]] = []
        self._since = time.monotonic()

    def add(self, job: Job, outcome: Outcome) -> None:
        """Take how one file ended."""
        self._ended.append((job, outcome))
        size = sum(clip.row["num_bytes"] or 0 for _, each in self._ended for clip in each.value or [])
        if len(self._ended) >= BATCH or size > _MOST_BYTES or time.monotonic() - self._since > BATCH_S:
            self.flush()

    def flush(self) -> None:
        """Write what was taken."""
        if not self._ended:
            return
        clips: list[split.CutClip] = [clip for _, outcome in self._ended for clip in outcome.value or []]
        self._store_videos(clips)
        rows = [self._row(clip) for clip in clips]
        listed = ", ".join(quoted(job.row) for job, _ in self._ended)
        self._store.upsert("clips", rows, self.COLUMNS, scope=f"uri IN ({listed})")
        files = [{"uri": job.row, **outcome_row("split", job.lineage, outcome)} for job, outcome in self._ended]
        self._store.update("files", files, outcome_columns("split"))
        self._ended, self._since = [], time.monotonic()

    def _row(self, clip: split.CutClip) -> Row:
        """The row of a clip; one that became a clip was scored and hashed in the same pass."""
        row = {**dict.fromkeys(self.COLUMNS.names), **clip.row}
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
