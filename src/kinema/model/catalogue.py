"""What there is to run: the known models, what each can do and needs, and what a folder or file holds."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kinema.checkpoint.detect import inspect_weights
from kinema.checkpoint.weights import read_json
from kinema.errors import CheckpointError
from kinema.model.clip import ImageEncoder
from kinema.model.dit import DiT
from kinema.model.files import INDEX_FILE, SHIPPED, may_read_frames
from kinema.model.folder import load_model, shipped_models
from kinema.model.hub import installed
from kinema.model.model import Model
from kinema.model.original import matching_preset
from kinema.model.presets import PRESETS, ModelPreset
from kinema.model.text import TextEncoder
from kinema.model.vae import VideoVAE

HIDDEN = ("tiny", "mini-128")
"""Presets whose weights nobody has published: those for tests and those that wait to be trained."""

_BYTES = 2  # of a weight in bfloat16


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """One line of `kinema models`."""

    name: str
    does: str
    """What it makes from what."""
    weights_bytes: int
    """Weights of all its networks in bfloat16: the least memory, and about the size on disk."""
    licence: str
    hub_id: str | None
    folder: str | None
    """Where it is installed; None if it is not."""


@dataclass(frozen=True, kw_only=True)
class FoundNetwork:
    """One network of a folder or file."""

    part: str
    num_weights: int
    layout: str
    """Whose names the weights have: those of diffusers, or of the Wan team."""
    files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a folder or file is."""

    path: str
    kind: str
    """What sort of folder or file it is."""
    model: str | None
    """The published model of these sizes."""
    does: str | None
    """What it makes from what, if it can be run."""
    networks: tuple[FoundNetwork, ...]
    problem: str | None
    """Why it cannot be run as it is."""


def known_models() -> list[KnownModel]:
    """List what Kinema knows, the installed ones and the shipped ones with their folders."""
    published = [_known(name, preset) for name, preset in PRESETS.items() if name not in HIDDEN]
    return published + [_shipped(name) for name in shipped_models() if name not in PRESETS]


def _known(name: str, preset: ModelPreset) -> KnownModel:
    shipped = SHIPPED / name if (SHIPPED / name / INDEX_FILE).exists() else None
    folder = shipped or (installed(preset.hub_id) if preset.hub_id is not None else None)
    reads_frames = preset.reads_frames or (folder is not None and _reads_frames(folder))
    return KnownModel(
        name=name,
        does=abilities(
            condition_channels=preset.dit.in_channels - preset.dit.out_channels,
            needs_last=preset.dit.image_positions is not None,
            reads_image_tokens=preset.image is not None,
            reads_frames=reads_frames,
        ),
        weights_bytes=_BYTES * count_weights(preset),
        licence=preset.licence,
        hub_id=preset.hub_id,
        folder=None if folder is None else str(folder),
    )


def _shipped(name: str) -> KnownModel:
    """One that was made from another, as a causal model is."""
    model = load_model(name, "meta")
    preset = matching_preset(model.dit.config, has_experts=model.dit_low is not None)
    networks = (*model.experts, model.vae, model.text, *(() if model.image is None else (model.image,)))
    return KnownModel(
        name=name,
        does=_abilities_of(model),
        weights_bytes=_BYTES * sum(weight.numel() for network in networks for weight in network.parameters()),
        licence=preset.licence if preset else "see its card",
        hub_id=None,
        folder=str(model.folder),
    )


def _reads_frames(folder: Path) -> bool:
    return may_read_frames(read_json(folder / INDEX_FILE))


def abilities(*, condition_channels: int, needs_last: bool, reads_image_tokens: bool, reads_frames: bool) -> str:
    """Say in words what a model makes from what."""
    if needs_last:
        return "first and last picture to video"
    if condition_channels:
        return "picture to video" if reads_image_tokens else "picture, or first and last picture, to video"
    return "text or picture to video" if reads_frames else "text to video"


def _abilities_of(model: Model) -> str:
    does = abilities(
        condition_channels=model.condition_channels,
        needs_last=model.dit.config.image_positions is not None,
        reads_image_tokens=model.image is not None,
        reads_frames=model.reads_frames or model.causal is not None,
    )
    return does if model.causal is None else f"{does}, block by block without end"


def count_weights(preset: ModelPreset) -> int:
    """Count the weights of all networks of a model, without memory for any."""
    transformers = _count(DiT, preset.dit) * (1 if preset.boundary is None else 2)
    image = 0 if preset.image is None else _count(ImageEncoder, preset.image)
    return transformers + _count(VideoVAE, preset.vae) + _count(TextEncoder, preset.text) + image


@functools.cache
def _count(network: Callable[[Any], nn.Module], config: object) -> int:
    """Weights of one network, which several models share."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in network(config).parameters())


def inspect_model(path: Path) -> Inspection:
    """Say what a folder or file is, and whether it can be run, without reading any number of it.

    Raises CheckpointError where there is nothing that Kinema knows.
    """
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; give a folder, or a file of weights")
    is_pipeline = path.is_dir() and (path / INDEX_FILE).exists()
    found = inspect_weights(path)
    networks = tuple(
        FoundNetwork(
            part=part,
            num_weights=sum(torch.Size(entry.shape).numel() for entry in what.tensors.entries.values()),
            layout="diffusers" if what.layout == "diffusers" else "Wan",
            files=tuple(str(file) for file in what.tensors.files),
        )
        for part, what in found.parts.items()
    )
    does: str | None = None
    preset: str | None = None
    problem: str | None = None
    try:
        model = load_model(path, "meta")
    except CheckpointError as error:
        problem = str(error)
    else:
        does = _abilities_of(model)
        has_experts = model.dit_low is not None
        preset = next(
            (
                name
                for name, other in PRESETS.items()
                if other.dit == model.dit.config and (other.boundary is not None) == has_experts
            ),
            None,
        )
    wrapper = found.parts["transformer"].tensors.wrapper if "transformer" in found.parts else None
    kind = "a pipeline folder, as diffusers has it" if is_pipeline else "a folder in the original Wan layout"
    if path.is_file():
        kind = f"a file of weights{f', {wrapper} of a training run' if wrapper else ''}"
    return Inspection(path=str(path), kind=kind, model=preset, does=does, networks=networks, problem=problem)
