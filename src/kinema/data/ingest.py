"""Stage 1: find the files of folders, buckets and URLs, tell copies by their bytes, and note what each one is."""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

import fsspec
import pyarrow as pa

from kinema.data.probe import COLUMNS as PROBED
from kinema.data.probe import probe_file
from kinema.data.scratch import scratch_folder
from kinema.data.store import outcome_columns
from kinema.errors import DataError

VERSION = 1
"""Raised when the same file would give other values."""

IDENTITY = pa.schema(
    [
        pa.field("uri", pa.string()),
        pa.field("stamp", pa.string()),
        pa.field("num_bytes", pa.int64()),
        pa.field("file_hash", pa.string()),
        pa.field("duplicate_of", pa.string()),
        pa.field("license", pa.string()),
        pa.field("source", pa.string()),
    ]
)
COLUMNS = pa.schema([*IDENTITY, *PROBED, *outcome_columns("ingest")])
"""The columns of the table of files."""

SIDECARS = (".txt", ".json", ".jsonl", ".csv", ".tsv", ".srt", ".vtt", ".md", ".toml", ".yaml", ".yml", ".html", ".py")
"""Endings of files that stand beside videos and are none."""

_CHUNK = 2**20


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where footage comes from, and what is known about all of it."""

    path: str
    """A folder or file, an fsspec address (s3://bucket/folder, https://host/clip.mp4), or a .urls file of addresses."""
    license: str | None = None
    """Licence of everything below `path`, as text that the card of the data set shows."""
    name: str | None = None
    """A name for the source; its path by default."""


@dataclass(frozen=True)
class Found:
    """One input: its address, and a stamp (size and time, or the store's tag) that changes when its bytes may have."""

    uri: str
    stamp: str
    license: str | None
    source: str


def list_inputs(sources: Iterable[Source]) -> Iterator[Found]:
    """Yield the files of all sources, in the order of their names, each address once.

    Raises DataError for a source that does not exist.
    """
    seen: set[str] = set()
    for source in sources:
        for uri, stamp in _list(source.path):
            if uri not in seen:
                seen.add(uri)
                yield Found(uri, stamp, source.license, source.name or source.path)


def ingest_file(found: Found) -> dict[str, Any]:
    """Hash and probe one input: the columns of its row. Raises MediaError or DataError for what is no video."""
    with local_copy(found.uri) as path:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        row = {
            "uri": found.uri,
            "stamp": found.stamp,
            "num_bytes": path.stat().st_size,
            "file_hash": digest.hexdigest(),
            "license": found.license,
            "source": found.source,
        }
        if not row["num_bytes"]:
            raise DataError("the file is empty")
        return {**row, **probe_file(path)}


def mark_copies(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give `duplicate_of` for all readable files: the first address, by name, that holds the same bytes."""
    first: dict[str, str] = {}
    marked = []
    for row in sorted(rows, key=lambda row: str(row["uri"])):
        original = first.setdefault(row["file_hash"], row["uri"]) if row["file_hash"] else row["uri"]
        marked.append({"uri": row["uri"], "duplicate_of": None if original == row["uri"] else original})
    return marked


@contextlib.contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """Give a file as a local path; what lies elsewhere is fetched, and removed again at the end."""
    if not _is_remote(uri):
        yield _local_path(uri)
        return
    system, place = fsspec.core.url_to_fs(uri)
    with scratch_folder() as folder:
        path = folder / f"input{Path(urlsplit(uri).path).suffix}"
        system.get_file(place, str(path))
        yield path


def local_uri(path: Path) -> str:
    """The address of a local file: its path, or a percent-encoded `file://` where the name is not UTF-8."""
    name = os.fsencode(path)
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return "file://" + quote_from_bytes(name)


def _local_path(uri: str) -> Path:
    return Path(os.fsdecode(unquote_to_bytes(uri[7:]))) if uri.startswith("file://") else Path(uri)


def _is_remote(uri: str) -> bool:
    return "://" in uri and not uri.startswith("file://")


def _list(place: str) -> Iterator[tuple[str, str]]:
    if _is_remote(place):
        yield from _list_remote(place)
        return
    path = _local_path(place)
    if path.is_file() and path.suffix == ".urls":
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip() and not line.startswith("#"):
                yield from _list(line.strip())
    elif path.is_file():
        yield local_uri(path.absolute()), _stamp(path)
    elif path.is_dir():
        for child in sorted(path.absolute().rglob("*"), key=os.fsencode):
            hidden = any(part.startswith(".") for part in child.relative_to(path.absolute()).parts)
            if child.is_file() and not hidden and child.suffix.lower() not in SIDECARS:
                yield local_uri(child), _stamp(child)
    else:
        raise DataError(f"{place} does not exist; a source is a folder, a file, s3://..., https://... or a .urls file")


def _list_remote(place: str) -> Iterator[tuple[str, str]]:
    try:
        system, root = fsspec.core.url_to_fs(place)
        if system.protocol in ("http", "https") or "http" in system.protocol:
            yield place, str(system.info(root).get("ETag") or system.info(root).get("size"))
            return
        details = system.find(root, detail=True)
    except FileNotFoundError as error:
        raise DataError(f"{place} does not exist") from error
    except (ImportError, ValueError) as error:
        raise DataError(f"{place} cannot be read: {error}") from error
    for name, entry in sorted(details.items()):
        if Path(name).suffix.lower() not in SIDECARS:
            yield system.unstrip_protocol(name), str(entry.get("ETag") or entry.get("created") or entry.get("size"))


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"
