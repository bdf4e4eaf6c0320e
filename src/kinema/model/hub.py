"""Published models: fetched once, kept in huggingface_hub's cache, and checked by the hashes they are filed under."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kinema.errors import CheckpointError, SpecError

FILES = (
    "*.json",
    *(f"{part}/*" for part in ("transformer", "transformer_2", "vae", "text_encoder", "image_encoder")),
    *(f"{part}/*" for part in ("tokenizer", "scheduler", "image_processor")),
)
"""What is fetched of a published model."""

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
"""What a hub id looks like: owner/name."""

_BLOCK_BYTES = 1 << 22


def fetch(hub_id: str, *, endpoint: str | None = None, cache: Path | None = None) -> Path:
    """Fetch a published model, or what of it is not here yet, and return its folder.

    Files that are whole are not fetched again. `endpoint` is a mirror of the hub. Raises SpecError for an id that
    cannot be fetched.
    """
    from huggingface_hub import snapshot_download

    more: dict[str, Any] = {
        key: value for key, value in (("endpoint", endpoint), ("cache_dir", cache)) if value is not None
    }
    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(FILES), **more))
    except Exception as error:  # the hub's client raises many kinds; each means that there is no such folder here
        raise SpecError(
            f"{hub_id} is neither a folder here nor a model that could be fetched: {_why(error)}; "
            "check the spelling and the network"
        ) from error


def _why(error: Exception) -> str:
    """What the hub's client says in many words, in few."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, HfHubHTTPError):
        return f"the hub answers {error.__cause__.response.status_code}"
    for kind, words in (
        (GatedRepoError, "its owner wants to be asked on the hub's page of it first"),
        (RepositoryNotFoundError, "the hub has none of that name, or does not show it to you"),
        (HFValidationError, "the hub has no such names"),
        (OfflineModeIsEnabled, "the hub's client is told to stay offline (HF_HUB_OFFLINE)"),
        (LocalEntryNotFoundError, "the hub cannot be reached"),
    ):
        if isinstance(error, kind):
            return words
    return re.split(r"(?<=[^.])\.?(?:\s*\n|\.\s|$)", str(error).strip(), maxsplit=1)[0] or type(error).__name__


def installed(hub_id: str, *, cache: Path | None = None) -> Path | None:
    """Where a published model was fetched to, if it was; no network is asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        kept = snapshot_download(hub_id, allow_patterns=list(FILES), local_files_only=True, cache_dir=cache)
        folder = Path(kept)
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return folder if (folder / "model_index.json").exists() else None


def check_hashes(folder: Path) -> Iterator[Path]:
    """Compare every file of a fetched model with the hash it is filed under; gives each file that is right.

    Large files are filed under their SHA-256, small ones under git's hash. A file that is wrong is removed, so that
    fetching again repairs it; then CheckpointError names it. Files that are not filed under a hash, as in a folder of
    your own, are passed over.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        blob = path.resolve()
        expected = blob.name
        if re.fullmatch(r"[0-9a-f]{64}", expected):
            found = _hash(blob, hashlib.sha256())
        elif re.fullmatch(r"[0-9a-f]{40}", expected):
            found = _hash(blob, hashlib.sha1(f"blob {blob.stat().st_size}\0".encode(), usedforsecurity=False))
        else:
            continue
        if found != expected:
            path.unlink()
            blob.unlink(missing_ok=True)
            raise CheckpointError(
                f"{path.relative_to(folder)} is damaged: its hash is {found[:12]}..., not {expected[:12]}...; it was "
                "removed, so the same command again fetches it anew"
            )
        yield path


def _hash(path: Path, digest: Any) -> str:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return str(digest.hexdigest())
