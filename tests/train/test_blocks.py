"""Blocks that are compiled or computed again: the same numbers and names, and copies that stay as they were."""

import copy

import torch
from torch import nn

from kinema.model.dit import DiT
from kinema.model.presets import PRESETS
from kinema.train.blocks import compile_parts, recompute_blocks
from kinema.train.grounding import listening


def test_a_compiled_transformer_gives_the_same_and_is_still_heard(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function: lambda *args: function(*args))  # a compiler takes a minute
    torch.manual_seed(0)
    config = PRESETS["tiny"].dit
    networks = nn.ModuleDict({"dit": DiT(config)})
    for parameter in networks.parameters():
        nn.init.normal_(parameter, std=0.1)
    averaged = copy.deepcopy(networks)
    names = set(networks.state_dict())
    compile_parts(networks)
    assert set(networks.state_dict()) == names
    latent, time, text = torch.randn(2, 4, 3, 4, 4), torch.rand(2, 3), torch.randn(2, 5, config.text_dim)
    with listening(networks["dit"], 0) as heard:
        compiled = networks["dit"](latent, time, text)
    torch.testing.assert_close(compiled, averaged["dit"](latent, time, text))
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter.zero_()
    assert heard.tokens.abs().sum() > 0
    assert averaged["dit"](latent, time, text).abs().sum() > 0


def test_blocks_that_are_computed_again_give_the_same_gradients_and_are_heard():
    torch.manual_seed(0)
    config = PRESETS["tiny"].dit
    kept = nn.ModuleDict({"dit": DiT(config)})
    for parameter in kept.parameters():
        nn.init.normal_(parameter, std=0.1)
    again = copy.deepcopy(kept)
    recompute_blocks(again)
    latent, time, text = torch.randn(2, 4, 3, 4, 4), torch.rand(2, 3), torch.randn(2, 5, config.text_dim)
    calls = []
    again["dit"].blocks[0].up.register_forward_hook(lambda *_: calls.append(1))
    for networks in (kept, again):
        with listening(networks["dit"], 0) as heard:
            output = networks["dit"](latent, time, text)
        (output.square().mean() + heard.tokens.square().mean()).backward()
    assert len(calls) == 2
    for (name, one), other in zip(kept.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)
