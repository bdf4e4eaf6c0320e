"""The data set on disk: a folder of Lance tables, each change of which is one transaction.

`files` has a row for each input file, `clips` one for each clip, `videos` the encoded bytes of each clip, and `latents`
what the encoder made of it. A stage adds its columns when it first runs, and fills them batch by batch. Lance writes a
batch beside the table and then publishes it in one step, so a process killed at any point leaves the version before.
"""

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import lance
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kinema.checkpoint.lock import only_run
from kinema.errors import DataError

FORMAT = 1
"""Version of the layout; a data set of a newer one is refused."""

Table = Literal["files", "clips", "videos", "latents"]
Row = dict[str, Any]

KEYS: dict[Table, str] = {"files": "uri", "clips": "clip_id", "videos": "clip_id", "latents": "latent_id"}
"""The column that names a row of each table."""

MARK = "kinema.json"
"""The file that makes a folder a data set."""
_ROWS = 1024
"""Rows that are read at a time."""
_ROWS_AT_ONCE: dict[Table, int] = {"files": _ROWS, "clips": _ROWS, "videos": 16, "latents": 64}
"""Rows that are held while small pieces are joined: those of `videos` are whole clips."""
_MOST_PIECES = 64
"""Writes after which the small pieces of a table are joined, in the middle of a run: each makes the next one dearer."""
_ROWS_OF_PIECES: dict[Table, tuple[int, int]] = {
    "files": (2048, 1 << 17), "clips": (2048, 1 << 15), "videos": (256, 1024), "latents": (1024, 4096)
}  # fmt: skip
"""Rows of a piece that is large enough in the middle of a run, and after it: it is not written again."""
_READERS = timedelta(minutes=1)
"""Time for which a version that is gone in the middle of a run can be read to its end."""


