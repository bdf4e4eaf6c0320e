import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kinema.diffusion.objective import (
    TimeSampling,
    clip_losses,
    data_from_velocity,
    flow_matching_loss,
    frame_times,
    interpolate,
    noise_from_velocity,
    velocity_target,
)
from kinema.errors import SpecError

SHAPE = (3, 2, 4, 5, 6)  # b c t y x
SEEDS = st.integers(0, 2**31)


def draw(seed: int) -> tuple[Tensor, Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(seed)
    data, noise = torch.randn(2, *SHAPE, generator=generator, dtype=torch.float64)
    return data, noise, generator


@given(seed=SEEDS, axes=st.sampled_from(["", "b", "b t"]))
def test_a_point_and_its_velocity_give_back_both_ends_of_the_path(seed: int, axes: str) -> None:
    data, noise, generator = draw(seed)
    shape = {"": (), "b": SHAPE[:1], "b t": (SHAPE[0], SHAPE[2])}[axes]
    time = torch.rand(shape, generator=generator, dtype=torch.float64)
    latent, velocity = interpolate(data, noise, time), velocity_target(data, noise)
    assert torch.allclose(data_from_velocity(latent, velocity, time), data, atol=1e-12)
    assert torch.allclose(noise_from_velocity(latent, velocity, time), noise, atol=1e-12)


@given(seed=SEEDS)
def test_the_velocity_is_the_slope_of_the_path(seed: int) -> None:
    data, noise, generator = draw(seed)
    early, late = torch.rand(2, SHAPE[0], generator=generator, dtype=torch.float64)
    moved = interpolate(data, noise, late) - interpolate(data, noise, early)
    assert torch.allclose(moved, (late - early)[:, None, None, None, None] * velocity_target(data, noise), atol=1e-12)


def test_the_ends_of_the_path_are_exact_and_each_frame_has_its_own_time() -> None:
    data, noise, _ = draw(0)
    time = torch.zeros(SHAPE[0], SHAPE[2], dtype=torch.float64)
    time[0, 1] = time[2, 3] = 1
    latent = interpolate(data, noise, time)
    assert torch.equal(latent[0, :, 1], noise[0, :, 1])
    assert torch.equal(latent[2, :, 3], noise[2, :, 3])
    assert torch.equal(latent[1], data[1])
    assert torch.equal(latent[0, :, 2:], data[0, :, 2:])


def test_given_frames_stand_at_time_0_and_the_others_at_the_time_of_their_clip() -> None:
    clean = torch.tensor([[True, False, False], [False, False, True]])
    assert frame_times(torch.tensor([0.25, 0.75]), clean).tolist() == [[0.0, 0.25, 0.25], [0.75, 0.75, 0.0]]


def test_given_frames_neither_count_in_the_loss_nor_pass_a_gradient() -> None:
    data, noise, generator = draw(1)
    clean = torch.tensor([[True, False, False, False], [False] * 4, [True, True, True, False]])
    velocity = torch.randn(SHAPE, generator=generator, dtype=torch.float64, requires_grad=True)
    loss = flow_matching_loss(velocity, data, noise, clean)
    loss.backward()
    squares = (velocity - (noise - data)).detach().square()
    expected = (squares[0, :, 1:].mean() + squares[1].mean() + squares[2, :, 3:].mean()) / 3
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert velocity.grad is not None
    untouched = clean[:, None, :, None, None].expand(SHAPE)
    assert (velocity.grad[untouched] == 0).all()
    assert (velocity.grad[~untouched] != 0).all()


def test_a_given_frame_cannot_spoil_the_loss_even_where_the_network_says_nan() -> None:
    data, noise, _ = draw(2)
    clean = torch.zeros(SHAPE[0], SHAPE[2], dtype=torch.bool)
    clean[:, 0] = True
    velocity = velocity_target(data, noise)
    velocity[:, :, 0] = math.nan
    assert flow_matching_loss(velocity, data, noise, clean).item() == pytest.approx(0, abs=1e-10)


def test_without_given_frames_the_loss_is_the_plain_mean() -> None:
    data, noise, generator = draw(3)
    velocity = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    plain = (velocity - (noise - data)).square().mean().item()
    none = torch.zeros(SHAPE[0], SHAPE[2], dtype=torch.bool)
    assert flow_matching_loss(velocity, data, noise).item() == pytest.approx(plain, rel=1e-5)
    assert flow_matching_loss(velocity, data, noise, none).item() == pytest.approx(plain, rel=1e-5)
    assert clip_losses(velocity, data, noise, ~none).tolist() == [0, 0, 0]


@given(seed=SEEDS, weight=st.floats(-2, 2))
def test_the_loss_is_lowest_at_the_target(seed: int, weight: float) -> None:
    data, noise, generator = draw(seed)
    elsewhere = velocity_target(data, noise) + weight * torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    at_target = flow_matching_loss(velocity_target(data, noise), data, noise)
    assert at_target.item() < 1e-12
    assert flow_matching_loss(elsewhere, data, noise).item() >= at_target.item() - 1e-12  # what float32 leaves


SAMPLINGS = [
    TimeSampling(distribution=distribution, mean=mean, std=std, shift=shift, stratified=stratified)
    for distribution, mean, std in (("uniform", 0.0, 1.0), ("logit_normal", 0.0, 1.0), ("logit_normal", 0.5, 0.7))
    for shift in (1.0, 3.0)
    for stratified in (False, True)
]


def quantile_of(time: Tensor, sampling: TimeSampling) -> Tensor:
    """The distribution function that `sampling` promises, from its definition: undo the shift, then the logit."""
    time = time.double()
    time = time / (sampling.shift - (sampling.shift - 1) * time)
    if sampling.distribution == "uniform":
        return time
    return torch.special.ndtr((torch.logit(time) - sampling.mean) / sampling.std)


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_times_follow_the_distribution_that_was_asked_for(sampling: TimeSampling) -> None:
    generator = torch.Generator().manual_seed(4)
    times = sampling.sample(4000, generator)
    assert times.dtype == torch.float32
    assert ((times >= 0) & (times <= 1)).all()
    quantiles = quantile_of(times, sampling).sort().values
    distance = (quantiles - torch.arange(4000) / 4000).abs().max().item()  # Kolmogorov and Smirnov's
    assert distance < (0.002 if sampling.stratified else 1.63 / math.sqrt(4000))


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_the_time_of_one_place_in_the_batch_has_that_distribution_too(sampling: TimeSampling) -> None:
    generator = torch.Generator().manual_seed(5)
    times = torch.stack([sampling.sample(4, generator) for _ in range(2000)])
    for place in range(4):
        quantiles = quantile_of(times[:, place], sampling).sort().values
        assert (quantiles - torch.arange(2000) / 2000).abs().max() < 1.95 / math.sqrt(2000)


def test_a_stratified_batch_covers_every_part_of_the_distribution() -> None:
    times = TimeSampling(distribution="uniform").sample(8, torch.Generator().manual_seed(6))
    assert sorted((times * 8).long().tolist()) == list(range(8))


def test_the_same_generator_draws_the_same_times() -> None:
    first, second = (TimeSampling().sample(16, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("wrong", [{"std": 0.0}, {"shift": -1.0}, {"shift": math.nan}])
def test_settings_that_make_no_distribution_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=next(iter(wrong))):
        TimeSampling(**wrong)  # type: ignore[arg-type]


def test_places_count_as_much_as_their_weight_says():
    torch.manual_seed(0)
    velocity, data, noise = (torch.randn(2, 3, 2, 4, 4) for _ in range(3))
    plain = clip_losses(velocity, data, noise)
    torch.testing.assert_close(clip_losses(velocity, data, noise, None, torch.full((2, 2, 4, 4), 7.0)), plain)
    left = torch.zeros(2, 2, 4, 4)
    left[..., :2] = 1.0
    only_left = clip_losses(*(part[..., :2] for part in (velocity, data, noise)))
    torch.testing.assert_close(clip_losses(velocity, data, noise, None, left), only_left)
    clean = torch.tensor([[True, False], [False, False]])
    both = clip_losses(velocity, data, noise, clean, left)
    torch.testing.assert_close(both[0], clip_losses(*(part[:1, :, 1:, :, :2] for part in (velocity, data, noise)))[0])
