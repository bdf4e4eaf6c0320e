"""Turn noise into a latent by following a velocity: Euler, Heun and UniPC as plain functions.

Each solver takes a `Velocity`, a latent at `schedule.sigmas[0]` and a `Schedule`, and returns the latent at
`schedule.sigmas[-1]`. The latent may have any shape and floating dtype; arithmetic runs in its dtype (give float32 or
float64, whatever the network computes in). Where the velocity is exactly zero the latent comes back bit for bit: frames
that are given stay as they are. Step coefficients are Python floats, so no solver waits for the device.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from kinema.checkpoint.sampler import SolverName
from kinema.diffusion.schedule import Schedule

Velocity = Callable[[Tensor, Tensor], Tensor]
"""(latent, time) -> velocity e - x_0, of the shape of the latent; solvers give time, in [0, 1], as a scalar tensor."""

OnStep = Callable[[int, Tensor], None]
"""Called after each step with its index from 0 and the latent so far; raise from it to cancel."""

Solver = Callable[[Velocity, Tensor, Schedule, OnStep | None], Tensor]


def euler(
    velocity: Velocity, latent: Float[Tensor, "*latent"], schedule: Schedule, on_step: OnStep | None = None
) -> Float[Tensor, "*latent"]:
    """Follow the velocity in straight steps, one network call each: x' = x + (t' - t) v(x, t). First order.

    Source: Liu et al. 2022, "Flow Straight and Fast" (arXiv 2209.03003); on a rectified flow it is DDIM.
    """
    times = _network_times(schedule, latent)
    for step in range(schedule.num_steps):
        span = schedule.sigmas[step + 1] - schedule.sigmas[step]
        latent = latent + span * velocity(latent, times[step]).to(latent.dtype)
        if on_step is not None:
            on_step(step, latent)
    return latent


def heun(
    velocity: Velocity, latent: Float[Tensor, "*latent"], schedule: Schedule, on_step: OnStep | None = None
) -> Float[Tensor, "*latent"]:
    """Follow the mean of the velocities at both ends of each step, two network calls each. Second order.

    The last step is an Euler step, because networks are not trained at time 0; so 2 * steps - 1 calls in all.
    Source: Karras et al. 2022, "Elucidating the Design Space" (arXiv 2206.00364), algorithm 1, in rectified-flow time.
    """
    times = _network_times(schedule, latent)
    for step in range(schedule.num_steps):
        span = schedule.sigmas[step + 1] - schedule.sigmas[step]
        slope = velocity(latent, times[step]).to(latent.dtype)
        if step + 1 < schedule.num_steps:
            ahead = velocity(latent + span * slope, times[step + 1]).to(latent.dtype)
            slope = (slope + ahead) / 2
        latent = latent + span * slope
        if on_step is not None:
            on_step(step, latent)
    return latent


def unipc(
    velocity: Velocity, latent: Float[Tensor, "*latent"], schedule: Schedule, on_step: OnStep | None = None
) -> Float[Tensor, "*latent"]:
    """Predict each step from the calls before, then correct it with its own call: second order, one call per step.

    The first step is of first order for want of history, and so is the last, which lands on time 0 where the
    log-signal-to-noise ratio is infinite and which no call corrects. Needs the last two data predictions in memory.
    Source: Zhao et al. 2023, "UniPC" (arXiv 2302.04867): UniP-2 and UniC-2 with data prediction and B_2(h) = e^h - 1;
    the orders at start and end, and weights of one half where the paper gives them in closed form, are those of
    diffusers' UniPCMultistepScheduler (`solver_type="bh2"`, `lower_order_final=True`).
    """
    times = _network_times(schedule, latent)
    sigmas = schedule.sigmas
    start = data = older = (
        latent  # the corrected latent of the step before; x_0 as predicted there and one step earlier
    )
    order = 0
    for step in range(schedule.num_steps):
        predicted = latent - sigmas[step] * velocity(latent, times[step]).to(latent.dtype)
        if step > 0:
            correction = _correction(sigmas, step - 1, order, older, data, predicted)
            latent = _advance(start, data + correction, sigmas[step - 1], sigmas[step])
        older, data, start = data, predicted, latent
        order = min(2, step + 1, schedule.num_steps - step)
        prediction = data + _prediction(sigmas, step, older, data) if order == 2 else data
        latent = _advance(start, prediction, sigmas[step], sigmas[step + 1])
        if on_step is not None:
            on_step(step, latent)
    return latent


SOLVERS: dict[SolverName, Solver] = {"euler": euler, "heun": heun, "unipc": unipc}
"""Solvers by the name that a spec or a model folder gives."""


def _network_times(schedule: Schedule, latent: Tensor) -> Tensor:
    return torch.tensor(schedule.times, dtype=torch.promote_types(latent.dtype, torch.float32), device=latent.device)


def _advance(start: Tensor, data: Tensor, sigma: float, next_sigma: float) -> Tensor:
    """Move from `sigma` to `next_sigma` towards `data`, the mean of the data predictions over the step.

    In the paper: (sigma' / sigma) x - alpha' (e^-h - 1) data. With alpha = 1 - sigma the second factor is
    1 - sigma' / sigma, which gives this form; it moves nothing, exactly, where `data` equals `start`.
    """
    return start + (1 - next_sigma / sigma) * (data - start)


def _prediction(sigmas: tuple[float, ...], step: int, older: Tensor, data: Tensor) -> Tensor:
    return (0.5 / _relative_step(sigmas, step)) * (older - data)


def _correction(sigmas: tuple[float, ...], step: int, order: int, older: Tensor, data: Tensor, ahead: Tensor) -> Tensor:
    if order == 1:
        return 0.5 * (ahead - data)
    # The weights solve rho_0 + rho_1 = b_1 and r rho_0 + rho_1 = b_2, with b_k = k! phi_{k+1}(-h) (-h) / (e^-h - 1)
    # and r the place of the older prediction, in steps of h. Here phi_k carries the factor (-h) already.
    minus_h = _log_snr(sigmas[step]) - _log_snr(sigmas[step + 1])
    growth = math.expm1(minus_h)
    phi_2 = growth / minus_h - 1
    phi_3 = phi_2 / minus_h - 0.5
    first, second = phi_2 / growth, 2 * phi_3 / growth
    relative = _relative_step(sigmas, step)
    older_weight = (first - second) / (1 - relative)
    return (older_weight / relative) * (older - data) + (first - older_weight) * (ahead - data)


def _relative_step(sigmas: tuple[float, ...], step: int) -> float:
    here = _log_snr(sigmas[step])
    return (_log_snr(sigmas[step - 1]) - here) / (_log_snr(sigmas[step + 1]) - here)


def _log_snr(sigma: float) -> float:
    """Half the log-signal-to-noise ratio, log(alpha / sigma); infinite at both ends."""
    if sigma >= 1:
        return -math.inf
    return math.log1p(-sigma) - math.log(sigma) if sigma > 0 else math.inf
