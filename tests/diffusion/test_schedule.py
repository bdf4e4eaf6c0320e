import json
from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler, UniPCMultistepScheduler
from hypothesis import given
from hypothesis import strategies as st

from kinema.checkpoint.sampler import ScheduleConfig, schedule_from_config
from kinema.diffusion.schedule import (
    SCHEDULES,
    Schedule,
    begin_at,
    diffusers_euler_schedule,
    diffusers_unipc_schedule,
    shift_time,
    shifted_schedule,
    shifted_times,
)
from kinema.errors import CheckpointError, SpecError

MAKERS = [shifted_schedule, diffusers_unipc_schedule, diffusers_euler_schedule]
STEPS = st.integers(1, 200)
SHIFTS = st.floats(0.2, 20.0)


@given(steps=STEPS, shift=SHIFTS)
def test_shifted_times_fall_from_1_to_0(steps: int, shift: float) -> None:
    times = shifted_times(steps, shift)
    assert len(times) == steps + 1
    assert times[0] == 1
    assert times[-1] == 0
    assert all(low < high for high, low in pairwise(times))


@given(time=st.floats(0.0, 1.0), shift=SHIFTS)
def test_shifting_back_undoes_the_shift(time: float, shift: float) -> None:
    shifted = shift_time(time, shift)
    assert 0 <= shifted <= 1 + 1e-12
    assert (shifted >= time - 1e-12) == (shift >= 1 or time in (0, 1) or abs(shifted - time) < 1e-12)
    assert shift_time(shifted, 1 / shift) == pytest.approx(time, abs=1e-12)


@pytest.mark.parametrize("make", MAKERS)
@given(steps=STEPS, shift=SHIFTS)
def test_every_schedule_ends_on_data_and_tells_the_network_nearly_the_noise_level(
    make: Any, steps: int, shift: float
) -> None:
    schedule = make(steps, shift)
    assert schedule.num_steps == steps
    assert schedule.sigmas[0] == pytest.approx(1, abs=2e-6)
    assert schedule.sigmas[-1] == 0
    assert all(abs(sigma - time) <= 1.001e-3 for sigma, time in zip(schedule.sigmas, schedule.times, strict=False))


@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0, 12.0])
@pytest.mark.parametrize("steps", [1, 2, 7, 20, 50])
def test_against_diffusers_sigmas_and_timesteps(steps: int, shift: float) -> None:
    unipc = UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=shift, prediction_type="flow_prediction")
    euler = FlowMatchEulerDiscreteScheduler(shift=shift)
    unipc.set_timesteps(steps)
    euler.set_timesteps(steps)
    mine = diffusers_unipc_schedule(steps, shift)
    assert torch.equal(torch.tensor(mine.sigmas), unipc.sigmas)
    assert [round(time * 1000) for time in mine.times] == unipc.timesteps.tolist()
    mine = diffusers_euler_schedule(steps, shift)
    assert torch.allclose(torch.tensor(mine.sigmas), euler.sigmas, rtol=0, atol=1e-6)
    assert torch.allclose(torch.tensor(mine.times) * 1000, euler.timesteps, rtol=0, atol=1e-3)


@pytest.mark.parametrize("make", MAKERS)
def test_steps_and_shifts_that_make_no_schedule_are_refused(make: Any) -> None:
    with pytest.raises(SpecError, match="steps=0"):
        make(0, 3.0)
    for shift in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(SpecError, match="shift="):
            make(10, shift)