class Store:
    """Reads and changes one data set. Raises DataError for a folder that is none, or that a newer version made."""

    def __init__(self, folder: str | Path, *, create: bool = False) -> None:
        self.folder = Path(folder)
        self._writes: Counter[Table] = Counter()
        mark = self.folder / MARK
        if create and not mark.exists():
            if self.folder.exists() and any(self.folder.iterdir()):
                raise DataError(f"{folder} is not empty and no data set; name a new folder")
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = mark.with_name(MARK + ".partial")
            partial.write_text(json.dumps({"format": FORMAT}), encoding="utf-8")
            partial.replace(mark)
        try:
            version = json.loads(mark.read_text(encoding="utf-8"))["format"]
            if not isinstance(version, int):
                raise ValueError(version)
        except (OSError, ValueError, KeyError, TypeError):
            raise DataError(f"{folder} is not a data set; make one with `kinema data run RECIPE`") from None
        if version > FORMAT:
            raise DataError(f"{folder} has format {version}; this version of Kinema reads up to {FORMAT}: update it")

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other runs out; raises DataError at once when there is one. A killed run holds no lock."""
        with only_run(self.folder):
            yield

    def has(self, table: Table) -> bool:
        """Whether the table was begun."""
        return (self._path(table) / "_versions").is_dir()

    def columns(self, table: Table) -> list[str]:
        """The columns of a table, in the order in which stages added them; none when it was not begun."""
        return list(self._open(table).schema.names) if self.has(table) else []

    def schema(self, table: Table) -> pa.Schema:
        """Names and types of a table's columns; raises DataError when it was not begun."""
        return self._open(table).schema

    def ensure(self, table: Table, schema: pa.Schema) -> None:
        """Begin a table, or add the columns that it lacks, empty."""
        if not self.has(table):
            lance.write_dataset(schema.empty_table(), str(self._path(table)), mode="create")
            return
        dataset = self._open(table)
        missing = [field for field in schema if field.name not in dataset.schema.names]
        if missing:
            dataset.add_columns(pa.schema(missing))

    def read(self, table: Table, columns: Sequence[str] | None = None, where: str | None = None) -> list[Row]:
        """Rows as dictionaries, in the order of the key; `where` is SQL over the columns.

        Raises DataError for a condition or a column that does not fit the table.
        """
        return sorted(self.scan(table, columns, where), key=lambda row: str(row[KEYS[table]]))

    def scan(self, table: Table, columns: Sequence[str] | None = None, where: str | None = None) -> Iterator[Row]:
        """The same rows in the order in which they lie, some at a time: for what need not hold them all."""
        for batch in self._batches(table, columns, where):
            yield from batch.to_pylist()

    def scan_arrays(
        self, table: Table, array: str, columns: Sequence[str], where: str | None = None
    ) -> Iterator[tuple[Row, NDArray[Any]]]:
        """The same, with the numbers of a column of lists as an array beside each row; none where it is empty."""
        for batch in self._batches(table, [*columns, array], where):
            lists = batch.column(array)
            for place, row in enumerate(batch.drop_columns([array]).to_pylist()):
                values = lists[place].values
                yield row, np.empty(0) if values is None else values.to_numpy()

    def _batches(self, table: Table, columns: Sequence[str] | None, where: str | None) -> Iterator[pa.RecordBatch]:
        if not self.has(table):
            return
        key = KEYS[table]
        dataset = self._open(table)
        wanted = None if columns is None else [key, *(name for name in columns if name != key)]
        try:
            yield from dataset.to_batches(columns=wanted, filter=where, batch_size=_ROWS, batch_readahead=1)
        except (ValueError, OSError, pa.ArrowInvalid) as error:
            why = _short(error)
            if "Did you mean" not in why:
                why += f"; columns: {', '.join(dataset.schema.names)}"
            raise DataError(f"cannot read {table} where {where!r}: {why}") from None

    def count(self, table: Table, where: str | None = None) -> int:
        """Number of rows."""
        return int(self._open(table).count_rows(filter=where)) if self.has(table) else 0

    def update(self, table: Table, rows: Sequence[Row], schema: pa.Schema) -> None:
        """Fill columns of rows that are there, by key, in one transaction; rows that are not there stay away."""
        if rows:
            merge = self._open(table).merge_insert(KEYS[table]).when_matched_update_all()
            merge.execute(self._batch(table, rows, schema))
            self._writes[table] += 1

    def upsert(self, table: Table, rows: Sequence[Row], schema: pa.Schema, scope: str | None = None) -> None:
        """Replace or add whole rows, by key, in one transaction; rows of `scope` (SQL) that are not given go away."""
        merge = self._open(table).merge_insert(KEYS[table]).when_matched_update_all().when_not_matched_insert_all()
        if scope is not None:
            merge = merge.when_not_matched_by_source_delete(scope)
        if rows or scope is not None:
            merge.execute(self._batch(table, rows, schema))
            self._writes[table] += 1

    def delete(self, table: Table, where: str) -> None:
        """Remove rows in one transaction."""
        if self.has(table):
            self._open(table).delete(where)

    def bytes_of(self, clip_id: str) -> bytes:
        """The encoded clip; raises DataError when the data set has none of that name."""
        rows = self.read("videos", ["data"], f"clip_id = {quoted(clip_id)}")
        if not rows:
            raise DataError(f"{self.folder} holds no clip {clip_id!r}; `kinema data query` lists them")
        return bytes(rows[0]["data"])

    def settle(self, *tables: Table) -> None:
        """Join the small pieces of tables, once there are many; call it under the lock, while this run reads none.

        Each write makes a piece, and the next one reads a part of all: memory and time would grow without end.
        """
        for table in tables:
            if self._writes[table] >= _MOST_PIECES:
                self._join(table, _ROWS_OF_PIECES[table][0]).cleanup_old_versions(older_than=_READERS)

    def _join(self, table: Table, rows: int) -> Any:
        self._writes[table] = 0
        dataset = self._open(table)
        dataset.optimize.compact_files(
            target_rows_per_fragment=rows,
            batch_size=_ROWS_AT_ONCE[table],
            compaction_mode="try_binary_copy",  # reading rows anew holds all clips of a piece, and as much again
            num_threads=1,
        )
        return dataset

    def tidy(self) -> None:
        """Join small pieces and remove what older versions and killed runs left; call it under the lock."""
        for table in KEYS:
            if self.has(table):
                dataset = self._join(table, _ROWS_OF_PIECES[table][1])
                dataset.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)
                for half_written in self._path(table).rglob(".tmp*"):  # Lance leaves them
                    half_written.unlink()

    def _batch(self, table: Table, rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
        key = KEYS[table]
        if key not in schema.names:
            schema = pa.schema([pa.field(key, pa.string()), *schema])
        try:
            return pa.Table.from_pylist(list(rows), schema=schema)
        except UnicodeEncodeError:  # half characters, as file names and escapes of JSON may hold
            return pa.Table.from_pylist([_whole_characters(row) for row in rows], schema=schema)

    def _path(self, table: Table) -> Path:
        return self.folder / f"{table}.lance"

    def _open(self, table: Table) -> Any:
        if not self.has(table):
            raise DataError(f"{self.folder} has no {table} yet; run the stage that makes them")
        return lance.dataset(str(self._path(table)))


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def outcome_columns(stage: str) -> pa.Schema:
    """The columns in which a stage says how it ended for a row: its lineage key, status, reason and attempts."""
    kinds = {"key": pa.string(), "status": pa.string(), "reason": pa.string(), "attempts": pa.int32()}
    return pa.schema([pa.field(f"{stage}_{name}", kind) for name, kind in kinds.items()])


def _whole_characters(value: Any) -> Any:
    """A value whose texts UTF-8 can hold: what is no character becomes a question mark."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {key: _whole_characters(item) for key, item in value.items()}
    return [_whole_characters(item) for item in value] if isinstance(value, list) else value


def _short(error: BaseException) -> str:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    line = re.sub(r"\.?, /\S+\.rs:\d+:\d+$", "", line)  # where in Lance's own code
    return re.sub(r"^(Invalid user input: )?(Schema error: )?", "", line)[:200]
