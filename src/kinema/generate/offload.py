"""Layers whose weights rest elsewhere: each comes before its turn, while the one before computes, and goes after it."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor, nn

Fetch = Callable[[], Mapping[str, Tensor]]
"""Gives the weights of one layer, by their names within it, on the device that computes."""


class Ahead:
    """Goes through the layers of a network; the weights of those in `fetches` are there while their layer's turn lasts.

    While a layer computes, the next one is fetched in a thread, and on a GPU over a stream of its own; so at most two
    of them are there at once. The numbers are the same as if all were. Assign one to `DiT.visit`.
    """

    def __init__(self, fetches: Mapping[int, Fetch], device: torch.device) -> None:
        """`fetches` are those of the layers that rest, by their number."""
        self._fetches = dict(sorted(fetches.items()))
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="weights")

    def __call__(self, layers: nn.ModuleList) -> Iterator[nn.Module]:
        """Give the layers in their order. Raises what a fetch raises."""
        waiting = iter(self._fetches.values())
        coming = self._order(waiting)
        for number, layer in enumerate(layers):
            if number not in self._fetches:
                yield layer
                continue
            assert coming is not None
            outline = put(layer, self._arrived(coming))
            coming = self._order(waiting)
            try:
                yield layer
            finally:
                put(layer, outline)

    def _order(self, waiting: Iterator[Fetch]) -> "Future[tuple[Mapping[str, Tensor], torch.cuda.Event | None]] | None":
        fetch = next(waiting, None)
        return None if fetch is None else self._thread.submit(self._fetch, fetch)

    def _fetch(self, fetch: Fetch) -> "tuple[Mapping[str, Tensor], torch.cuda.Event | None]":
        if self._stream is None:
            return fetch(), None
        with torch.cuda.stream(self._stream):
            weights = fetch()
            return weights, self._stream.record_event()

    def _arrived(self, coming: "Future[tuple[Mapping[str, Tensor], torch.cuda.Event | None]]") -> Mapping[str, Tensor]:
        weights, event = coming.result()
        if event is not None:
            computing = torch.cuda.current_stream()
            computing.wait_event(event)
            for weight in weights.values():
                weight.record_stream(computing)  # its memory is not given away before the layer has used it
        return weights


@torch.inference_mode(False)  # in which tensors of torchao could not become parameters
def put(network: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give a network other tensors for some of its weights; returns those that it had."""
    before = {}
    for name, weight in weights.items():
        place, _, leaf = name.rpartition(".")
        module = network.get_submodule(place)
        before[name] = getattr(module, leaf).detach()
        setattr(module, leaf, nn.Parameter(weight, requires_grad=False))
    return before
