"""What a file or folder of weights is: which networks it holds, and in whose names."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kinema.checkpoint.tensors import PICKLE_ENDINGS, Tensors
from kinema.errors import CheckpointError

Part = Literal["transformer", "transformer_2", "vae", "text_encoder", "image_encoder"]
"""A network of a model, by the name of its folder in diffusers; `transformer_2` is the expert for low noise."""

LayoutName = Literal["diffusers", "wan"]
"""Whose names the tensors have: those of diffusers and transformers, or of the Wan team's own code."""

SIGNS: tuple[tuple[str, Part, LayoutName], ...] = (
    ("blocks.0.self_attn.q.weight", "transformer", "wan"),
    ("blocks.0.attn1.to_q.weight", "transformer", "diffusers"),
    ("decoder.head.0.gamma", "vae", "wan"),
    ("decoder.norm_out.gamma", "vae", "diffusers"),
    ("token_embedding.weight", "text_encoder", "wan"),
    ("encoder.block.0.layer.0.SelfAttention.q.weight", "text_encoder", "diffusers"),
    ("visual.cls_embedding", "image_encoder", "wan"),
    ("embeddings.class_embedding", "image_encoder", "diffusers"),
)
"""A tensor that each network has in each layout, and no other."""

WEIGHT_ENDINGS = (".safetensors", *PICKLE_ENDINGS)

_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_LOW_NOISE = re.compile(r"low[_-]?noise", re.IGNORECASE)
_TOKENIZER_FILES = ("tokenizer.json", "spiece.model", "tokenizer_config.json")


@dataclass(frozen=True)
class FoundPart:
    """The weights of one network."""

    tensors: Tensors
    layout: LayoutName


@dataclass(frozen=True)
class Found:
    """What a folder or file of weights holds."""

    folder: Path
    parts: dict[Part, FoundPart] = field(default_factory=dict)
    tokenizer: Path | None = None
    """Folder of the tokenizer."""


def identify(names: Collection[str]) -> tuple[Part, LayoutName] | None:
    """Tell which network has tensors of these names; None for anything else."""
    return next(((part, layout) for sign, part, layout in SIGNS if sign in names), None)


def inspect_weights(path: Path) -> Found:
    """Look into a folder that is no pipeline folder, or into one file of weights, without reading numbers.

    Beside a file, its folder gives the networks that the file does not hold. Raises CheckpointError where two files
    hold the same network, and where nothing is a network that Kinema knows.
    """
    folder = path if path.is_dir() else path.parent
    given = _group_of(path) if path.is_file() else []
    parts: dict[Part, FoundPart] = {}
    for files in [given] if given else []:
        _add(parts, files)
    if given and not parts:
        raise CheckpointError(f"{path} holds no network that Kinema knows: it knows {_known()}")
    has_transformer = "transformer" in parts
    for files in _groups(folder):
        if files == given:
            continue
        found: dict[Part, FoundPart] = {}
        _add(found, files)
        for part, what in found.items():
            if has_transformer and part.startswith("transformer"):
                continue  # the file that was asked for replaces it
            if part in parts:
                one, other = parts[part].tensors.files[0], what.tensors.files[0]
                if given and one in given:
                    continue
                raise CheckpointError(f"{folder} holds two networks of one kind ({part}): {one} and {other}; give one")
            parts[part] = what
    if not parts:
        raise CheckpointError(
            f"{folder} is no model: it has no model_index.json and no weights ({', '.join(WEIGHT_ENDINGS)}) of a "
            f"network that Kinema knows ({_known()})"
        )
    return Found(folder, parts, _find_tokenizer(folder))


def _add(parts: dict[Part, FoundPart], files: list[Path]) -> None:
    tensors = Tensors(files)
    what = identify(tensors.entries)
    if what is None:
        return
    part, layout = what
    place = f"{files[0].parent.name}/{files[0].name}"
    if part == "transformer" and (_LOW_NOISE.search(place) or place.startswith("transformer_2/")):
        part = "transformer_2"
    parts[part] = FoundPart(tensors, layout)


def _groups(folder: Path) -> Iterator[list[Path]]:
    """The files of weights in a folder and the folders in it, shards of one network together."""
    places = [folder, *sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))]
    for place in places:
        seen: set[Path] = set()
        for path in sorted(place.iterdir()):
            if path.suffix in WEIGHT_ENDINGS and path.is_file() and path not in seen:
                group = _group_of(path)
                seen.update(group)
                yield group


def _group_of(path: Path) -> list[Path]:
    """The shards that belong with this file, itself included."""
    if not _SHARD.search(path.stem):
        return [path]
    stem = _SHARD.sub("", path.stem)
    return sorted(other for other in path.parent.glob(f"*{path.suffix}") if _SHARD.sub("", other.stem) == stem)


def _find_tokenizer(folder: Path) -> Path | None:
    """The folder of a tokenizer, at most two folders down (`google/umt5-xxl` in what the Wan team publishes)."""
    found = [
        path.parent
        for name in _TOKENIZER_FILES
        for pattern in (name, f"*/{name}", f"*/*/{name}")
        for path in sorted(folder.glob(pattern))
        if "roberta" not in path.parent.name
    ]
    return found[0] if found else None


def _known() -> str:
    return "Wan transformers, their autoencoder, UMT5 and CLIP's image encoder"
