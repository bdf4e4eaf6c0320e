"""Models that share parts with one that ships: the folder of such a model need not hold them again."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kinema.checkpoint.weights import read_json, write_json
from kinema.errors import CheckpointError, SpecError
from kinema.model.files import INDEX_FILE, SHIPPED

BASE = "_base"
"""Our key in `model_index.json`: the shipped model that has the parts which are left out, and what they must be."""

SHARED = ("vae", "text_encoder", "tokenizer")
"""Parts that may be those of another model."""


def share(folder: Path, base: str) -> None:
    """Remove from a model's folder the parts that the shipped model `base` has byte for byte, and note whose they are.

    Such a folder is smaller, moves only with the package, and diffusers cannot read it. Raises SpecError where no part
    is the same.
    """
    digests = {part: _digest(folder / part) for part in SHARED}
    shared = {part: digest for part, digest in digests.items() if digest == _digest(SHIPPED / base / part)}
    if not shared:
        raise SpecError(f"{folder} has no part that is {base}'s; give the model that it was trained from")
    write_json({**read_json(folder / INDEX_FILE), BASE: {"model": base, "parts": shared}}, folder / INDEX_FILE)
    for part in shared:
        shutil.rmtree(folder / part)


def place_of(part: str, folder: Path, index: Mapping[str, Any]) -> Path:
    """Where a part of a model is: in its folder, or in that of the shipped model which it shares it with.

    Raises CheckpointError where that model is not here, or has become another.
    """
    base = index.get(BASE)
    if base is None or (folder / part).exists():
        return folder / part
    try:
        name, wanted = str(base["model"]), base["parts"][part]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} has no {part}, and {INDEX_FILE} names no model that lends it") from error
    theirs = SHIPPED / name / part
    if not theirs.is_dir() or _digest(theirs) != wanted:
        raise CheckpointError(
            f"{folder} has no {part} of its own but needs that of {name} as it was when this model was made; "
            "this Kinema ships another, so give a folder that holds all parts"
        )
    return theirs


def _digest(folder: Path) -> str:
    """SHA-256 of the names and bytes of all files of a folder."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        with path.open("rb") as file:
            total.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()
