"""Training checkpoints that survive a kill at any moment.

A checkpoint is a folder `clips_000012345/`, written under a `.partial` name, closed by `committed.json` (the size and
SHA-256 of every file) and then renamed. `load_latest` verifies the newest and falls back to the one before it.
"""

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch

logger = logging.getLogger(__name__)

KEPT = 2
"""Checkpoints kept on disk."""


def save(folder: Path, clips_seen: int, state: dict[str, Any]) -> Path:
    """Write `state` (tensors, numbers, nested dicts and lists) as the checkpoint of `clips_seen`; prune older ones."""
    final = folder / f"clips_{clips_seen:09d}"
    partial = final.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    torch.save(state, partial / "state.pt")
    digests = {path.name: _describe(path) for path in sorted(partial.iterdir())}
    marker = partial / "committed.json"
    marker.write_text(json.dumps(digests, indent=1))
    for path in (*partial.iterdir(), partial):
        _sync(path)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    _sync(folder)
    for old in sorted(folder.glob("clips_*[0-9]"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_latest(folder: Path) -> dict[str, Any] | None:
    """Read the newest whole checkpoint of `folder`; None if there is none. A damaged one is reported and skipped."""
    for path in sorted(folder.glob("clips_*[0-9]"), reverse=True):
        if _is_whole(path):
            state: dict[str, Any] = torch.load(path / "state.pt", weights_only=True, map_location="cpu")
            return state
        logger.warning("%s is damaged; falling back to the checkpoint before it", path)
    return None


def _is_whole(path: Path) -> bool:
    try:
        digests = json.loads((path / "committed.json").read_text())
        return all(_describe(path / name) == digest for name, digest in digests.items())
    except (OSError, ValueError):
        return False


def _describe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
