"""Stage 7: the data set in other people's hands: its card, and WebDataset tars out and in."""

import io
import json
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kinema.data.store import Store
from kinema.errors import DataError

KEPT = "drop_reason IS NULL AND split_reason IS NULL"
"""The condition of clips that are in the data set."""

_ROW_COLUMNS = (
    "uri", "start_s", "end_s", "num_frames", "width", "height", "fps", "caption", "captions", "caption_source",
    "camera", "motion", "crop_left", "crop_top", "crop_right", "crop_bottom",
)  # fmt: skip


def statistics(store: Store) -> dict[str, Any]:
    """Counts, hours, licences, reasons and histograms of a data set, as plain values."""
    files, clips = store.read("files"), store.read("clips", _lean(store))
    kept = [clip for clip in clips if not clip.get("drop_reason") and not clip["split_reason"]]
    license_of = {row["uri"]: row["license"] or "not stated" for row in files}
    seconds = {clip["clip_id"]: clip["end_s"] - clip["start_s"] for clip in clips}
    hours_by_license: dict[str, float] = defaultdict(float)
    for clip in kept:
        hours_by_license[license_of.get(clip["uri"], "not stated")] += seconds[clip["clip_id"]] / 3600
    dropped = [clip.get("drop_reason") or clip["split_reason"] for clip in clips]
    return {
        "files": len(files),
        "files_by_status": dict(Counter(_file_status(row) for row in files)),
        "clips": len(clips),
        "kept": len(kept),
        "hours": sum(seconds[clip["clip_id"]] for clip in kept) / 3600,
        "hours_by_license": dict(hours_by_license),
        "dropped_by_reason": dict(Counter(reason_kind(reason) for reason in dropped if reason)),
        "captioned": sum(bool(clip.get("caption")) for clip in kept),
        "caption_cost": sum(clip.get("caption_cost") or 0.0 for clip in kept),
        "encoded": store.count("latents"),
        "seconds": histogram([seconds[clip["clip_id"]] for clip in kept]),
        "shorter_side": histogram([min(clip["width"], clip["height"]) for clip in kept]),
        "motion": histogram([clip["motion"] for clip in kept if clip.get("motion") is not None]),
        "camera": dict(Counter(clip["camera"] for clip in kept if clip.get("camera"))),
    }


def _lean(store: Store) -> list[str]:
    """The columns of clips but for the large ones."""
    return [name for name in store.columns("clips") if name != "video_hash"]


def histogram(values: Sequence[float], bins: int = 8) -> list[tuple[float, float, int]]:
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
    kept = store.read("clips", _lean(store), KEPT if "drop_reason" in store.columns("clips") else None)
    shown = [row for row in kept if row.get("caption")][:samples]
    if shown:
        lines += ["", "## Samples", "", *(f"- `{row['clip_id']}` {row['caption']}" for row in shown)]
    return "\n".join(lines) + "\n"


def export_tars(store: Store, folder: Path, where: str | None = None, per_tar: int = 1000) -> list[Path]:
    """Write kept clips as WebDataset tars: NAME.mp4, NAME.txt (caption) and NAME.json (the row) for each clip.

    `where` narrows them by SQL. The same data set gives the same bytes. A tar appears when it is whole.
    """
    columns = set(store.columns("clips"))
    condition = KEPT if "drop_reason" in columns else "split_reason IS NULL"
    clips = store.read("clips", [name for name in _ROW_COLUMNS if name in columns],
                       f"({condition}) AND ({where})" if where else condition)  # fmt: skip
    if not clips:
        raise DataError(f"{store.folder} has no clip to export{f' where {where}' if where else ''}")
    licenses = {row["uri"]: (row["license"], row["source"]) for row in store.read("files", ["license", "source"])}
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for start in range(0, len(clips), per_tar):
        path = folder / f"{start // per_tar:06d}.tar"
        partial = path.with_name(path.name + ".partial")
        with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
            for clip in clips[start : start + per_tar]:
                license_, source = licenses.get(clip["uri"], (None, None))
                facts = {**clip, "license": license_, "source": source}
                _add(tar, f"{clip['clip_id']}.json", json.dumps(facts, ensure_ascii=False, sort_keys=True).encode())
                _add(tar, f"{clip['clip_id']}.mp4", store.bytes_of(clip["clip_id"]))
                _add(tar, f"{clip['clip_id']}.txt", (clip.get("caption") or "").encode())
        partial.replace(path)
        paths.append(path)
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
