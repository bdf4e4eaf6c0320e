"""LoRAs on a network: merged into its weights, or live beside them; taken off, the base is what it was, bit for bit."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from kinema.checkpoint.layouts import dit_diffusers, dit_wan
from kinema.checkpoint.lora import Lora, load_lora
from kinema.checkpoint.weights import read_json
from kinema.errors import CheckpointError
from kinema.model.dit import DiT


def read_lora(path: str | Path, dit: DiT) -> Lora:
    """Read a LoRA for a transformer: a file, or a folder as peft and diffusers save one.

    Raises what `load_lora` raises, and CheckpointError where nothing is.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; a LoRA is a file, or FILE:WEIGHT with a number, such as 0.8")
    config = path / "adapter_config.json" if path.is_dir() else path.with_name("adapter_config.json")
    if path.is_dir():
        path = _file_in(path)
    alpha = None
    if config.exists() and path.name.startswith("adapter_model"):
        alpha = read_json(config).get("lora_alpha")
    sizes = dit.config.in_channels, dit.config.patch_size
    return load_lora(path, dit, (dit_diffusers(*sizes), dit_wan(*sizes)), alpha=alpha)


def is_for(path: str | Path, expert: Literal["high", "low"]) -> bool:
    """Whether a file is named for one of two experts, such as style_high_noise.safetensors."""
    return re.search(rf"{expert}[-_ ]?noise", Path(path).name, re.IGNORECASE) is not None


def _file_in(folder: Path) -> Path:
    for name in ("adapter_model.safetensors", "pytorch_lora_weights.safetensors"):
        if (folder / name).exists():
            return folder / name
    raise CheckpointError(f"{folder} holds no LoRA (adapter_model or pytorch_lora_weights .safetensors); give the file")


@dataclass(frozen=True)
class Merged:
    """What `merge` changed; `undo` puts the base back, bit for bit, because it was kept."""

    network: nn.Module
    base: dict[str, Tensor]

    def undo(self) -> None:
        """Give every changed weight the numbers that it had."""
        with torch.no_grad():
            for name, kept in self.base.items():
                self.network.get_parameter(name).copy_(kept)


@torch.no_grad()
def merge(network: nn.Module, loras: Sequence[tuple[Lora, float]]) -> Merged:
    """Add LoRAs, each times its weight, into the network's own weights: no cost at any later step.

    Sums are made in float32 and rounded once. The changed weights are kept, on the CPU, for `undo`.
    """
    changed = {f"{layer}.{kind}" for lora, _ in loras for layer in lora.additions for kind in ("weight", "bias")}
    weights = {name: weight for name, weight in network.named_parameters() if name in changed}
    base: dict[str, Tensor] = {}
    for name, change in _changes(weights, loras):
        base[name] = weights[name].detach().to("cpu", copy=True)
        weights[name].copy_(change)
    return Merged(network, base)


@torch.no_grad()
def add_loras(weights: Mapping[str, Tensor], loras: Sequence[tuple[Lora, float]]) -> None:
    """Add LoRAs, each times its weight, to those of a network's weights that are here; the same numbers as `merge`."""
    for name, change in _changes(weights, loras):
        weights[name].copy_(change)


def _changes(weights: Mapping[str, Tensor], loras: Sequence[tuple[Lora, float]]) -> Iterator[tuple[str, Tensor]]:
    """Give those of the weights that LoRAs change, one after the other, with all of these added, in float32."""
    for name, weight in weights.items():
        layer, _, kind = name.rpartition(".")
        total: Tensor | None = None
        for lora, strength in loras:
            addition = lora.additions.get(layer)
            if addition is None or kind not in ("weight", "bias"):
                continue
            delta = addition.delta() if kind == "weight" else addition.bias
            if delta is not None:
                delta = strength * delta.float().view(weight.shape)
                total = delta if total is None else total + delta
        if total is not None:
            yield name, weight.float() + total.to(weight.device)


class _Live(nn.Module):
    """Computes a weight with its LoRAs added, whenever it is used."""

    whole: Tensor | None

    def __init__(self, pairs: Sequence[tuple[Tensor, Tensor, float]], whole: Tensor | None) -> None:
        super().__init__()
        self.scales = [scale for _, _, scale in pairs]
        for i, (down, up, _) in enumerate(pairs):
            self.register_buffer(f"down{i}", down, persistent=False)
            self.register_buffer(f"up{i}", up, persistent=False)
        self.register_buffer("whole", whole, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Add the low-rank products, in float32."""
        total = weight.float()
        for i, scale in enumerate(self.scales):
            product: Tensor = getattr(self, f"up{i}").float() @ getattr(self, f"down{i}").float()
            total = total + scale * product.view(weight.shape)
        if self.whole is not None:
            total = total + self.whole.view(weight.shape)
        return total.to(weight.dtype)


@dataclass(frozen=True)
class Attached:
    """LoRAs that are live on a network; `detach` takes them off."""

    network: nn.Module
    places: tuple[tuple[str, str], ...]

    def detach(self) -> None:
        """Take the LoRAs off; the weights were never touched."""
        for layer, kind in self.places:
            parametrize.remove_parametrizations(self.network.get_submodule(layer), kind, leave_parametrized=False)


def attach(network: nn.Module, loras: Sequence[tuple[Lora, float]]) -> Attached:
    """Put LoRAs beside the network's weights, each times its weight: nothing is copied, every use costs the product.

    For trying LoRAs out on a network that is used without them too. Raises CheckpointError if some are live already.
    """
    layers = dict.fromkeys(layer for lora, _ in loras for layer in lora.additions)
    places: list[tuple[str, str]] = []
    for layer in layers:
        module = network.get_submodule(layer)
        if parametrize.is_parametrized(module):
            raise CheckpointError(f"LoRAs are live on {layer} already; detach them first, or attach all at once")
        for kind in ("weight", "bias"):
            live = _live(layer, kind, loras, getattr(module, kind, None))
            if live is not None:
                parametrize.register_parametrization(module, kind, live)
                places.append((layer, kind))
    return Attached(network, tuple(places))


def _live(layer: str, kind: str, loras: Sequence[tuple[Lora, float]], parameter: Tensor | None) -> _Live | None:
    pairs: list[tuple[Tensor, Tensor, float]] = []
    whole: Tensor | None = None
    for lora, strength in loras:
        addition = lora.additions.get(layer)
        if addition is None or parameter is None:
            continue
        difference = addition.weight if kind == "weight" else addition.bias
        if kind == "weight" and addition.down is not None and addition.up is not None:
            scale = 1.0 if addition.alpha is None else addition.alpha / addition.down.shape[0]
            down, up = (part.flatten(1).to(parameter.device) for part in (addition.down, addition.up))
            pairs.append((down, up, strength * scale))
        elif difference is not None:
            change = strength * difference.float().to(parameter.device)
            whole = change if whole is None else whole + change
    return _Live(pairs, whole) if pairs or whole is not None else None
