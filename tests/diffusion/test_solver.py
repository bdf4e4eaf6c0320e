import math

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler, UniPCMultistepScheduler
from torch import Tensor

from kinema.diffusion.schedule import (
    Schedule,
    diffusers_euler_schedule,
    diffusers_unipc_schedule,
    shifted_schedule,
    shifted_times,
)
from kinema.diffusion.solver import SOLVERS, euler, heun, unipc

MEAN, STD = 0.7, 0.4
NOISE = torch.linspace(-2, 2, 9, dtype=torch.float64)


def gaussian_velocity(latent: Tensor, time: Tensor) -> Tensor:
    """E[e - x_0 | x_t] for data drawn from N(MEAN, STD^2), the one flow that is known in closed form."""
    centred = (latent - (1 - time) * MEAN) / ((1 - time) ** 2 * STD**2 + time**2)
    return time * centred - (MEAN + (1 - time) * STD**2 * centred)


def gaussian_flow(noise: Tensor, time: float) -> Tensor:
    """Where that flow carries `noise`: the same quantile of N((1 - t) MEAN, (1 - t)^2 STD^2 + t^2)."""
    return (1 - time) * MEAN + noise * math.sqrt((1 - time) ** 2 * STD**2 + time**2)


def wavy_velocity(latent: Tensor, time: Tensor) -> Tensor:
    """Arbitrary, smooth, not linear, and mixing neighbours."""
    return torch.tanh(latent.roll(1, -1) - 0.3 * latent) + torch.cos(3 * latent) * time - 0.2


def error_on_the_gaussian_flow(name: str, schedule: Schedule) -> float:
    start = gaussian_flow(NOISE, schedule.sigmas[0])
    end = SOLVERS[name](gaussian_velocity, start, schedule, None)
    return (end - gaussian_flow(NOISE, schedule.sigmas[-1])).abs().max().item()


def part_of_the_way(steps: int) -> Schedule:
    sigmas = tuple(0.9 - 0.8 * step / steps for step in range(steps + 1))
    return Schedule(sigmas=sigmas, times=sigmas[:-1])


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2), ("unipc", 2)])
def test_the_error_falls_with_the_order_of_the_solver(name: str, order: int) -> None:
    for make, steps in ((part_of_the_way, 40), (lambda steps: shifted_schedule(steps, 1.0), 80)):
        coarse, fine = (error_on_the_gaussian_flow(name, make(count)) for count in (steps, 4 * steps))
        measured = math.log(coarse / fine) / math.log(4)
        assert order - 0.1 < measured < order + 1.5, f"{name} converges with order {measured:.2f}"


def test_unipc_is_better_than_euler_at_the_steps_people_use() -> None:
    for steps in (15, 20, 50):
        assert error_on_the_gaussian_flow("unipc", shifted_schedule(steps, 1.0)) < 0.2 * error_on_the_gaussian_flow(
            "euler", shifted_schedule(steps, 1.0)
        )


@pytest.mark.parametrize("name", SOLVERS)
def test_one_step_to_time_0_is_the_predicted_data(name: str) -> None:
    schedule = Schedule(sigmas=(0.6, 0.0), times=(0.6,))
    latent = NOISE.clone()
    expected = latent - 0.6 * wavy_velocity(latent, torch.tensor(0.6, dtype=torch.float64))
    assert torch.allclose(SOLVERS[name](wavy_velocity, latent, schedule, None), expected, atol=1e-12)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_straight_path_is_followed_without_error(name: str) -> None:
    data, noise = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    end = SOLVERS[name](lambda latent, time: noise - data, noise, shifted_schedule(7, 3.0), None)
    assert torch.allclose(end, data, atol=1e-12)


@pytest.mark.parametrize("make", [shifted_schedule, diffusers_unipc_schedule, diffusers_euler_schedule])
@pytest.mark.parametrize("name", SOLVERS)
def test_frames_whose_velocity_is_zero_come_back_bit_for_bit(name: str, make: object) -> None:
    latent = torch.randn(1, 3, 5, 4, 4, generator=torch.Generator().manual_seed(2))
    moving = torch.tensor([0.0, 1, 0, 1, 1])[None, None, :, None, None]
    end = SOLVERS[name](lambda x, t: wavy_velocity(x, t) * moving, latent, make(9, 3.0), None)  # type: ignore[operator]
    assert torch.equal(end[:, :, [0, 2]], latent[:, :, [0, 2]])
    assert not torch.isclose(end[:, :, [1, 3, 4]], latent[:, :, [1, 3, 4]]).all()


