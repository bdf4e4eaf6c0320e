"""Weights that are read in parts, and in pieces."""

from pathlib import Path

import pytest
import torch
from torch import nn

import kinema.checkpoint.source as source
from kinema.checkpoint.layouts import Layout
from kinema.checkpoint.weights import open_source, save_weights

LAYOUT = Layout(names=())


@pytest.fixture
def network(tmp_path: Path) -> nn.Module:
    torch.manual_seed(0)
    network = nn.ModuleDict({"first": nn.Linear(7, 50), "second": nn.Linear(50, 3)})
    save_weights(network, tmp_path, "weights", LAYOUT)
    return network


def test_a_part_of_a_network_is_read_alone_and_as_often_as_wanted(network: nn.Module, tmp_path: Path) -> None:
    found = open_source(network.to("meta"), tmp_path, "weights", LAYOUT)
    for _ in range(2):
        targets = {"second.weight": torch.zeros(3, 50, dtype=torch.bfloat16)}
        found.fill(targets)
        assert targets["second.weight"].abs().min() > 0
    whole = nn.ModuleDict({"first": nn.Linear(7, 50), "second": nn.Linear(50, 3)})
    found.fill(whole.state_dict())
    assert torch.equal(targets["second.weight"], whole["second"].weight.bfloat16())


def test_a_large_tensor_comes_in_pieces(network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_PIECE", 30)
    sizes = []
    rows = source.Tensors.rows

    def counted(*arguments: object) -> torch.Tensor:
        piece = rows(*arguments)  # type: ignore[arg-type]
        sizes.append(piece.numel())
        return piece

    monkeypatch.setattr(source.Tensors, "rows", counted)
    targets = {name: torch.zeros(weight.shape) for name, weight in network.state_dict().items()}
    open_source(network, tmp_path, "weights", LAYOUT).fill(targets)
    assert all(torch.equal(targets[name], weight) for name, weight in network.state_dict().items())
    assert max(sizes) == 50  # a row of the second layer is longer than a piece; whole tensors have up to 350 numbers
