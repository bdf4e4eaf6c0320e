"""Every mark of a file, put on in the one order that works: watermark, label, AIGC key, signature."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinema.errors import SpecError, how_to_install
from kinema.media import Frame, write_video
from kinema.provenance import c2pa, label, watermark
from kinema.provenance.authority import Authority, open_authority

RECORD_KEY = "kinema"
"""The metadata that say how a file was made; the id of its marks is a hash of them."""
AIGC_KEY = "AIGC"
"""The key that GB 45438-2025 wants in the metadata."""
LABEL_KEY = "label"
"""The visible label that was burned in, so that the same file can be made again."""

PRODUCER_VARIABLE = "KINEMA_PRODUCER"
"""Names who offers the service, for the AIGC key: ASCII without spaces. Kinema unless set."""


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Which marks a file gets: all but the visible label, unless its owner turns them off."""

    watermark: bool = True
    """32 bits in the pictures, invisible."""
    label: str | None = None
    """A visible label: eu or cn."""
    aigc: bool = True
    """The AIGC key in the metadata."""
    signature: bool = True
    """A signed statement of origin (C2PA), in the formats that carry one."""

    def __post_init__(self) -> None:
        if self.label is not None:
            label.burn((), self.label)  # refuses what does not exist


UNMARKED = Marks(watermark=False, aigc=False, signature=False)
"""No mark at all."""


class Marker:
    """Marks one file: `frames` on the way to the writer, `metadata` beside them, `seal` when the file is whole.

    `metadata` are the file's own; their record decides the id of the marks, so that the same request gets the same
    marks. Raises SpecError for certificates and keys that do not fit.
    """

    def __init__(
        self,
        name: str,
        metadata: Mapping[str, str],
        marks: Marks | None = None,
        ingredients: Sequence[c2pa.Ingredient] = (),
    ) -> None:
        self.marks = Marks() if marks is None else marks
        self._ingredients = tuple(ingredients)
        self._record = metadata.get(RECORD_KEY)
        self.digest = record_digest(self._record or json.dumps(dict(metadata), sort_keys=True))
        self.metadata = {**metadata, **self._notes()}
        self._authority: Authority | None = None
        self.missing = self._find_authority(name)
        """What could not be marked and why, in one line; None when all is as asked for."""

    def frames(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Mark frames as they come, single or in chunks."""
        if self.marks.watermark:
            frames = watermark.embed(frames, watermark_id(self.digest))
        if self.marks.label is not None:
            frames = label.burn(frames, self.marks.label)
        return iter(frames)

    def seal(self, path: Path) -> None:
        """Sign the finished file where it stands; nothing to do where there is no signature."""
        if self._authority is not None:
            c2pa.sign(path, self._title, self._generation(), self._authority, self._ingredients)

    def _notes(self) -> dict[str, str]:
        notes = {}
        if self.marks.aigc:
            notes[AIGC_KEY] = aigc_text(self.digest)
        if self.marks.label is not None:
            notes[LABEL_KEY] = self.marks.label
        return notes

    def _find_authority(self, name: str) -> str | None:
        self._title = f"kinema-{self.digest[:8]}{Path(name).suffix.lower()}"
        if not self.marks.signature:
            return None
        if Path(name).suffix.lower() not in c2pa.SIGNED_ENDINGS:
            return f"{name} will not be signed: its format has no place for it; .mp4 has"
        if not c2pa.is_available():
            return f"{name} will not be signed: c2pa is not installed; {how_to_install('provenance')}"
        try:
            self._authority = open_authority()
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            return f"{name} will not be signed: {where}{error.strerror}; name a folder in $KINEMA_PROVENANCE"
        c2pa.try_out(self._authority)
        return None

    def _generation(self) -> dict[str, Any]:
        """What the signature says of how the file was made; of the prompt, no more than a hash."""
        told: dict[str, Any] = {"id": self.digest}
        if self.marks.watermark:
            told["watermark"] = {"method": watermark.KEY.decode(), "id": f"{watermark_id(self.digest):08x}"}
        if self.marks.label is not None:
            told["label"] = self.marks.label
        record = json.loads(self._record) if self._record else {}
        spec = record.get("spec", {})
        told |= {name: spec[name] for name in ("model", "seed", "steps", "width", "height", "frames") if name in spec}
        told |= {name: record[name] for name in ("version", "weights") if name in record}
        if "prompt" in spec:
            told["prompt_sha256"] = hashlib.sha256(spec["prompt"].encode()).hexdigest()
        return told


def write_marked(
    path: str | Path,
    frames: Iterable[Frame],
    fps: float,
    metadata: Mapping[str, str],
    marks: Marks | None = None,
    ingredients: Sequence[c2pa.Ingredient] = (),
) -> Marker:
    """Write frames as `kinema.media.write_video` does, with every mark; raises what that raises."""
    marker = Marker(Path(path).name, metadata, marks, ingredients)
    write_video(path, marker.frames(frames), fps, marker.metadata, seal=marker.seal)
    return marker


def record_digest(record: str) -> str:
    """Hash the record of a file: 64 hex digits, which its marks are named after."""
    return hashlib.sha256(record.encode()).hexdigest()


def watermark_id(digest: str) -> int:
    """The 32 bits of a record's hash that the watermark carries."""
    return int(digest[:8], 16)


def aigc_text(digest: str) -> str:
    """The value of the AIGC key: "1" says that the file is generated; ASCII without spaces, as the standard wants."""
    producer = os.environ.get(PRODUCER_VARIABLE) or "Kinema"
    if not producer.isascii() or not producer.isprintable() or " " in producer:
        raise SpecError(f"{PRODUCER_VARIABLE}={producer!r} does not fit; it takes ASCII without spaces")
    fields = {
        "Label": "1",
        "ContentProducer": producer,
        "ProduceID": digest[:32],
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
    return json.dumps(fields, separators=(",", ":"))
