"""Clips that come one by one, of files that may still fail, end up in the tables as those of a whole run."""

from pathlib import Path

import pyarrow as pa
import pytest

from kinema.data import DataRecipe, Store, ingest, run_recipe, split, writer
from kinema.data.engine import Job
from kinema.data.ingest import Source
from kinema.data.pool import Limits, Outcome
from kinema.data.split import SplitConfig
from kinema.data.store import outcome_columns
from kinema.data.writer import ClipWriter


def recipe(footage: Path, out: Path) -> DataRecipe:
    return DataRecipe(
        sources=(Source(path=str(footage), license="CC0-1.0"),), out=out, split=SplitConfig(min_s=0.5),
        limits=Limits(workers=1), max_failures=0.6,
    )  # fmt: skip


def test_clips_written_one_by_one_are_those_written_together(
    footage: Path, split_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_MOST_CLIPS", 1)
    monkeypatch.setattr(split, "_AT_ONCE", 1)
    monkeypatch.setattr("kinema.data.store._MOST_PIECES", 1)  # and joined after each write
    run_recipe(recipe(footage, tmp_path / "d"), ("ingest", "split"))
    for table in ("files", "clips", "videos"):
        assert Store(tmp_path / "d").read(table) == Store(split_once).read(table)  # type: ignore[arg-type]


@pytest.mark.parametrize("flushed", [True, False])
def test_a_file_that_fails_in_the_end_or_is_split_anew_leaves_no_clip(
    footage: Path, tmp_path: Path, flushed: bool
) -> None:
    store = Store(tmp_path / "d", create=True)
    store.ensure("files", pa.schema([*ingest.COLUMNS, *outcome_columns("split")]))
    store.ensure("clips", ClipWriter.COLUMNS)
    store.ensure("videos", split.VIDEO_COLUMNS)
    job, again = Job("a.mp4", "one", None), Job("a.mp4", "other", None)
    found = ClipWriter(store, recipe(footage, tmp_path))

    def give(name: str, its: Job, attempt: int) -> Path:
        path = tmp_path / f"{name} {attempt}.mp4"
        path.write_bytes(b"clip")
        row = {"clip_id": name, "uri": its.row, "num_bytes": 4}
        found.add(its, Outcome("part", split.CutClip(row, path, None, None), None, attempt))
        if flushed:
            found.flush()
        return path

    def left() -> list[tuple[str, str]]:
        found.flush()
        return [(row["clip_id"], row["split_key"]) for row in store.read("clips")]

    paths = [give("a1", job, 1), give("a1", job, 2), give("b2", job, 2)]
    found.add(job, Outcome("done", None, None, 2))
    assert left() == [("a1", "one"), ("b2", "one")]
    paths.append(give("b2", again, 1))
    found.add(again, Outcome("done"))
    assert left() == [("b2", "other")]
    paths.append(give("c3", again, 1))
    found.add(again, Outcome("refused", None, "it ends too soon"))
    assert left() == []
    assert not any(path.exists() for path in paths)
