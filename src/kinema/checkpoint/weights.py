"""Read and write the weights and configurations of a model folder, naming file and tensor of anything wrong."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from kinema.checkpoint.layouts import Layout
from kinema.checkpoint.source import Source
from kinema.checkpoint.tensors import Tensors
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

    Raises what `Source` raises, and CheckpointError for a file that is missing or damaged.
    """
    open_source(module, folder, stem, layout).fill(module.state_dict())


def open_source(module: nn.Module, folder: Path, stem: str, layout: Layout) -> Source:
    """Look into those files without reading numbers; what `load_weights` fills a network from."""
    return Source(module, Tensors(find_files(folder, stem)), layout)


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


def save_weights(module: nn.Module, folder: Path, stem: str, layout: Layout) -> None:
    """Write the weights of `module` to `folder`/`stem`.safetensors under the names and shapes of `layout`."""
    tensors = {
        layout.prefix + layout.name(name): tensor.detach().to("cpu").contiguous().view(layout.shape(name, tensor.shape))
        for name, tensor in module.state_dict().items()
    }
    save_file(tensors, folder / f"{stem}.safetensors", metadata={"format": "pt"})