@pytest.mark.parametrize(("name", "calls"), [("euler", 6), ("heun", 11), ("unipc", 6)])
def test_the_network_is_called_as_often_as_promised_and_told_the_network_times(name: str, calls: int) -> None:
    schedule = diffusers_unipc_schedule(6, 3.0)
    told: list[float] = []

    def velocity(latent: Tensor, time: Tensor) -> Tensor:
        told.append(time.item())
        return -latent

    SOLVERS[name](velocity, NOISE.float(), schedule, None)
    assert len(told) == calls
    assert set(told) == {torch.tensor(time).item() for time in schedule.times}


@pytest.mark.parametrize("name", SOLVERS)
def test_on_step_sees_every_step_and_can_cancel(name: str) -> None:
    seen: list[tuple[int, Tensor]] = []
    end = SOLVERS[name](wavy_velocity, NOISE, shifted_schedule(5, 3.0), lambda step, x: seen.append((step, x)))
    assert [step for step, _ in seen] == [0, 1, 2, 3, 4]
    assert torch.equal(seen[-1][1], end)

    def cancel(step: int, latent: Tensor) -> None:
        if step == 2:
            raise KeyboardInterrupt

    calls: list[float] = []

    def velocity(latent: Tensor, time: Tensor) -> Tensor:
        calls.append(time.item())
        return -latent

    with pytest.raises(KeyboardInterrupt):
        SOLVERS[name](velocity, NOISE, shifted_schedule(5, 3.0), cancel)
    assert min(calls) >= shifted_times(5, 3.0)[3]


@pytest.mark.parametrize("name", SOLVERS)
def test_a_network_in_bfloat16_leaves_the_latent_in_float32(name: str) -> None:
    latent = torch.randn(2, 8, generator=torch.Generator().manual_seed(3))
    dtypes: list[torch.dtype] = []

    def velocity(x: Tensor, time: Tensor) -> Tensor:
        dtypes.extend((x.dtype, time.dtype))
        return wavy_velocity(x, time).bfloat16()

    end = SOLVERS[name](velocity, latent, shifted_schedule(4, 3.0), None)
    assert end.dtype == torch.float32
    assert set(dtypes) == {torch.float32}


@pytest.mark.parametrize("shift", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 12, 50])
def test_unipc_against_diffusers_at_every_step(steps: int, shift: float) -> None:
    scheduler = UniPCMultistepScheduler(
        use_flow_sigmas=True, flow_shift=shift, prediction_type="flow_prediction", num_train_timesteps=1000
    )
    noise = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(steps))
    ours: list[Tensor] = []
    unipc(wavy_velocity, noise, diffusers_unipc_schedule(steps, shift), lambda _, latent: ours.append(latent))
    assert_every_step_agrees(scheduler, noise, steps, ours)


@pytest.mark.parametrize("shift", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 12, 50])
def test_euler_against_diffusers_at_every_step(steps: int, shift: float) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    noise = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(steps))
    ours: list[Tensor] = []
    euler(wavy_velocity, noise, diffusers_euler_schedule(steps, shift), lambda _, latent: ours.append(latent))
    assert_every_step_agrees(scheduler, noise, steps, ours)


@pytest.mark.parametrize("steps", [2, 3, 12])
def test_heun_against_diffusers(steps: int) -> None:
    scheduler = FlowMatchHeunDiscreteScheduler(shift=3.0)
    noise = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(steps))
    end = heun(wavy_velocity, noise, diffusers_euler_schedule(steps, 3.0))
    theirs = run_diffusers(scheduler, noise, steps)
    assert torch.allclose(end, theirs[-1], rtol=0, atol=1e-5)


def run_diffusers(scheduler: object, noise: Tensor, steps: int) -> list[Tensor]:
    scheduler.set_timesteps(steps)  # type: ignore[attr-defined]
    scheduler.set_begin_index(0)  # type: ignore[attr-defined]
    latent, latents = noise, []
    for timestep in scheduler.timesteps:  # type: ignore[attr-defined]
        velocity = wavy_velocity(latent, timestep / 1000)
        latent = scheduler.step(velocity, timestep, latent, return_dict=False)[0]  # type: ignore[attr-defined]
        latents.append(latent)
    return latents


def assert_every_step_agrees(scheduler: object, noise: Tensor, steps: int, ours: list[Tensor]) -> None:
    theirs = run_diffusers(scheduler, noise, steps)
    assert len(ours) == len(theirs) == steps
    for step, (mine, reference) in enumerate(zip(ours, theirs, strict=True)):
        assert torch.allclose(mine, reference, rtol=0, atol=1e-5), f"step {step}: {(mine - reference).abs().max()}"
