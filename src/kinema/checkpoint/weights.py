"""Read and write the weights and configurations of a model folder, naming file and tensor of anything wrong."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kinema.checkpoint.layouts import Layout
from kinema.checkpoint.tensors import NUMBER_TYPES, Entry, Tensors
from kinema.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises CheckpointError, naming the file, where there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; a model folder needs it") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error}); fetch the file again") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} holds a {type(data).__name__}, not a JSON object; fetch the file again")
    return data


def write_json(data: Mapping[str, Any], path: Path) -> None:
    """Write a JSON object, with indentation."""
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_weights(module: nn.Module, folder: Path, stem: str, layout: Layout) -> None:
    """Fill `module` with the weights of `folder`/`stem`.safetensors, or of the shards that its index lists.

    Raises what `fill` raises, and CheckpointError for a file that is missing or damaged.
    """
    fill(module, Tensors(find_files(folder, stem)), layout)


def find_files(folder: Path, stem: str) -> list[Path]:
    """Name the files of a network: `stem`.safetensors or the shards of its index, or the same saved by `torch.save`."""
    for ending in ("safetensors", "bin"):
        index = folder / f"{stem}.{ending}.index.json"
        if index.exists():
            names = read_json(index).get("weight_map")
            if not isinstance(names, dict):
                raise CheckpointError(f"{index} has no weight_map; fetch the file again")
            return [folder / name for name in sorted(set(names.values()))]
        if (folder / f"{stem}.{ending}").exists():
            return [folder / f"{stem}.{ending}"]
    return [folder / f"{stem}.safetensors"]


def fill(module: nn.Module, tensors: Tensors, layout: Layout) -> None:
    """Fill `module` with tensors that are named and shaped as `layout` says.

    Weights keep the device, data type and memory layout that the module has. All names and shapes are checked before
    a number is read. Raises CheckpointError, naming file and tensor, for weights that are missing, unknown, of another
    shape or not finite.
    """
    ours = dict(module.state_dict())
    wanted: dict[str, list[str]] = {}
    for name in ours:
        wanted.setdefault(layout.name(name), []).append(name)
    entries = _check(tensors, layout, {theirs: _expected(layout, names, ours) for theirs, names in wanted.items()})
    originals = {copy: original for original, copy in layout.copy_of.items()}
    for name, tensor in tensors.read(entries):
        if not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{entries[name].path}: tensor {name} holds values that are not numbers; fetch the file again"
            )
        names = wanted[originals.get(name, name)]
        parts = tensor.split([ours[part].shape[0] for part in names]) if len(names) > 1 else (tensor,)
        for part, value in zip(names, parts, strict=True):
            with torch.no_grad():
                ours[part].copy_(value.reshape(ours[part].shape))


def _expected(layout: Layout, names: Sequence[str], ours: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Their shape of our weights of these names, which stand there one after the other where there are several."""
    shapes = [layout.shape(name, ours[name].shape) for name in names]
    return (sum(shape[0] for shape in shapes), *shapes[0][1:]) if len(shapes) > 1 else shapes[0]


def _check(tensors: Tensors, layout: Layout, wanted: Mapping[str, tuple[int, ...]]) -> dict[str, Entry]:
    """Give the entries to read, or say at once what is wrong: first of each kind, and how many more."""
    found = {
        name: entry
        for name, entry in tensors.entries.items()
        if not layout.is_ignored(name) and layout.copy_of.get(name) not in tensors.entries
    }
    originals = {copy: original for original, copy in layout.copy_of.items()}
    have = {originals.get(name, name): (name, entry) for name, entry in found.items()}
    problems = []
    shapes = [
        f"{entry.path}: tensor {name} has shape {size(entry.shape)}, but config.json makes it {size(wanted[key])}"
        for key, (name, entry) in have.items()
        if key in wanted and entry.shape != wanted[key]
    ]
    extra = [
        f"{entry.path}: tensor {name} is not part of this model; check config.json beside it"
        for key, (name, entry) in have.items()
        if key not in wanted
    ]
    missing = [
        f"{list_files(tensors.files)}: tensor {name} is missing; fetch the file again"
        for name in sorted(set(wanted) - set(have))
    ]
    types = [
        f"{entry.path}: tensor {name} is {entry.dtype}; Kinema reads {', '.join(NUMBER_TYPES)}"
        for name, entry in found.items()
        if entry.dtype not in NUMBER_TYPES
    ]
    for kind in (shapes, extra, missing, types):
        if kind:
            problems.append(kind[0] + (f" (and {len(kind) - 1} more)" if len(kind) > 1 else ""))
    if problems:
        raise CheckpointError("\n".join(problems))
    return found


def save_weights(module: nn.Module, folder: Path, stem: str, layout: Layout) -> None:
    """Write the weights of `module` to `folder`/`stem`.safetensors under the names and shapes of `layout`."""
    tensors = {
        layout.prefix + layout.name(name): tensor.detach().to("cpu").contiguous().view(layout.shape(name, tensor.shape))
        for name, tensor in module.state_dict().items()
    }
    save_file(tensors, folder / f"{stem}.safetensors", metadata={"format": "pt"})


def size(shape: Iterable[int]) -> str:
    """Write a shape as 16x3x3."""
    return "x".join(map(str, shape)) or "()"


def list_files(files: Sequence[Path]) -> str:
    """Name one file, or the folder of several."""
    return str(files[0]) if len(files) == 1 else f"{files[0].parent} ({len(files)} files)"
