"""`kinema verify`: which marks a file carries, and what each rests on."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from kinema.cli import flags
from kinema.errors import SpecError

if TYPE_CHECKING:
    from kinema.provenance.verify import Verification

NOT_MARKED = 10
BROKEN = 11


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Say which marks of origin a video or picture carries, and what each of them rests on.

    The exit code is 0 when there is a mark and all of them hold, 10 when there is none, 11 when one is broken or
    contradicts another.
    """

    file: Annotated[Path, tyro.conf.Positional, flags.path("FILE")]
    """The video or picture."""
    anchors: Annotated[Path | None, flags.path("PEM"), flags.hint("this installation's")] = None
    """Certificates to trust, such as another installation's root.pem."""
    as_json: Annotated[bool, flags.hint(name="json")] = False
    """Print the answer as one JSON object."""


def run(argv: Sequence[str]) -> int:
    """Run the command with the arguments that follow its name; returns the exit code."""
    options = flags.parse(Verify, argv, "verify")
    anchors = None if options.anchors is None else _read_anchors(options.anchors)
    from kinema.provenance.verify import verify

    found = verify(options.file, anchors)
    if options.as_json:
        print(json.dumps(to_json(found), ensure_ascii=False, default=str))
    else:
        _show(found)
    return BROKEN if found.is_broken else 0 if found.is_marked else NOT_MARKED


def to_json(found: "Verification") -> dict[str, object]:
    """The answer as plain values."""
    from kinema.provenance.proof import NO_PROOF

    return {
        "file": str(found.path),
        "is_marked": found.is_marked,
        "is_broken": found.is_broken,
        "marks": [dataclasses.asdict(mark) for mark in found.marks],
        "contradictions": list(found.contradictions),
        "note": NO_PROOF,
    }


def _show(found: "Verification") -> None:
    from kinema.provenance.proof import NO_PROOF

    print(found.path)
    for mark in found.marks:
        print(f"  {mark.kind:<10} {mark.says}")
        if mark.rests_on:
            print(f"  {'':<10} rests on {mark.rests_on}" if mark.outcome != "broken" else f"  {'':<10} {mark.rests_on}")
    for contradiction in found.contradictions:
        print(f"  contradiction: {contradiction}")
    print(NO_PROOF)


def _read_anchors(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise SpecError(f"--anchors {path} does not exist") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"--anchors {path} cannot be read: {error}") from None
    from cryptography.x509 import load_pem_x509_certificates

    try:
        load_pem_x509_certificates(text.encode())
    except ValueError:
        raise SpecError(f"--anchors {path} holds no certificate in PEM that can be read; give a root.pem") from None
    return text