@pytest.mark.parametrize(
    ("sigmas", "times", "message"),
    [
        ((1.0, 0.5, 0.0), (1.0,), "one sigma more"),
        ((1.0,), (), "at least one"),
        ((1.0, 1.0, 0.0), (1.0, 1.0), "fall at every step"),
        ((0.0, 1.0), (1.0,), "fall at every step"),
        ((1.5, 0.0), (1.0,), "leave"),
        ((1.0, 0.0), (1000.0,), "leave"),
        ((1.0, float("nan"), 0.0), (1.0, 0.5), "fall at every step"),
    ],
)
def test_numbers_that_are_no_descent_are_refused(
    sigmas: tuple[float, ...], times: tuple[float, ...], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        Schedule(sigmas=sigmas, times=times)


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        (
            UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=5.0, prediction_type="flow_prediction"),
            ScheduleConfig(solver="unipc", shift=5.0),
        ),
        (FlowMatchEulerDiscreteScheduler(shift=7.0), ScheduleConfig(solver="euler", shift=7.0)),
        (FlowMatchHeunDiscreteScheduler(shift=2.0), ScheduleConfig(solver="heun", shift=2.0)),
    ],
)
def test_reads_what_diffusers_saves_and_diffusers_reads_what_we_save(
    scheduler: Any, expected: ScheduleConfig, tmp_path: Any
) -> None:
    scheduler.save_pretrained(tmp_path)
    file = tmp_path / "scheduler_config.json"
    assert schedule_from_config(json.loads(file.read_text())) == expected
    file.write_text(json.dumps(expected.to_diffusers()))
    assert schedule_from_config(json.loads(file.read_text())) == expected
    loaded = type(scheduler).from_pretrained(tmp_path)
    for one in (scheduler, loaded):
        one.set_timesteps(9)
    assert torch.equal(loaded.sigmas, scheduler.sigmas)
    assert torch.equal(loaded.timesteps, scheduler.timesteps)


UNIPC = ScheduleConfig(solver="unipc", shift=3.0).to_diffusers()
EULER = ScheduleConfig(solver="euler", shift=3.0).to_diffusers()


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({}, "_class_name"),
        ({"_class_name": "DDIMScheduler"}, "_class_name"),
        ({"_class_name": "UniPCMultistepScheduler"}, "prediction_type"),
        (UNIPC | {"use_flow_sigmas": False}, "use_flow_sigmas"),
        (UNIPC | {"solver_order": 3}, "solver_order"),
        (UNIPC | {"solver_type": "bh1"}, "solver_type"),
        (UNIPC | {"lower_order_final": False}, "lower_order_final"),
        (UNIPC | {"final_sigmas_type": "sigma_min"}, "final_sigmas_type"),
        (UNIPC | {"use_karras_sigmas": True}, "use_karras_sigmas"),
        (UNIPC | {"disable_corrector": [0]}, "disable_corrector"),
        (UNIPC | {"flow_shift": "3"}, "flow_shift"),
        (UNIPC | {"flow_shift": 0}, "flow_shift"),
        (EULER | {"use_dynamic_shifting": True}, "use_dynamic_shifting"),
        (EULER | {"num_train_timesteps": 500}, "num_train_timesteps"),
        (EULER | {"shift": None}, "shift"),
    ],
)
def test_a_sampler_that_we_do_not_have_is_refused_by_the_name_of_its_setting(config: dict[str, Any], key: str) -> None:
    with pytest.raises(CheckpointError, match=f"scheduler_config.json: {key}="):
        schedule_from_config(config)


def test_whole_numbers_in_a_config_are_numbers() -> None:
    assert schedule_from_config(UNIPC | {"flow_shift": 3}) == ScheduleConfig(solver="unipc", shift=3.0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_that_begins_lower_ends_as_before(name: Any) -> None:
    whole = SCHEDULES[name](10, 3.0)
    part = begin_at(whole, 0.6)
    assert part.sigmas[0] == part.times[0] == 0.6
    assert part.sigmas[1:] == tuple(sigma for sigma in whole.sigmas if sigma < 0.6)
    assert part.times[1:] == whole.times[-(part.num_steps - 1) :]
    assert begin_at(whole, 1.0) == whole
    assert begin_at(whole, 1e-6).num_steps == 1


@pytest.mark.parametrize("level", [0.0, -1.0, 1.5])
def test_a_schedule_cannot_begin_outside_of_noise_and_data(level: float) -> None:
    with pytest.raises(SpecError, match="strength="):
        begin_at(SCHEDULES["euler"](4, 1.0), level)
