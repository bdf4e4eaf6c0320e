"""What can be done so that a generation takes less memory."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from kinema.model import DiT, Model, TextEncoder, Tiles
from kinema.model.quantize import is_quantized, quantized_bytes


@dataclass(frozen=True, kw_only=True)
class Means:
    """How a generation keeps to little memory; the result is the same, but with `tiles` and `quantize` close."""

    in_turn: Literal["none", "text", "all"] = "none"
    """Which networks give way: none; those that read words and pictures, and the others to them; or each to each."""
    text_layers: int = 0
    """Layers of the text encoder that come one by one."""
    blocks: int = 0
    """Blocks of each transformer that come one by one, at every step."""
    tiles: Tiles | None = None
    """How the autoencoder cuts pictures; None = not at all."""
    quantize: str | None = None
    """Which eight bits the weights of the transformers' blocks have (`model/quantize.py`); None = their number type."""

    def describe(self) -> list[str]:
        """Say in words what is done."""
        said = {
            "none": [],
            "text": ["the text encoder goes when it has read"],
            "all": ["each network goes when it is done"],
        }[self.in_turn]
        if self.text_layers:
            said.append(f"{self.text_layers} layers of the text encoder come one by one")
        if self.blocks:
            said.append(f"{self.blocks} blocks of the transformer come one by one")
        if self.tiles is not None:
            said.append(f"the autoencoder works in tiles of {self.tiles.side} cells")
        if self.quantize is not None:
            said.append(f"the transformer's blocks have weights of {self.quantize}")
        return said


def companions(model: Model, means: Means, network: nn.Module) -> set[nn.Module]:
    """The networks that are there at the same time, this one among them."""
    readers: set[nn.Module] = {model.text} if model.image is None else {model.text, model.image}
    makers: set[nn.Module] = {*model.experts, model.vae}
    if means.in_turn == "all":
        return {network}
    if means.in_turn == "none":
        return readers | makers
    return readers if network in readers else makers


def layers_away(network: nn.Module, means: Means) -> dict[str, int]:
    """The layers of a network that come one by one, by name, with their numbers: spread out, to be read in time."""
    if isinstance(network, DiT):
        place, count, total = "blocks", means.blocks, len(network.blocks)
    elif isinstance(network, TextEncoder):
        place, count, total = "layers", means.text_layers, len(network.layers)
    else:
        return {}
    return {f"{place}.{number}": number for number in (i * total // count for i in range(count))}


def weight_bytes(network: nn.Module, means: Means) -> int:
    """Memory of a network's weights: of those that come one by one, two layers are there at once."""
    is_dit = means.quantize is not None and isinstance(network, DiT)
    sizes = {
        name: quantized_bytes(weight)
        if is_dit and is_quantized(name, weight)
        else weight.numel() * weight.element_size()
        for name, weight in network.named_parameters()
    }
    away = {f"{name}." for name in layers_away(network, means)}
    layers = [sum(size for name, size in sizes.items() if name.startswith(prefix)) for prefix in away]
    return sum(sizes.values()) - sum(layers) + sum(sorted(layers)[-2:])
