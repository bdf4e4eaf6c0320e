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
from kinema.data.store import MARK, outcome_columns
from kinema.errors import DataError
from kinema.scratch import scratch_folder

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
    """One input: its address, and a stamp (size and time, or the store's tag) that changes when its bytes may have.

    The stamp is empty where nobody could be asked for it.
    """

    uri: str
    stamp: str
    license: str | None
    source: str


def list_inputs(sources: Iterable[Source]) -> Iterator[Found]:
    """Yield the files of all sources, in the order of their names, each address once.

    Data sets that lie among them are left out. Raises DataError for a source that does not exist.
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
    here = local_path(uri)
    if here is not None:
        yield here
        return
    with scratch_folder() as folder:
        path = folder / f"input{Path(urlsplit(uri).path).suffix}"
        with _as_os_error():
            system, place = fsspec.core.url_to_fs(uri)
            system.get_file(place, str(path))
        yield path


def local_uri(path: Path) -> str:
    """The address of a local file: its path, or a percent-encoded `file://` where the name is not UTF-8."""
    name = os.fsencode(path)
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return "file://" + quote_from_bytes(name)


def local_path(uri: str) -> Path | None:
    """The path of a local file's address; None for one that lies elsewhere."""
    if uri.startswith("file://"):
        return Path(os.fsdecode(unquote_to_bytes(uri[7:])))
    return None if "://" in uri else Path(uri)


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    """Clients of buckets and of the web have errors of their own for what is the network's doing."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(str(error) or type(error).__name__) from error


def _list(place: str) -> Iterator[tuple[str, str]]:
    path = local_path(place)
    if path is None:
        yield from _list_remote(place)
    elif path.is_file() and path.suffix == ".urls":
        yield from _list_addresses(path)
    elif path.is_file():
        yield local_uri(path.absolute()), _stamp(path)
    elif path.is_dir():
        yield from ((local_uri(child), _stamp(child)) for child in _walk(path.absolute()))
    else:
        raise DataError(f"{place} does not exist; a source is a folder, a file, s3://..., https://... or a .urls file")


def _walk(folder: Path) -> Iterator[Path]:
    """The files below a folder, but for what is hidden, what stands beside videos, and data sets."""
    children = sorted(folder.rglob("*"), key=os.fsencode)
    sets = {child.parent for child in children if child.name == MARK}
    for child in children:
        hidden = any(part.startswith(".") for part in child.relative_to(folder).parts)
        if child.is_file() and not hidden and child.suffix.lower() not in SIDECARS and sets.isdisjoint(child.parents):
            yield child


def _list_addresses(path: Path) -> Iterator[tuple[str, str]]:
    """The files of a list of addresses; one that nobody answers for is listed, and fails by itself when it is read.

    Raises DataError for a list that is no text, or that names a list.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no list of addresses, one in a line, in UTF-8: {error}") from error
    for line in lines:
        if not line or line.startswith("#"):
            continue
        if line.endswith(".urls"):
            raise DataError(f"{path} names {line}; a list of addresses cannot hold another, make it a source")
        try:
            yield from _list(line)
        except DataError:
            yield line, ""


def _list_remote(place: str) -> Iterator[tuple[str, str]]:
    try:
        with _as_os_error():
            system, root = fsspec.core.url_to_fs(place)
            is_web = "http" in system.protocol
            details = {place: system.info(root)} if is_web else system.find(root, detail=True)
    except FileNotFoundError as error:
        why = error.__cause__  # fsspec says so of a server that nobody reaches, too
        is_gone = why is None or getattr(why, "status", None) in (404, 410)
        raise DataError(f"{place} {'does not exist' if is_gone else f'cannot be read: {why}'}") from error
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error}") from error
    if is_web:
        yield place, str(details[place].get("ETag") or details[place].get("size"))
        return
    for name, entry in sorted(details.items()):
        if Path(name).suffix.lower() not in SIDECARS:
            yield system.unstrip_protocol(name), str(entry.get("ETag") or entry.get("created") or entry.get("size"))


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"
