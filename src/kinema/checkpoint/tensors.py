"""The named tensors of one network in its files, of any kind and number: names and shapes first, numbers on demand."""

import json
import math
import pickle
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinema.errors import CheckpointError

NUMBER_TYPES = ("F64", "F32", "F16", "BF16")
"""What a weight may be stored as, in the words of safetensors."""

PICKLE_ENDINGS = (".pth", ".pt", ".bin", ".ckpt")
"""Files that `torch.save` wrote; only tensors are taken from them, code in them is refused."""

WRAPPERS = ("generator_ema", "generator", "state_dict", "model", "module")
"""Under which key training runs save the network's weights; where a file has several, the first of these is read."""

_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "model.", "module.", "vision_model.")
_WRAPPING_MODULES = re.compile(r"(_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod)\.")
_TYPE_NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
_TYPES = {name: dtype for dtype, name in _TYPE_NAMES.items()} | {
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


@dataclass(frozen=True)
class Entry:
    """Where a tensor is, and what it is."""

    path: Path
    stored_name: str
    """Its name in the file, with whatever prefix it has there."""
    shape: tuple[int, ...]
    dtype: str
    """As safetensors names it: F32, BF16, I64, ..."""
    start: int = 0
    """Where its first byte is in a safetensors file."""


class Tensors:
    """The tensors of one network: `entries` by their plain names, numbers by `read`."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Look into the files without reading numbers.

        Prefixes that training wraps around all names are taken off. Raises CheckpointError for a file that is missing,
        cut off, of another kind, or that holds code.
        """
        self.files = tuple(files)
        self.wrapper: str | None = None
        """Which of several networks in the file this is (`generator_ema`), if it holds several."""
        self._unpickled: dict[Path, Mapping[str, Tensor]] = {}
        found: dict[str, Entry] = {}
        for path in self.files:
            for entry in self._pickle(path) if path.suffix in PICKLE_ENDINGS else _safetensors(path):
                found[entry.stored_name] = entry
        self.entries = dict(_plain_names(found))

    def read(self, names: Collection[str]) -> Iterator[tuple[str, Tensor]]:
        """Give the tensors of these names, file by file, each in the order of its file."""
        for name in self.in_order(names):
            yield name, self.rows(name)

    def in_order(self, names: Collection[str]) -> list[str]:
        """Sort names by file, and within a file by where they stand: the order to read them in."""
        place = {path: index for index, path in enumerate(self.files)}
        wanted = [(place[self.entries[name].path], self.entries[name].start, name) for name in names]
        return [name for *_, name in sorted(wanted)]

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Read a tensor, or its rows from `start` to `stop`, into memory of its own.

        Numbers are read, not mapped: a page of a mapped file would stay in this process' memory while the map does.
        """
        entry = self.entries[name]
        if entry.path in self._unpickled:
            tensor = self._unpickled[entry.path][entry.stored_name]
            return tensor[start:stop] if entry.shape else tensor
        if stop is None or not entry.shape:
            return _read(entry, entry.start, entry.shape)
        row_bytes = math.prod(entry.shape[1:]) * _TYPES[entry.dtype].itemsize
        return _read(entry, entry.start + start * row_bytes, (stop - start, *entry.shape[1:]))

    def _pickle(self, path: Path) -> Iterator[Entry]:
        weights = _unwrap(path, _load_pickle(path))
        self.wrapper, self._unpickled[path] = weights
        for name, tensor in self._unpickled[path].items():
            dtype = _TYPE_NAMES.get(tensor.dtype, str(tensor.dtype).removeprefix("torch."))
            yield Entry(path, name, tuple(tensor.shape), dtype)


def _plain_names(found: Mapping[str, Entry]) -> Iterator[tuple[str, Entry]]:
    names = {name: _WRAPPING_MODULES.sub("", name) for name in found}
    for prefix in _PREFIXES:
        if names and all(name.startswith(prefix) for name in names.values()):
            names = {stored: name.removeprefix(prefix) for stored, name in names.items()}
    for stored, name in names.items():
        yield name, found[stored]


def _load_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; a model folder needs it") from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors, such as code, or is damaged; it is not opened. Fetch it again, or a "
            f".safetensors file of it ({str(error).splitlines()[0]})"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} cannot be read, so it may be cut off ({error}); fetch it again") from error


def _is_zip(path: Path) -> bool:
    """Whether the numbers can stay in the file until they are asked for; PyTorch's old format cannot do that."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _unwrap(path: Path, data: Any) -> tuple[str | None, Mapping[str, Tensor]]:
    """Find the weights in what `torch.save` was given: a state dict, or a training run's dictionary of them."""
    wrapper = None
    while isinstance(data, Mapping):
        if data and all(isinstance(value, Tensor) for value in data.values()):
            return wrapper, data
        inner = next((key for key in WRAPPERS if isinstance(data.get(key), Mapping)), None)
        if inner is None:
            break
        wrapper, data = wrapper or inner, data[inner]
    names = ", ".join(map(str, list(data)[:5])) if isinstance(data, Mapping) else type(data).__name__
    raise CheckpointError(
        f"{path} holds no weights where Kinema looks for them; it holds {names or 'nothing'}, and is to hold tensors "
        f"by name, or one of {', '.join(WRAPPERS)} with them"
    )


def _safetensors(path: Path) -> Iterator[Entry]:
    """Read the header, and compare the file's length with it: a download that broke off names the tensor it lost."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length < size else None
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; a model folder needs it") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a safetensors file ({error}); fetch it again") from error
    if header is None:
        raise CheckpointError(f"{path} is cut off within its header, before the first tensor; fetch it again")
    try:
        found = [
            (
                (int(entry["data_offsets"][0]), int(entry["data_offsets"][1])),
                Entry(path, name, tuple(map(int, entry["shape"])), str(entry["dtype"])),
            )
            for name, entry in header.items()
            if name != "__metadata__"
        ]
    except (AttributeError, TypeError, KeyError, IndexError, ValueError):
        raise CheckpointError(f"{path} has a header that describes no tensors; fetch it again") from None
    for (begin, end), entry in sorted(found, key=lambda item: item[0][1]):
        if end > size - 8 - length:
            raise CheckpointError(f"{path} is cut off: tensor {entry.stored_name} ends beyond the file; fetch it again")
        if entry.dtype in _TYPES and end - begin != math.prod(entry.shape) * _TYPES[entry.dtype].itemsize:
            raise CheckpointError(f"{path}: tensor {entry.stored_name} has not the bytes of its shape; fetch it again")
        yield replace(entry, start=8 + length + begin)


def _read(entry: Entry, start: int, shape: tuple[int, ...]) -> Tensor:
    if entry.dtype not in _TYPES:
        raise CheckpointError(
            f"{entry.path}: tensor {entry.stored_name} is {entry.dtype}; Kinema reads {', '.join(NUMBER_TYPES)}"
        )
    dtype = _TYPES[entry.dtype]
    held = torch.empty(math.prod(shape) * dtype.itemsize, dtype=torch.uint8)
    with entry.path.open("rb", buffering=0) as file:
        file.seek(start)
        left = memoryview(held.numpy())  # type: ignore[arg-type]  # numpy's arrays are buffers
        while len(left):
            count = file.readinto(left)
            if not count:
                raise CheckpointError(f"{entry.path} ends within tensor {entry.stored_name}; fetch it again")
            left = left[count:]
    return held.view(dtype).view(shape)
