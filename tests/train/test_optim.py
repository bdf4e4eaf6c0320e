from itertools import pairwise

import pytest
import torch
from torch import nn

from kinema.model.presets import PRESETS
from kinema.model.text import TextEncoder
from kinema.train.config import OptimConfig
from kinema.train.optim import build_optimizers, learning_rate_share, set_learning_rate


def test_the_rate_rises_to_its_peak_and_ends_at_its_floor():
    config = OptimConfig(learning_rate=1.0, warmup_clips=100, final_share=0.1)
    shares = [learning_rate_share(config, clips, 1000) for clips in range(1001)]
    assert shares[0] == pytest.approx(0.01)
    assert max(shares) == shares[100] == pytest.approx(1.0)
    assert shares[1000] == pytest.approx(0.1)
    assert all(a > b for a, b in pairwise(shares[100:]))


def test_a_constant_schedule_stays_at_its_peak():
    config = OptimConfig(learning_rate=1.0, warmup_clips=10, schedule="constant")
    assert [learning_rate_share(config, clips, 1000) for clips in (10, 500, 1000)] == [1.0, 1.0, 1.0]


def test_only_matrices_are_decayed():
    layer = nn.Linear(4, 4)
    (optimizer,) = build_optimizers(layer.named_parameters(), OptimConfig(learning_rate=1.0, weight_decay=0.5))
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays == {id(layer.weight): 0.5, id(layer.bias): 0.0}


def test_every_parameter_has_exactly_one_optimizer_when_muon_takes_the_hidden_matrices():
    network = nn.ModuleDict({"embedding": nn.Embedding(8, 4), "hidden": nn.Linear(4, 4), "proj_out": nn.Linear(4, 2)})
    config = OptimConfig(learning_rate=1e-3, muon_learning_rate=1e-2)
    adamw, muon = build_optimizers(network.named_parameters(), config)
    taken = [[id(p) for group in optimizer.param_groups for p in group["params"]] for optimizer in (adamw, muon)]
    assert taken[1] == [id(network["hidden"].weight)]
    assert sorted(taken[0] + taken[1]) == sorted(id(p) for p in network.parameters())


def test_muon_leaves_the_text_encoder_alone():
    network = nn.ModuleDict({"dit": nn.ModuleList([nn.Linear(4, 4)]), "text": nn.ModuleList([nn.Linear(4, 4)])})
    _, muon = build_optimizers(network.named_parameters(), OptimConfig(learning_rate=1e-3, muon_learning_rate=1e-2))
    assert [id(p) for group in muon.param_groups for p in group["params"]] == [id(network["dit"][0].weight)]


def test_the_parts_of_the_text_encoder_move_at_their_own_rates():
    text = TextEncoder(PRESETS["tiny"].text)
    network = nn.ModuleDict({"text": text})
    (adamw,) = build_optimizers(network.named_parameters(), OptimConfig(learning_rate=1e-3, muon_learning_rate=1e-2))
    rates = {id(p): group["lr"] for group in adamw.param_groups for p in group["params"]}
    assert len(rates) == len(list(text.parameters()))
    attention = text.layers[0].attention
    assert rates[id(attention.to_q.weight)] == pytest.approx(1.25e-4)
    assert rates[id(attention.to_k.weight)] == pytest.approx(5e-4)
    assert rates[id(attention.position_bias.weight)] == pytest.approx(2e-2)
    assert rates[id(attention.to_v.weight)] == rates[id(text.embed.weight)] == pytest.approx(1e-3)


def test_the_share_scales_each_group_from_its_own_peak():
    parameter = nn.Parameter(torch.zeros(2, 2))
    adamw, muon = build_optimizers(
        [("bias", nn.Parameter(torch.zeros(2))), ("hidden", parameter)],
        OptimConfig(learning_rate=1e-3, muon_learning_rate=1e-2),
    )
    set_learning_rate([adamw, muon], 0.5)
    assert adamw.param_groups[0]["lr"] == pytest.approx(5e-4)
    assert muon.param_groups[0]["lr"] == pytest.approx(5e-3)


def test_a_stable_rate_falls_in_a_straight_line_at_the_end():
    config = OptimConfig(learning_rate=1.0, warmup_clips=10, schedule="stable_decay", decay_share=0.2, final_share=0.0)
    shares = [learning_rate_share(config, clips, 1000) for clips in (10, 500, 800, 900, 1000)]
    assert shares == pytest.approx([1.0, 1.0, 1.0, 0.5, 0.0])
