"""Diffusion that knows no network: objectives, schedules, solvers and guidance, all acting on a `Velocity` callable."""

from kinema.checkpoint.sampler import ScheduleConfig, SolverName, schedule_from_config
from kinema.diffusion.consistency import consistency
from kinema.diffusion.guidance import classifier_free
from kinema.diffusion.objective import (
    TimeSampling,
    clip_losses,
    data_from_velocity,
    flow_matching_loss,
    frame_times,
    interpolate,
    noise_from_velocity,
    shift_times,
    velocity_target,
)
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
from kinema.diffusion.solver import SOLVERS, OnStep, Solver, Velocity, euler, heun, unipc

__all__ = [
    "SCHEDULES",
    "SOLVERS",
    "OnStep",
    "Schedule",
    "ScheduleConfig",
    "Solver",
    "SolverName",
    "TimeSampling",
    "Velocity",
    "begin_at",
    "classifier_free",
    "clip_losses",
    "consistency",
    "data_from_velocity",
    "diffusers_euler_schedule",
    "diffusers_unipc_schedule",
    "euler",
    "flow_matching_loss",
    "frame_times",
    "heun",
    "interpolate",
    "noise_from_velocity",
    "schedule_from_config",
    "shift_time",
    "shift_times",
    "shifted_schedule",
    "shifted_times",
    "unipc",
    "velocity_target",
]
