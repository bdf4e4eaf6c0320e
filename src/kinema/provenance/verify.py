"""Which marks a file carries, and what each of them rests on."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kinema.errors import MediaError, how_to_install
from kinema.media import Frame, iter_frames, read_metadata
from kinema.provenance import c2pa, watermark
from kinema.provenance.mark import AIGC_KEY, LABEL_KEY, RECORD_KEY, record_digest, watermark_id

Outcome = Literal["found", "not found", "broken", "not checked"]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One kind of mark: whether it is there, what it says, and what that rests on."""

    kind: Literal["signature", "watermark", "AIGC key", "record"]
    outcome: Outcome
    says: str
    """What was found, in one line."""
    rests_on: str
    """Why it may be believed, and why not; empty when nothing was found."""
    details: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found in a file."""

    path: Path
    marks: tuple[Mark, ...]
    contradictions: tuple[str, ...]
    """Marks that belong to something else than the rest of the file."""

    @property
    def is_marked(self) -> bool:
        """Whether any mark says that the file is generated."""
        return any(mark.outcome == "found" for mark in self.marks)

    @property
    def is_broken(self) -> bool:
        """Whether a mark no longer holds, or contradicts another one."""
        return bool(self.contradictions) or any(mark.outcome == "broken" for mark in self.marks)


def verify(path: str | Path, anchors: str | None = None, max_frames: int | None = None) -> Verification:
    """Look for every mark in a video or picture.

    `anchors` are certificates to trust, in PEM, in place of this installation's. Raises MediaError for a file that
    cannot be read; one that breaks off is judged by what can be read of it.
    """
    path = Path(path)
    metadata = read_metadata(path)
    signature = _signature(path, anchors)
    finding, num_frames, problem = _look(path, max_frames)
    record = metadata.get(RECORD_KEY)
    expected = watermark_id(record_digest(record)) if record else None
    marks = (
        signature,
        _watermark(finding, num_frames, problem, expected),
        _aigc(metadata.get(AIGC_KEY.lower())),
        _record(record, metadata.get(LABEL_KEY)),
    )
    return Verification(path=path, marks=marks, contradictions=tuple(_contradictions(signature, finding, expected)))


def _signature(path: Path, anchors: str | None) -> Mark:
    if not c2pa.is_available():
        says = f"not checked: c2pa is not installed; {how_to_install('provenance')}"
        return Mark(kind="signature", outcome="not checked", says=says, rests_on="", details={})
    found = c2pa.read(path, anchors)
    if found is None:
        return Mark(kind="signature", outcome="not found", says="none", rests_on="", details={})
    details = {name: getattr(found, name) for name in c2pa.Signature.__dataclass_fields__}
    if found.state == "invalid":
        says = f"broken: {', '.join(found.problems) or 'it does not hold'}"
        rests_on = "the file was changed after it was signed, or the signature was forged; nothing that it says counts"
        return Mark(kind="signature", outcome="broken", says=says, rests_on=rests_on, details=details)
    source = "made by a trained model" if found.source_type == c2pa.MADE_BY_MODEL else "origin not said to be a model"
    parts = [source, found.generator, f"signed {found.signed_at}" if found.signed_at else None]
    if found.ingredients:
        named = zip(found.ingredients, found.origins, strict=True)
        parts.append("out of " + ", ".join(f"{title} ({origin})" if origin else title for title, origin in named))
    who = f"{found.state}: {found.issuer or 'nobody named'}"
    rests_on = (
        "a certificate that is trusted here, over every byte of the file"
        if found.state == "trusted"
        else "a certificate that nobody here vouches for: the file is as it was signed, but anyone can have signed it"
    )
    says = "; ".join([who, *filter(None, parts)])
    return Mark(kind="signature", outcome="found", says=says, rests_on=rests_on, details=details)


def _look(path: Path, max_frames: int | None) -> tuple[watermark.Finding | None, int, str | None]:
    """Look for the watermark in all frames that can be read: what was found, in how many, and where it broke off."""
    count, problem = 0, None

    def frames() -> Iterator[Frame]:
        nonlocal count, problem
        shape = None
        try:
            for frame in iter_frames(path):
                shape = shape or frame.shape
                if frame.shape == shape:
                    count += 1
                    yield frame
                if count == max_frames:
                    return
        except MediaError as error:
            if count == 0:
                raise
            problem = str(error)

    finding = watermark.detect(frames())
    if finding is None:
        raise MediaError(f"{path} holds no frame")
    return finding, count, problem


def _watermark(finding: watermark.Finding | None, num_frames: int, problem: str | None, expected: int | None) -> Mark:
    assert finding is not None
    scale = f"{finding.statistic:.1f}, where {watermark.THRESHOLD:.1f} is needed and chance gives about 7"
    count = "one frame" if num_frames == 1 else f"{num_frames} frames"
    where = f" in {count}" + (f", after which {problem}" if problem else "")
    details = {
        "statistic": round(finding.statistic, 2),
        "threshold": round(watermark.THRESHOLD, 2),
        "false_positive": watermark.FALSE_POSITIVE,
        "id": None if finding.payload is None else f"{finding.payload:08x}",
        "belongs_to_record": None if finding.payload is None or expected is None else finding.payload == expected,
        "frames": num_frames,
    }
    if not finding.is_marked:
        says, outcome, rests_on = f"none ({scale}{where})", "not found", ""
    else:
        named = "its id cannot be read" if finding.payload is None else f"id {finding.payload:08x}"
        belongs = ", which belongs to the record in the file" if details["belongs_to_record"] else ""
        says, outcome = f"{named}{belongs} ({scale}{where})", "found"
        rests_on = (
            "the pictures themselves, with one error in a million clips; the method and its key are public, "
            "so anyone can have put it there"
        )
    return Mark(kind="watermark", outcome=outcome, says=says, rests_on=rests_on, details=details)  # type: ignore[arg-type]


def _aigc(text: str | None) -> Mark:
    if text is None:
        return Mark(kind="AIGC key", outcome="not found", says="none", rests_on="", details={})
    try:
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise TypeError
    except (ValueError, TypeError, RecursionError):
        says = "broken: its value is no JSON object"
        return Mark(kind="AIGC key", outcome="broken", says=says, rests_on="", details={"text": text[:200]})
    labels = {"1": "generated", "2": "may be generated", "3": "suspected to be generated"}
    said = str(fields.get("Label", ""))[:20]
    says = (
        f"Label {said or '?'} ({labels.get(said, 'unknown')}), producer {str(fields.get('ContentProducer', '?'))[:80]}"
    )
    rests_on = "nothing but the file's word: anyone can write it, change it or leave it out"
    return Mark(kind="AIGC key", outcome="found", says=says, rests_on=rests_on, details=fields)


def _record(record: str | None, label: str | None) -> Mark:
    """The request that the file says it was made from."""
    if record is None:
        return Mark(kind="record", outcome="not found", says="none", rests_on="", details={})
    try:
        fields = json.loads(record)
        spec = fields["spec"]
        says = f"{spec['model']}, seed {spec['seed']}, Kinema {fields['version']}: {str(spec['prompt'])[:200]!r}"
    except (ValueError, TypeError, KeyError, RecursionError):
        says = "broken: this version cannot read it"
        return Mark(kind="record", outcome="broken", says=says, rests_on="", details={})
    rests_on = "the file's word, which the signature covers where one holds; kinema generate --from makes it again"
    details = {**fields, **({"visible_label": label} if label else {})}
    return Mark(kind="record", outcome="found", says=says, rests_on=rests_on, details=details)


def _contradictions(signature: Mark, finding: watermark.Finding | None, expected: int | None) -> Iterator[str]:
    found = None if finding is None else finding.payload
    if found is None:
        return
    if expected is not None and found != expected:
        yield f"the watermark {found:08x} belongs to another record than the one in the file, {expected:08x}"
    told = ((signature.details.get("generation") or {}).get("watermark") or {}).get("id")
    if signature.outcome == "found" and told is not None and told != f"{found:08x}":
        yield f"the watermark {found:08x} is not the one that was signed, {told}"
