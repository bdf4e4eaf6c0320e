"""Layers that come one by one."""

import threading
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from kinema.generate.offload import Ahead, put

CPU = torch.device("cpu")


@pytest.fixture
def layers() -> nn.ModuleList:
    torch.manual_seed(0)
    return nn.ModuleList(nn.Linear(5, 5) for _ in range(6))


def _emptied(layers: nn.ModuleList, numbers: tuple[int, ...]) -> dict[int, Mapping[str, Tensor]]:
    """Take the weights of some layers out, and give them."""
    kept = {}
    for number in numbers:
        kept[number] = {name: weight.detach() for name, weight in layers[number].named_parameters()}
        put(layers[number], {name: weight.to("meta") for name, weight in kept[number].items()})
    return kept


@torch.inference_mode()
def test_the_numbers_are_the_same_and_nothing_stays(layers: nn.ModuleList) -> None:
    x = torch.randn(2, 5)
    expected = x
    for layer in layers:
        expected = layer(expected)
    kept = _emptied(layers, (1, 2, 5))
    visit = Ahead({number: lambda number=number: kept[number] for number in kept}, CPU)
    for _ in range(2):
        h = x
        for layer in visit(layers):
            h = layer(h)
            assert sum(not each.weight.is_meta for each in layers) <= 3 + 1  # the three that stay, and one that came
        assert torch.equal(h, expected)
        assert [each.weight.is_meta for each in layers] == [False, True, True, False, False, True]


def test_the_next_layer_comes_while_one_computes(layers: nn.ModuleList) -> None:
    kept = _emptied(layers, (0, 1, 2))
    asked = {number: threading.Event() for number in kept}

    def fetch(number: int) -> Mapping[str, Tensor]:
        asked[number].set()
        return kept[number]

    seen = 0
    for number, _ in enumerate(Ahead({number: lambda number=number: fetch(number) for number in kept}, CPU)(layers)):
        if number < 2:
            assert asked[number + 1].wait(timeout=30)
        if number == 0:
            assert not asked[2].is_set()
        seen += 1
    assert seen == 6


def test_a_pass_that_is_broken_off_leaves_nothing(layers: nn.ModuleList) -> None:
    kept = _emptied(layers, (0, 1))
    for _ in Ahead({number: lambda number=number: kept[number] for number in kept}, CPU)(layers):
        break
    assert layers[0].weight.is_meta


def test_what_a_fetch_raises_is_raised(layers: nn.ModuleList) -> None:
    def fail() -> Mapping[str, Tensor]:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(Ahead({3: fail}, CPU)(layers))
