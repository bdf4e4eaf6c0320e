"""What an uploaded video said of its origin, carried by the clean copy that takes its place.

A copy that was decoded and encoded anew cannot bear the signature of the original. So the signed statement goes along
in a box of its own at the end of the copy, which players pass over, until the copy becomes the ingredient of an edit.
"""

import contextlib
import io
import json
import mmap
import uuid
from pathlib import Path
from typing import Any

from kinema.provenance import c2pa as signed
from kinema.provenance.authority import trusted_roots
from kinema.provenance.hold import hold_signals

MAX_BYTES = 4 * 2**20
"""Longest statement that is kept; one without thumbnails has some thousand bytes."""

_BOX = uuid.UUID("5b0e3a52-6f0c-4b8e-9a57-3c1f6d2e4b90").bytes
_HEAD_BYTES = 24  # size, "uuid", and which one


def read_statement(path: Path) -> bytes | None:
    """Take the signed statement out of a file, as an ingredient that can be added without it.

    What of it holds is found now, against the file, and goes along. None when the file carries none, or one that cannot
    be read or is longer than MAX_BYTES, or where c2pa is not installed. The file is read once, and once more where it
    may carry one.
    """
    kind = signed.media_type(path)
    if kind is None or not signed.is_available() or not _has_boxes(path):
        return None
    import c2pa

    settings: dict[str, Any] = {
        "builder": {"thumbnail": {"enabled": False}},
        "verify": {"verify_trust": True, "remote_manifest_fetch": False},
    }
    if roots := trusted_roots():
        settings["trust"] = {"user_anchors": roots}
    packed = io.BytesIO()
    try:
        with hold_signals(), contextlib.ExitStack() as stack:
            context = stack.enter_context(c2pa.Context(c2pa.Settings.from_dict(settings)))
            builder = stack.enter_context(c2pa.Builder({"claim_generator_info": []}, context=context))
            file = stack.enter_context(path.open("rb"))
            builder.add_ingredient({"title": path.name, "relationship": "parentOf", "label": "it"}, kind, file)
            builder.write_ingredient_archive("it", packed)
            reader = stack.enter_context(c2pa.Reader("application/c2pa", packed, context=context))
            store = json.loads(reader.json())
    except c2pa.C2paError:
        return None
    (ingredient,) = store["manifests"][store["active_manifest"]]["ingredients"]
    is_empty = "active_manifest" not in ingredient  # nothing was found in the file
    return None if is_empty or len(packed.getvalue()) > MAX_BYTES else packed.getvalue()


def _has_boxes(path: Path) -> bool:
    """Whether a file may hold a manifest: all stand in JUMBF boxes, so that most files need no more than a look."""
    if path.stat().st_size == 0:
        return False  # what is empty cannot be mapped
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"jumb") >= 0


def append_statement(path: Path, statement: bytes) -> None:
    """Put a statement at the end of an mp4."""
    with path.open("ab") as file:
        file.write((_HEAD_BYTES + len(statement)).to_bytes(4, "big") + b"uuid" + _BOX + statement)


def carried_statement(path: Path) -> bytes | None:
    """The statement that `append_statement` put into an mp4; None when there is none."""
    with path.open("rb") as file:
        while len(head := file.read(_HEAD_BYTES)) == _HEAD_BYTES:
            size, start = int.from_bytes(head[:4], "big"), file.tell() - _HEAD_BYTES
            if head[4:] == b"uuid" + _BOX:
                return file.read(size - _HEAD_BYTES)
            if size == 1:
                size = int.from_bytes(head[8:16], "big")
            if size < 8:
                return None
            file.seek(start + size)
    return None
