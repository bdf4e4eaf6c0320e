"""Which noise levels a sampler visits, and which times it tells the network.

A noise level (sigma) is our time: 1 is noise, 0 is data, x_t = (1 - t) x_0 + t e. Two numbers stand for each step
because published pipelines let them differ: the arithmetic of the solver uses `sigmas`, the network is told `times`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from kinema.checkpoint.sampler import TRAIN_STEPS, SolverName
from kinema.errors import SpecError

_FIRST_SIGMA_GAP = 1e-6
"""diffusers' UniPC starts this far below 1, where its log-signal-to-noise ratio is still finite."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The noise levels of one sampling run, from the noisiest to the cleanest.

    `sigmas` has one value more than there are steps: step i goes from `sigmas[i]` to `sigmas[i + 1]`, and each must be
    lower than the one before it, within [0, 1]. `times[i]`, in [0, 1], is what the network is told at `sigmas[i]`.
    Raises SpecError where the numbers do not form such a descent.
    """

    sigmas: tuple[float, ...]
    times: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.times) < 1 or len(self.sigmas) != len(self.times) + 1:
            raise SpecError(
                f"a schedule of {len(self.sigmas)} sigmas and {len(self.times)} times does not fit together; "
                "give one time per step (at least one) and one sigma more than times"
            )
        if not all(low < high for high, low in pairwise(self.sigmas)):
            raise SpecError(
                f"sigmas={self.sigmas} do not fall at every step; give them from the noisiest to the cleanest"
            )
        if not (self.sigmas[0] <= 1 and self.sigmas[-1] >= 0 and all(0 <= time <= 1 for time in self.times)):
            raise SpecError(f"sigmas={self.sigmas}, times={self.times} leave [0, 1]; 1 is noise and 0 is data")

    @property
    def num_steps(self) -> int:
        """How many steps the schedule has, which is how many times Euler and UniPC call the network."""
        return len(self.times)


def shift_time(time: float, shift: float) -> float:
    """Move a time towards noise: t' = s t / (1 + (s - 1) t); s > 1 spends more steps where a large video is decided.

    0 and 1 stay where they are, and shifting by s and then by 1 / s changes nothing.
    Source: Esser et al. 2024, "Scaling Rectified Flow Transformers" (arXiv 2403.03206), equation 23.
    """
    return min(1.0, shift * time / (1 + (shift - 1) * time)) if time < 1 else 1.0


def shifted_times(steps: int, shift: float) -> tuple[float, ...]:
    """Return steps + 1 times from 1 to 0, evenly spaced and then shifted towards noise (see `shift_time`).

    Raises SpecError if `steps` is not a positive whole number or `shift` is not above 0.
    """
    _check(steps, shift)
    return tuple(shift_time(1 - step / steps, shift) for step in range(steps + 1))


def shifted_schedule(steps: int, shift: float) -> Schedule:
    """Make our own schedule: from exactly 1 to exactly 0, and the network is told the true noise level."""
    times = shifted_times(steps, shift)
    return Schedule(sigmas=times, times=times[:-1])


def diffusers_unipc_schedule(steps: int, shift: float) -> Schedule:
    """Make the schedule of diffusers' UniPCMultistepScheduler with flow sigmas, which WanPipeline ships with.

    Evenly spaced from 1 towards 1/1000 (which is never reached: the last step goes to 0), then shifted; the first noise
    level is 1 - 1e-6, and levels are kept in single precision, since the distance to 1 enters the solver's logarithm.
    The network is told whole thousandths, rounded down: 0.8333 becomes 0.833 and the first time 0.999.
    """
    _check(steps, shift)
    even = np.linspace(1, 1 / TRAIN_STEPS, steps + 1)[:-1]
    levels = [shift_time(float(level), shift) for level in even]
    if abs(levels[0] - 1) < _FIRST_SIGMA_GAP:
        levels[0] -= _FIRST_SIGMA_GAP
    times = tuple(int(level * TRAIN_STEPS) / TRAIN_STEPS for level in levels)
    return Schedule(sigmas=(*(float(np.float32(level)) for level in levels), 0.0), times=times)


def diffusers_euler_schedule(steps: int, shift: float) -> Schedule:
    """Make the schedule of diffusers' FlowMatchEulerDiscreteScheduler (and of its Heun counterpart).

    Evenly spaced from 1 to the *shifted* level of 1/1000 and then shifted once more, so for shifts above 1 the last
    level before 0 lies higher than 1/1000 shifted once. The network is told the true noise level.
    """
    _check(steps, shift)
    lowest = shift_time(1 / TRAIN_STEPS, shift)
    times = tuple(shift_time(float(level), shift) for level in np.linspace(1, lowest, steps))
    return Schedule(sigmas=(*times, 0.0), times=times)


def begin_at(schedule: Schedule, level: float) -> Schedule:
    """Leave out what a schedule does above a noise level, and begin there: for a video that is made from another one.

    Source: SDEdit (Meng et al. 2022, arXiv 2108.01073). At or above its first level the schedule stays what it is.
    Raises SpecError for a level outside (0, 1].
    """
    if not 0 < level <= 1:
        raise SpecError(f"strength={level:g} does not fit; it takes a number above 0 to 1")
    if level >= schedule.sigmas[0]:
        return schedule
    later = [step for step, sigma in enumerate(schedule.sigmas) if sigma < level]
    times = [schedule.times[step] for step in later if step < schedule.num_steps]
    return Schedule(sigmas=(level, *(schedule.sigmas[step] for step in later)), times=(level, *times))


SCHEDULES: dict[SolverName, Callable[[int, float], Schedule]] = {
    "euler": diffusers_euler_schedule,
    "heun": diffusers_euler_schedule,
    "unipc": diffusers_unipc_schedule,
    "consistency": shifted_schedule,
}
"""The schedule that belongs to each solver, so that a folder gives the same video here and in diffusers.

A consistency model has steps of its own, those it was distilled for: Self-Forcing's four with shift 5 are 1, 0.9375,
0.8333 and 0.625.
"""


def _check(steps: int, shift: float) -> None:
    if steps < 1:
        raise SpecError(
            f"steps={steps} is not a number of sampling steps; give a whole number of at least 1, such as 20"
        )
    if not (math.isfinite(shift) and shift > 0):
        raise SpecError(f"shift={shift} does not order times; give a number above 0, such as 3.0 (1.0 shifts nothing)")
