"""Networks that come from their files when they are needed, and go when others are."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from kinema.checkpoint.lora import Lora
from kinema.checkpoint.source import Source
from kinema.generate.device import give_back_memory
from kinema.generate.means import Means, companions, layers_away
from kinema.generate.offload import Ahead, Fetch, put
from kinema.model import DiT, Model, TextEncoder
from kinema.model.lora import add_loras
from kinema.model.quantize import is_quantized, quantized


class Turns:
    """Gives the networks of an outline their weights, as far and as long as `means` says.

    Layers that come one by one rest in main memory where a GPU computes, and else in the files.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        """`model` is an outline, on the device `meta`; its weights will be of the number type that it has."""
        self.device = device
        self.means = Means()
        self._model = model
        self._outlines = {network: dict(network.named_parameters()) for network in model.sources}
        self._sources: dict[nn.Module, Source] = {}
        self._loras: Mapping[nn.Module, Sequence[tuple[Lora, float]]] = {}
        self._present: set[nn.Module] = set()

    def use(self, means: Means) -> None:
        """Go on by other means; they begin with nothing there."""
        if means != self.means:
            self._let_go(*self._present)
        self.means = means

    def use_loras(self, loras: Mapping[nn.Module, Sequence[tuple[Lora, float]]]) -> None:
        """Add LoRAs to the weights of these networks from now on, in the place of those before."""
        self._let_go(*(self._present & {*self._loras, *loras}))
        self._loras = loras

    def bring(self, network: nn.Module) -> None:
        """Have a network there, and let those go that do not stay beside it. Raises CheckpointError."""
        if network not in self._present:
            self._let_go(*(self._present - companions(self._model, self.means, network)))
            self._load(network)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _load(self, network: nn.Module) -> None:
        outline = self._outlines[network]
        away = {f"{name}.": number for name, number in layers_away(network, self.means).items()}
        resting: dict[str, dict[str, Tensor]] = {prefix: {} for prefix in away}
        staying: dict[str, Tensor] = {}
        for name, weight in outline.items():
            prefix = next((prefix for prefix in away if name.startswith(prefix)), None)
            (staying if prefix is None else resting[prefix])[name] = weight
        for part in self._parts(network, staying):
            put(network, self._read(network, part, self.device))
        self._present.add(network)
        if isinstance(network, DiT | TextEncoder) and away:
            fetches = {away[prefix]: self._fetch(network, prefix, weights) for prefix, weights in resting.items()}
            network.visit = Ahead(fetches, self.device)

    def _parts(self, network: nn.Module, outline: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
        """What to read at once: where weights shrink when they are read, a layer after the other."""
        if self.means.quantize is None or not isinstance(network, DiT):
            yield outline
            return
        for _, names in itertools.groupby(outline, key=lambda name: name.split(".")[:2]):
            yield {name: outline[name] for name in names}

    def _read(
        self, network: nn.Module, outline: Mapping[str, Tensor], device: torch.device, *, is_pinned: bool = False
    ) -> dict[str, Tensor]:
        """Read those weights of a network, its LoRAs added, with as many bits as are wanted."""
        if network not in self._sources:
            self._sources[network] = self._model.source(network)
        weights = {
            name: torch.empty_like(weight, device=device, pin_memory=is_pinned, requires_grad=False)
            for name, weight in outline.items()
        }
        self._sources[network].fill(weights)
        add_loras(weights, self._loras.get(network, ()))
        kind = self.means.quantize
        if kind is not None and isinstance(network, DiT):
            weights |= {name: quantized(each, kind) for name, each in weights.items() if is_quantized(name, each)}
        return weights

    def _fetch(self, network: nn.Module, prefix: str, outline: Mapping[str, Tensor]) -> Fetch:
        """What gives the weights of one layer when its turn comes."""
        if self.device.type == "cpu":
            return lambda: _without(prefix, self._read(network, outline, self.device))
        held = _without(prefix, self._read(network, outline, torch.device("cpu"), is_pinned=self.device.type == "cuda"))
        return lambda: {name: weight.to(self.device, non_blocking=True) for name, weight in held.items()}

    def _let_go(self, *networks: nn.Module) -> None:
        for network in networks:
            if isinstance(network, DiT | TextEncoder):
                network.visit = iter
            put(network, self._outlines[network])
            self._present.remove(network)
        if networks:
            give_back_memory(self.device)


def _without(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): weight for name, weight in weights.items()}
