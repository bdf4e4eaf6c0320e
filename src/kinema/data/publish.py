"""Stage 7: the data set in other people's hands: its card, and WebDataset tars out and in."""

import heapq
import io
import json
import math
import re
import tarfile
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from kinema.data.store import Row, Store, Table
from kinema.errors import DataError

KEPT = "drop_reason IS NULL AND split_reason IS NULL"
"""The condition of clips that are in the data set."""

_FILE_COLUMNS = ("license", "duplicate_of", "ingest_status", "split_status")
_CLIP_COLUMNS = (
    "uri", "start_s", "end_s", "width", "height", "motion", "camera", "split_reason", "drop_reason", "caption",
    "caption_cost",
)  # fmt: skip
_ROW_COLUMNS = (
    "uri", "start_s", "end_s", "num_frames", "width", "height", "fps", "caption", "captions", "caption_source",
    "camera", "motion", "crop_left", "crop_top", "crop_right", "crop_bottom", "aesthetic", "nsfw",
)  # fmt: skip


def statistics(store: Store) -> dict[str, Any]:
    """Counts, hours, licences, reasons and histograms of a data set, as plain values.

    What is held of a clip while all are counted is a few numbers; results do not depend on the order of rows.
    """
    statuses: Counter[str] = Counter()
    licenses = _Licenses()
    for file in store.scan("files", _there(store, "files", _FILE_COLUMNS)):
        statuses[_file_status(file)] += 1
        licenses.add(file["uri"], file["license"])
    reasons: Counter[str] = Counter()
    cameras: Counter[str] = Counter()
    seconds, sides, motions, costs, owners = array("d"), array("l"), array("d"), array("d"), array("q")
    captioned = 0
    for clip in store.scan("clips", _there(store, "clips", _CLIP_COLUMNS)):
        if reason := clip.get("drop_reason") or clip["split_reason"]:
            reasons[reason_kind(reason)] += 1
            continue
        owners.append(hash(clip["uri"]))
        seconds.append(clip["end_s"] - clip["start_s"])
        sides.append(min(clip["width"], clip["height"]))
        captioned += bool(clip.get("caption"))
        costs.append(clip.get("caption_cost") or 0.0)
        if clip.get("motion") is not None:
            motions.append(clip["motion"])
        if clip.get("camera"):
            cameras[clip["camera"]] += 1
    return {
        "files": statuses.total(),
        "files_by_status": _by_count(statuses),
        "clips": len(seconds) + reasons.total(),
        "kept": len(seconds),
        "hours": math.fsum(seconds) / 3600,
        "hours_by_license": licenses.hours(owners, seconds),
        "dropped_by_reason": _by_count(reasons),
        "captioned": captioned,
        "caption_cost": math.fsum(costs),
        "encoded": store.count("latents"),
        "seconds": histogram(seconds),
        "shorter_side": histogram(sides),
        "motion": histogram(motions),
        "camera": _by_count(cameras),
    }


class _Licenses:
    """Which licence the clips of each file come under; sixteen bytes a file."""

    def __init__(self) -> None:
        self._owners, self._numbers = array("q"), array("q")
        self._names: dict[str, int] = {}

    def add(self, uri: str, license: str | None) -> None:  # noqa: A002 - the name of the column
        """Note the licence of a file."""
        self._owners.append(hash(uri))
        self._numbers.append(self._names.setdefault(license or "not stated", len(self._names)))

    def hours(self, owners: Sequence[int], seconds: Sequence[float]) -> dict[str, float]:
        """Hours by licence, of clips whose addresses hash to `owners`."""
        if not len(owners):
            return {}
        order = np.argsort(self._owners)
        places = np.searchsorted(np.array(self._owners)[order], np.array(owners))
        numbers = np.array(self._numbers)[order][places]
        lengths = np.array(seconds)
        hours = {name: math.fsum(lengths[numbers == number]) / 3600 for name, number in self._names.items()}
        return {name: value for name, value in sorted(hours.items()) if value}


def _there(store: Store, table: Table, columns: Sequence[str]) -> list[str]:
    """Those of the columns that the table has so far."""
    there = set(store.columns(table))
    return [name for name in columns if name in there]


def _by_count(counts: Counter[str]) -> dict[str, int]:
    """The most frequent first; of equals, by name."""
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def histogram(values: Collection[float], bins: int = 8) -> list[tuple[float, float, int]]:
    """Counts between even steps from the least to the largest value: (from, to, count)."""
    if not values:
        return []
    low, high = min(values), max(values)
    if low == high:
        return [(low, high, len(values))]
    counts = Counter(min(bins - 1, int((value - low) / (high - low) * bins)) for value in values)
    step = (high - low) / bins
    return [(low + k * step, low + (k + 1) * step, counts[k]) for k in range(bins)]


def card(store: Store, samples: int = 5) -> str:
    """The data set's card, as Markdown."""
    facts = statistics(store)
    lines = [
        f"# {store.folder.name}",
        "",
        f"{facts['kept']} clips, {facts['hours']:.2f} hours, from {facts['files']} files; "
        f"{facts['captioned']} with captions, {facts['encoded']} encoded.",
        *_table("Licences", "hours", {name: f"{hours:.3f}" for name, hours in facts["hours_by_license"].items()}),
        *_table("Files", "count", facts["files_by_status"]),
        *_table("Dropped clips", "count", facts["dropped_by_reason"]),
        *_table("Camera", "clips", facts["camera"]),
    ]
    for title, name in (
        ("Length in seconds", "seconds"),
        ("Shorter side in pixels", "shorter_side"),
        ("Motion", "motion"),
    ):
        lines += _table(title, "clips", {f"{low:.3g} to {high:.3g}": count for low, high, count in facts[name]})
    shown = _samples(store, samples)
    if shown:
        lines += ["", "## Samples", "", *(f"- `{row['clip_id']}` {row['caption']}" for row in shown)]
    return "\n".join(lines) + "\n"


