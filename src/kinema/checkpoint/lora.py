"""Low-rank additions to a network's weights (LoRA), in the names that the tools which train them write."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from kinema.checkpoint.layouts import Layout
from kinema.checkpoint.tensors import NUMBER_TYPES, Tensors
from kinema.errors import CheckpointError

_ROLES: tuple[tuple[str, str], ...] = (
    (r"\.lora_A(\.\w+)?\.weight$", "down"),
    (r"\.lora_down\.weight$", "down"),
    (r"\.lora\.down\.weight$", "down"),
    (r"\.lora_B(\.\w+)?\.weight$", "up"),
    (r"\.lora_up\.weight$", "up"),
    (r"\.lora\.up\.weight$", "up"),
    (r"\.alpha$", "alpha"),
    (r"\.diff$", "weight"),
    (r"\.diff_b$", "bias"),
)
"""Endings of the names, in peft's, kohya's and the older diffusers' spelling, and what stands under each."""

_PREFIXES = ("base_model.model.", "diffusion_model.", "model.diffusion_model.", "transformer.", "lora_unet_")
"""What the tools put before the names of layers: peft, ComfyUI and the Wan team's users, diffusers, kohya."""


@dataclass
class Addition:
    """What is added to one layer: scale * up @ down to its weight, or a whole difference, and one to its bias."""

    down: Tensor | None = None
    up: Tensor | None = None
    alpha: float | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None

    def delta(self) -> Tensor | None:
        """The float32 matrix that is added to the weight; None where only the bias changes."""
        if self.weight is not None:
            return self.weight.float()
        if self.down is None or self.up is None:
            return None
        rank = self.down.shape[0]
        scale = 1.0 if self.alpha is None else self.alpha / rank
        return scale * (self.up.float().flatten(1) @ self.down.float().flatten(1))


@dataclass(frozen=True)
class Lora:
    """One LoRA file, its layers by our names."""

    path: Path
    additions: Mapping[str, Addition]
    rank: int
    """The largest rank of its layers; 0 where there are whole differences only."""


def load_lora(path: Path, network: nn.Module, layouts: Iterable[Layout], *, alpha: float | None = None) -> Lora:
    """Read a LoRA for `network`, whichever of the `layouts` its names are in, and check it against the network.

    Reads what peft and diffusers save (`lora_A`, `lora_B`), kohya's sd-scripts and musubi-tuner (`lora_unet_`,
    `lora_down`, `lora_up`, `alpha`) and files in the Wan team's names (`diffusion_model.blocks...`), with differences
    of weights and biases (`diff`, `diff_b`). `alpha` is for files that name none (peft keeps it beside the file); each
    layer's scale is alpha / rank. Raises CheckpointError, which names the first layer that the network does not have,
    whose shape is another, or that is not whole: a LoRA for another architecture is refused.
    """
    tensors = Tensors([path])
    names = _layer_names(network, layouts)
    additions: dict[str, Addition] = {}
    theirs: dict[str, str] = {}
    for name, tensor in tensors.read(tensors.entries):
        layer, role = _split(name)
        if role is None:
            raise CheckpointError(f"{path}: tensor {name} is no part of a LoRA that Kinema reads")
        ours = names.get(layer)
        if ours is None:
            if role in ("weight", "bias") and not tensor.any():
                continue  # some tools write differences of zero for layers that they do not train
            raise CheckpointError(f"{path}: {layer} is no layer of this model; the LoRA is for another architecture")
        if tensors.entries[name].dtype not in NUMBER_TYPES or not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: tensor {name} holds values that are not numbers; fetch the file again")
        value = float(tensor) if role == "alpha" else tensor
        setattr(additions.setdefault(ours, Addition(alpha=alpha)), role, value)
        theirs[ours] = layer
    if not additions:
        raise CheckpointError(f"{path} changes no layer; it is no LoRA that Kinema reads")
    for ours, addition in additions.items():
        _check(path, theirs[ours], addition, network.get_submodule(ours))
    ranks = [0 if addition.down is None else addition.down.shape[0] for addition in additions.values()]
    return Lora(path, additions, max(ranks))


def _split(name: str) -> tuple[str, str | None]:
    """Part the name of a tensor into that of its layer, without the tool's prefix, and what it is there."""
    for ending, role in _ROLES:
        layer, count = re.subn(ending, "", name)
        if count:
            for prefix in _PREFIXES:
                layer = layer.removeprefix(prefix)
            return layer, role
    return name, None


def _layer_names(network: nn.Module, layouts: Iterable[Layout]) -> dict[str, str]:
    """Our layers by every name that they may have in a file; kohya writes underscores for dots."""
    names = {}
    layers = [name for name, module in network.named_modules() if hasattr(module, "weight")]
    for layout in layouts:
        for ours in layers:
            theirs = layout.name(f"{ours}.weight").removesuffix(".weight")
            names[theirs] = names[theirs.replace(".", "_")] = ours
    return names


def _check(path: Path, layer: str, addition: Addition, module: nn.Module) -> None:
    """Refuse what does not fit the layer."""
    if (addition.down is None) != (addition.up is None):
        raise CheckpointError(f"{path}: {layer} has only one half of its low-rank pair; fetch the file again")
    weight = module.weight
    assert isinstance(weight, Tensor)
    if addition.down is not None and addition.up is not None and addition.down.shape[0] != addition.up.shape[1]:
        raise CheckpointError(
            f"{path}: {layer} has rank {addition.down.shape[0]} on one side and {addition.up.shape[1]} on the other"
        )
    delta = addition.delta()
    if delta is not None and delta.numel() != weight.numel():
        raise CheckpointError(
            f"{path}: {layer} changes a weight of {'x'.join(map(str, delta.shape))}, but this model's is "
            f"{'x'.join(map(str, weight.shape))}; the LoRA is for another architecture"
        )
    if addition.bias is not None and (
        getattr(module, "bias", None) is None or addition.bias.shape != module.bias.shape
    ):
        raise CheckpointError(f"{path}: {layer} changes a bias that this model does not have; it is for another one")
