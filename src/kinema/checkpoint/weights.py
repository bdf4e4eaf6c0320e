"""Read and write the weights and configurations of a model folder, naming file and tensor of anything wrong."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from kinema.checkpoint.layouts import Layout
from kinema.errors import CheckpointError

_NUMBER_TYPES = ("F64", "F32", "F16", "BF16")


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

    Weights keep the device, data type and memory layout that the module has. Raises CheckpointError, naming file and
    tensor, for a weight that is missing, unknown, of another shape, cut off, or not finite.
    """
    ours = dict(module.state_dict())
    wanted = {layout.name(name): name for name in ours}
    copies = dict(layout.copies)
    copy_of = {original: copy for copy, original in layout.copies}
    seen: set[str | None] = set()
    done: set[str] = set()
    files = _files(folder, stem)
    for path in files:
        for name, tensor in _tensors(path):
            if copy_of.get(name) in seen:
                continue  # the network reads the copy
            seen.add(name)
            their_name = copies.get(name, name)
            if their_name not in wanted:
                raise CheckpointError(f"{path}: tensor {name} is not part of this model; check config.json beside it")
            target = ours[wanted[their_name]]
            expected = layout.shape(wanted[their_name], target.shape)
            if tuple(tensor.shape) != expected:
                raise CheckpointError(
                    f"{path}: tensor {name} has shape {_size(tensor.shape)}, but config.json makes it {_size(expected)}"
                )
            if not torch.isfinite(tensor).all():
                raise CheckpointError(f"{path}: tensor {name} holds values that are not numbers; fetch the file again")
            with torch.no_grad():
                target.copy_(tensor.view(target.shape))
            done.add(their_name)
    missing = sorted(set(wanted) - done)
    if missing:
        others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise CheckpointError(f"{_list(files)}: tensor {missing[0]} is missing{others}; fetch the file again")


def save_weights(module: nn.Module, folder: Path, stem: str, layout: Layout) -> None:
    """Write the weights of `module` to `folder`/`stem`.safetensors under the names and shapes of `layout`."""
    tensors = {
        layout.name(name): tensor.detach().to("cpu").contiguous().view(layout.shape(name, tensor.shape))
        for name, tensor in module.state_dict().items()
    }
    save_file(tensors, folder / f"{stem}.safetensors", metadata={"format": "pt"})


def _files(folder: Path, stem: str) -> list[Path]:
    index = folder / f"{stem}.safetensors.index.json"
    if not index.exists():
        return [folder / f"{stem}.safetensors"]
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict):
        raise CheckpointError(f"{index} has no weight_map; fetch the file again")
    return [folder / name for name in sorted(set(names.values()))]


def _tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    _check_length(path)
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dictionary
                yield name, file.get_tensor(name)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a safetensors file ({error}); fetch it again") from error


def _check_length(path: Path) -> None:
    """Compare the file's length with what its header promises: a download that broke off names the tensor it lost."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length < path.stat().st_size else None
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; a model folder needs it") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a safetensors file ({error}); fetch it again") from error
    if header is None:
        raise CheckpointError(f"{path} is cut off within its header, before the first tensor; fetch it again")
    present = path.stat().st_size - 8 - length
    entries = [(name, entry) for name, entry in header.items() if name != "__metadata__"]
    for name, entry in sorted(entries, key=lambda item: item[1]["data_offsets"][0]):
        if entry["dtype"] not in _NUMBER_TYPES:
            raise CheckpointError(f"{path}: tensor {name} is {entry['dtype']}; Kinema reads {', '.join(_NUMBER_TYPES)}")
        if entry["data_offsets"][1] > present:
            raise CheckpointError(f"{path} is cut off: tensor {name} ends beyond the file; fetch it again")


def _size(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "()"


def _list(files: list[Path]) -> str:
    return str(files[0]) if len(files) == 1 else f"{files[0].parent} ({len(files)} files)"
