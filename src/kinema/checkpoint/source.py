"""Where the weights of one network lie: read whole or in parts, as often as they are needed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from kinema.checkpoint.layouts import Layout
from kinema.checkpoint.tensors import NUMBER_TYPES, Entry, Tensors
from kinema.errors import CheckpointError

_PIECE = 2**21
"""Numbers that are read at once of a large tensor: it is not held twice while it changes place or type."""


class Source:
    """The files of a network, checked against it: `fill` puts weights into tensors of any device and number type."""

    def __init__(self, network: nn.Module, tensors: Tensors, layout: Layout) -> None:
        """Compare all names and shapes with what `layout` says of the network's, before a number is read.

        The network may be on the device `meta`. Raises CheckpointError, naming file and tensor, for weights that are
        missing, unknown, of another shape or of a type that is not read.
        """
        ours = {name: weight.shape for name, weight in network.state_dict().items()}
        wanted: dict[str, list[str]] = {}
        for name in ours:
            wanted.setdefault(layout.name(name), []).append(name)
        expected = {theirs: _expected(layout, names, ours) for theirs, names in wanted.items()}
        originals = {copy: original for original, copy in layout.copy_of.items()}
        self._tensors = tensors
        self._rows = {
            theirs: {
                name: math.prod(layout.shape(name, ours[name])[:1]) for name in wanted[originals.get(theirs, theirs)]
            }
            for theirs in _check(tensors, layout, expected)
        }
        self._trusted: set[str] = set()

    @torch.no_grad()
    def fill(self, targets: Mapping[str, Tensor]) -> None:
        """Copy weights into `targets`, by our names, which keep their device, number type and memory layout.

        Raises CheckpointError, naming file and tensor, for values that are not numbers.
        """
        wanted = [theirs for theirs, parts in self._rows.items() if parts.keys() & targets.keys()]
        for theirs in self._tensors.in_order(wanted):
            first = 0
            for name, count in self._rows[theirs].items():
                if name in targets:
                    self._copy(theirs, range(first, first + count), targets[name], is_new=name not in self._trusted)
                    self._trusted.add(name)
                first += count

    def _copy(self, theirs: str, rows: range, target: Tensor, *, is_new: bool) -> None:
        """Copy some rows of a tensor, a few at a time where the target has the same rows; new ones are checked."""
        entry = self._tensors.entries[theirs]
        is_alike = target.dim() > 0 and target.shape == (len(rows), *entry.shape[1:])
        step = max(1, _PIECE * len(rows) // target.numel()) if is_alike and target.numel() else len(rows)
        for start in range(rows.start, rows.stop, step):
            piece = self._tensors.rows(theirs, start, min(start + step, rows.stop))
            if is_new and not torch.isfinite(piece).all():
                raise CheckpointError(
                    f"{entry.path}: tensor {theirs} holds values that are not numbers; fetch the file again"
                )
            if is_alike:
                target[start - rows.start :][: len(piece)].copy_(piece)
            else:
                target.copy_(piece.reshape(target.shape))


def _expected(layout: Layout, names: Sequence[str], ours: Mapping[str, torch.Size]) -> tuple[int, ...]:
    """Their shape of our weights of these names, which stand there one after the other where there are several."""
    shapes = [layout.shape(name, ours[name]) for name in names]
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


def size(shape: Iterable[int]) -> str:
    """Write a shape as 16x3x3."""
    return "x".join(map(str, shape)) or "()"


def list_files(files: Sequence[Path]) -> str:
    """Name one file, or the folder of several."""
    return str(files[0]) if len(files) == 1 else f"{files[0].parent} ({len(files)} files)"