def _samples(store: Store, count: int) -> list[Row]:
    """The first clips by name that are kept and have a caption."""
    if not {"caption", "drop_reason"} <= set(store.columns("clips")):
        return []
    rows = (row for row in store.scan("clips", ["caption"], KEPT) if row["caption"])
    return heapq.nsmallest(count, rows, key=itemgetter("clip_id"))


def export_tars(store: Store, folder: Path, where: str | None = None, per_tar: int = 1000) -> list[Path]:
    """Write kept clips as WebDataset tars: NAME.mp4, NAME.txt (caption) and NAME.json (the row) for each clip.

    `where` narrows them by SQL. The same data set gives the same bytes. A tar appears when it is whole.

    Raises DataError where there is no clip, for a folder that is a file or is called one, and for one that holds tars
    of another export.
    """
    if folder.suffix == ".tar" or folder.is_file():
        raise DataError(f"{folder} is to be a folder, in which tars are written; name one, such as {folder.stem}-tars")
    columns = set(store.columns("clips"))
    condition = KEPT if "drop_reason" in columns else "split_reason IS NULL"
    clips = store.read("clips", [name for name in _ROW_COLUMNS if name in columns],
                       f"({condition}) AND ({where})" if where else condition)  # fmt: skip
    if not clips:
        raise DataError(f"{store.folder} has no clip to export{f' where {where}' if where else ''}")
    licenses = {row["uri"]: (row["license"], row["source"]) for row in store.read("files", ["license", "source"])}
    starts = range(0, len(clips), per_tar)
    paths = [folder / f"{number:06d}.tar" for number in range(len(starts))]
    others = sorted(set(folder.glob("*.tar")) - set(paths))
    if others:
        raise DataError(f"{folder} holds {others[0].name}, of another export; name an empty folder, or remove its tars")
    folder.mkdir(parents=True, exist_ok=True)
    for start, path in zip(starts, paths, strict=True):
        partial = path.with_name(path.name + ".partial")
        with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
            for clip in clips[start : start + per_tar]:
                license_, source = licenses.get(clip["uri"], (None, None))
                facts = {**clip, "license": license_, "source": source}
                _add(tar, f"{clip['clip_id']}.json", json.dumps(facts, ensure_ascii=False, sort_keys=True).encode())
                _add(tar, f"{clip['clip_id']}.mp4", store.bytes_of(clip["clip_id"]))
                _add(tar, f"{clip['clip_id']}.txt", (clip.get("caption") or "").encode())
        partial.replace(path)
    return paths


def import_tars(paths: Sequence[Path], folder: Path) -> int:
    """Unpack WebDataset tars into a folder that `ingest` reads: videos, and captions beside them; returns how many.

    Raises DataError for a tar that is broken or whose names lead out of the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    videos = 0
    for path in paths:
        try:
            for name, content in _members(path):
                (folder / f"{path.stem}-{name}").write_bytes(content)
                videos += not name.endswith((".txt", ".json"))
        except (tarfile.TarError, OSError, EOFError) as error:
            raise DataError(f"{path} cannot be read as a tar of clips: {error}") from error
    return videos


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        for member in tar:
            if not member.isfile():
                continue
            name = member.name.removeprefix("./")
            if name.startswith("/") or ".." in Path(name).parts:
                raise DataError(f"{path} holds the name {member.name!r}, which leads out of the folder")
            content = tar.extractfile(member)
            assert content is not None
            yield name.replace("/", "-"), content.read()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _file_status(row: dict[str, Any]) -> str:
    if row["duplicate_of"]:
        return "copy of another"
    if row["ingest_status"] != "done":
        return f"{row['ingest_status'] or 'not read'}"
    return "split" if row.get("split_status") == "done" else f"split: {row.get('split_status') or 'not yet'}"


def reason_kind(reason: str) -> str:
    """A reason without what it says of one clip alone: what reasons are counted by, such as `motion below 0.001`."""
    if reason.startswith("looks like"):
        return "looks like another"
    return re.sub(r" \S+ is (above|below) ", r" \1 ", reason.split(":")[0])


def reason_pattern(kind: str) -> str:
    """What the reasons of a kind are like, in SQL."""
    if kind == "looks like another":
        return "looks like %"
    measured, count = re.subn(r" (above|below) (\S+)$", r" % is \1 \2", escaped(kind))
    return measured if count else f"{escaped(kind)}%"


def escaped(text: str) -> str:
    """Text for LIKE, in which no letter stands for others."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _table(title: str, unit: str, rows: dict[str, Any]) -> list[str]:
    if not rows:
        return []
    body = [f"| {name} | {value} |" for name, value in sorted(rows.items())]
    return ["", f"## {title}", "", f"| | {unit} |", "|---|---|", *body]


def differences(before: Store, after: Store) -> list[str]:
    """Say in lines how the clips of two data sets differ: clips of one only, and columns whose values changed."""
    old = {row["clip_id"]: row for row in before.read("clips")}
    new = {row["clip_id"]: row for row in after.read("clips")}
    lines = [f"- {name} {old[name]['uri']}" for name in sorted(old.keys() - new.keys())]
    lines += [f"+ {name} {new[name]['uri']}" for name in sorted(new.keys() - old.keys())]
    for name in sorted(old.keys() & new.keys()):
        columns = sorted(old[name].keys() | new[name].keys())
        changed = [each for each in columns if old[name].get(each) != new[name].get(each)]
        lines += [f"~ {name} {each}: {old[name].get(each)!r} -> {new[name].get(each)!r}" for each in changed]
    return lines
