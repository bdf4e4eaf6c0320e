"""How a stage goes over its items: only those whose lineage changed, in batches, safe to kill at any point."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from kinema.data.pool import Outcome
from kinema.data.store import KEYS, Row, Store, Table, outcome_columns

BATCH = 32
"""Rows, or seconds, after which results are written."""
BATCH_S = 10.0
ENDED = ("done", "refused", "set apart")
"""How an item may end so that it is not tried again while its lineage stays."""


@dataclass(frozen=True)
class StageResult:
    """How many items a stage worked on in this run, how many of them failed, and how many were done before."""

    stage: str
    done: int
    failed: int
    kept: int
    why: str | None = None
    """Why the last one failed that did."""


@dataclass(frozen=True)
class Job:
    """One item of a stage: key of its row, lineage, what the stage's function takes, length of its footage."""

    row: str
    lineage: str
    item: Any
    length_s: float = 0.0


def work_through(
    store: Store,
    table: Table,
    stage: str,
    jobs: Sequence[Job],
    work: Callable[[Any], Row],
    schema: pa.Schema,
    run: Callable[..., Iterator[tuple[Job, Outcome]]],
) -> StageResult:
    """Give each job's item to `work` and fill the stage's columns of its row, batch by batch.

    `run` is `run_all` or `run_threads` with its limits. Jobs whose row ended under the same lineage are left alone.
    """
    outcomes = outcome_columns(stage)
    store.ensure(table, pa.schema([*schema, *outcomes]))
    todo = pending(store, table, stage, jobs)
    empty = dict.fromkeys(schema.names)
    batch: list[Row] = []
    failed, why, flushed = 0, None, time.monotonic()
    for job, outcome in run(partial(_on_item, work), todo):
        if outcome.status != "done":
            failed, why = failed + 1, outcome.reason
        row = {**empty, **(outcome.value or {}), **outcome_row(stage, job.lineage, outcome)}
        batch.append({**row, KEYS[table]: job.row})
        if len(batch) >= BATCH or time.monotonic() - flushed > BATCH_S:
            store.update(table, batch, pa.schema([*schema, *outcomes]))
            store.settle(table)
            batch, flushed = [], time.monotonic()
    store.update(table, batch, pa.schema([*schema, *outcomes]))
    return StageResult(stage, len(todo) - failed, failed, len(jobs) - len(todo), why)


def pending(store: Store, table: Table, stage: str, jobs: Sequence[Job]) -> list[Job]:
    """The jobs whose rows did not end under their lineage."""
    rows = store.scan(table, [f"{stage}_key", f"{stage}_status"])
    ended = {row[KEYS[table]]: row[f"{stage}_key"] for row in rows if row[f"{stage}_status"] in ENDED}
    return [job for job in jobs if ended.get(job.row) != job.lineage]


def outcome_row(stage: str, lineage: str, outcome: Outcome) -> Row:
    """The columns in which a stage says how it ended."""
    return {
        f"{stage}_key": lineage,
        f"{stage}_status": outcome.status,
        f"{stage}_reason": outcome.reason,
        f"{stage}_attempts": outcome.attempts,
    }


def _on_item(work: Callable[[Any], Row], job: Job) -> Row:
    return work(job.item)
