"""Captions that people wrote, from the files that stand beside the videos."""

import csv
import errno
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from kinema.errors import DataError

_TEXT_KEYS = ("caption", "text", "prompt", "description", "name")
_FILE_KEYS = ("file_name", "file", "path", "video", "filename")
_LISTS = ("metadata.jsonl", "metadata.csv", "metadata.json", "captions.jsonl", "captions.csv", "captions.json")
_CUE = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{1,3})\s*-->\s*(\d+):(\d\d):(\d\d)[,.](\d{1,3})")


def read_sidecars(path: Path, span: tuple[float, float] | None = None) -> list[str]:
    """The captions of a video file, the first being the main one; `span` (seconds) picks the cues of subtitles.

    Looked at in this order: NAME.txt, NAME.json, NAME.srt, then a list (metadata or captions, as jsonl, json or csv) of
    the folder, and of the one above, whose rows name the file. Raises DataError for a sidecar that cannot be read.
    """
    try:
        for ending, read in ((".txt", _plain), (".json", _json)):
            beside = path.with_suffix(ending)
            if _is_file(beside) and (found := read(beside)):
                return found
        if _is_file(beside := path.with_suffix(".srt")) and (cues := _cues(beside, span)):
            return [cues]
        for folder, name in itertools.product(path.parents[:2], _LISTS):
            if (folder / name).is_file() and (found := _listed(folder / name, path)):
                return found
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"the captions beside {path.name} cannot be read: {error}") from error
    return []


def _is_file(path: Path) -> bool:
    """Whether there is such a file; there is none whose name the file system does not take."""
    try:
        return path.is_file()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def _plain(path: Path) -> list[str]:
    text = " ".join(path.read_text(encoding="utf-8-sig").split())
    return [text] if text else []


def _json(path: Path) -> list[str]:
    return _texts(json.loads(path.read_text(encoding="utf-8-sig")))


def _texts(data: Any) -> list[str]:
    """The captions in a text, a list of texts, or an object with one of the usual keys."""
    if isinstance(data, str):
        return [data.strip()] if data.strip() else []
    if isinstance(data, list):
        return [text for item in data if isinstance(item, str) for text in _texts(item)]
    if isinstance(data, dict):
        for key in (*(f"{key}s" for key in _TEXT_KEYS), *_TEXT_KEYS):
            if data.get(key):
                return _texts(data[key])
    return []


def _cues(path: Path, span: tuple[float, float] | None) -> str:
    """The subtitles shown for more than half of their time within the span, in order, as one text."""
    spoken = []
    for block in re.split(r"\n\s*\n", path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")):
        match = _CUE.search(block)
        if match is None:
            continue
        times = [int(part) for part in match.groups()]
        start, end = (60 * (60 * h + m) + s + ms / 1000 for h, m, s, ms in (times[:4], times[4:]))
        inside = min(end, span[1]) - max(start, span[0]) if span else end - start
        if inside > 0.5 * (end - start):
            spoken.append(re.sub(r"<[^>]+>", "", " ".join(block[match.end() :].split())))
    return " ".join(spoken)


def _listed(path: Path, video: Path) -> list[str]:
    state = path.stat()
    row = _by_file(path, state.st_mtime_ns, state.st_size).get(video)
    return [] if row is None else _texts(row)


@lru_cache(maxsize=8)
def _by_file(path: Path, changed_ns: int, size_bytes: int) -> dict[Path, dict[str, Any]]:  # noqa: ARG001 - what it was
    """The rows of a list by the files that they name, read once as long as the list stays what it was."""
    found: dict[Path, dict[str, Any]] = {}
    for row in _rows(path):
        named = next((str(row[key]) for key in _FILE_KEYS if row.get(key)), None)
        if named is not None:
            found.setdefault(path.parent / named, row)
    return found


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    text = path.read_text(encoding="utf-8-sig")
    rows: Iterable[Any]
    if path.suffix == ".csv":
        rows = csv.DictReader(text.splitlines())
    elif path.suffix == ".jsonl":
        rows = (json.loads(line) for line in text.splitlines() if line.strip())
    else:
        rows = json.loads(text)
    return (row for row in rows if isinstance(row, dict))
