"""Channels that the decoder does not see hardly count; weights are 1 on average and change no best velocity."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from kinema.diffusion.objective import clip_losses
from kinema.errors import SpecError
from kinema.train.channels import LEAST, channel_weights, measure_gains, weights_for
from kinema.train.config import FlowStage, ForcingStage
from kinema.train.recipes import CAUSAL_RECIPES, RECIPES


class Painter(torch.nn.Module):
    """Paints channel 0 at full strength, channel 1 at half, and leaves channel 2 out."""

    def __init__(self) -> None:
        super().__init__()
        self.strength = torch.nn.Parameter(torch.tensor([1.0, 0.5, 0.0]))

    def decode(self, latents: Tensor) -> Tensor:
        return torch.einsum("bctyx,c->btyx", latents, self.strength)[..., None]


class Stored:
    num_training = 4

    def training(self, indices: Tensor) -> Tensor:
        return torch.randn(len(indices), 3, 2, 4, 4, generator=torch.Generator().manual_seed(1))


def test_gains_are_shares_of_the_change_of_the_picture() -> None:
    gains = measure_gains(Painter(), Stored().training(torch.arange(4)))  # type: ignore[arg-type]
    assert np.allclose(gains, [0.8, 0.2, 0.0])


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_weights_are_one_on_average_and_follow_the_gains(power: float) -> None:
    weights = channel_weights(torch.tensor([0.8, 0.2, 0.0]), power)
    assert weights.mean().item() == pytest.approx(1.0)
    ratio = (2.4**power + LEAST) / (0.6**power + LEAST)
    assert (weights[0] / weights[1]).item() == pytest.approx(ratio)
    assert (weights[2] / weights[0]).item() == pytest.approx(LEAST / (2.4**power + LEAST))


def test_a_stage_without_power_counts_all_channels_alike() -> None:
    assert weights_for(0.0, Painter(), Stored()) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("power", [-0.5, float("nan"), float("inf")])
@pytest.mark.parametrize("stage", [RECIPES["tiny"].flow, CAUSAL_RECIPES["tiny-causal"].forcing])
def test_powers_that_would_count_most_what_nobody_sees_are_refused(
    stage: FlowStage | ForcingStage, power: float
) -> None:
    with pytest.raises(SpecError, match=r"use 0 .* to 1"):
        dataclasses.replace(stage, channel_power=power)


def test_the_loss_of_a_channel_counts_by_its_weight() -> None:
    data, noise = torch.zeros(2, 2, 1, 2, 2), torch.zeros(2, 2, 1, 2, 2)
    velocity = torch.zeros(2, 2, 1, 2, 2)
    velocity[:, 0], velocity[:, 1] = 1.0, 3.0
    assert clip_losses(velocity, data, noise).tolist() == [5.0, 5.0]
    losses = clip_losses(velocity, data, noise, channels=torch.tensor([1.5, 0.5]))
    assert losses.tolist() == pytest.approx([3.0, 3.0])  # (1.5 * 1 + 0.5 * 9) / 2
