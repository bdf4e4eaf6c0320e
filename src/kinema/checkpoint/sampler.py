"""The `scheduler/` of a model folder: which solver and shift the model was published with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kinema.errors import CheckpointError, SpecError

SolverName = Literal["euler", "heun", "unipc", "consistency"]

TRAIN_STEPS = 1000
"""Length of the time grid in diffusers' configs; a network time of t is written t * 1000 there."""


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """What a model folder's `scheduler/scheduler_config.json` says about sampling: the solver and the shift."""

    solver: SolverName = "unipc"
    """Name of the solver in `SOLVERS`."""
    shift: float = 1.0
    """How far times are moved towards noise; 1 leaves them evenly spaced."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.shift) and self.shift > 0):
            raise SpecError(
                f"shift={self.shift} does not order times; give a number above 0, such as 3.0 (1.0 shifts nothing)"
            )

    def to_diffusers(self) -> dict[str, Any]:
        """Write the configuration as diffusers' `scheduler_config.json`; `schedule_from_config` reads it back."""
        if self.solver == "unipc":
            return {"_class_name": "UniPCMultistepScheduler", **_UNIPC_FIXED, "flow_shift": self.shift}
        written = {"_class_name": _EULER_CLASSES[self.solver], "num_train_timesteps": TRAIN_STEPS, "shift": self.shift}
        return {**written, "stochastic_sampling": True} if self.solver == "consistency" else written


_EULER_CLASSES: dict[SolverName, str] = {
    "euler": "FlowMatchEulerDiscreteScheduler",
    "heun": "FlowMatchHeunDiscreteScheduler",
    "consistency": "FlowMatchEulerDiscreteScheduler",
}
_UNIPC_FIXED: dict[str, Any] = {
    "num_train_timesteps": TRAIN_STEPS,
    "prediction_type": "flow_prediction",
    "use_flow_sigmas": True,
    "solver_order": 2,
    "solver_type": "bh2",
    "predict_x0": True,
    "lower_order_final": True,
    "final_sigmas_type": "zero",
}
_UNIPC_DEFAULTS: dict[str, Any] = {**_UNIPC_FIXED, "prediction_type": "epsilon", "use_flow_sigmas": False}
_MUST_BE_OFF = (
    "disable_corrector",
    "invert_sigmas",
    "shift_terminal",
    "solver_p",
    "thresholding",
    "use_beta_sigmas",
    "use_dynamic_shifting",
    "use_exponential_sigmas",
    "use_karras_sigmas",
)


def schedule_from_config(config: Mapping[str, Any]) -> ScheduleConfig:
    """Read the solver and shift that a model folder was published with from its diffusers `scheduler_config.json`.

    Accepts UniPCMultistepScheduler with flow sigmas, and FlowMatchEulerDiscreteScheduler (with `stochastic_sampling` it
    samples a consistency model) or its Heun counterpart.
    A setting that would give other noise levels or another solver than ours raises CheckpointError, which names it;
    settings that those classes themselves do not use with flow sigmas (betas, for one) are passed over.
    """
    name = config.get("_class_name")
    for key in _MUST_BE_OFF:
        if config.get(key):
            raise _unsupported(key, config[key], "leave it out")
    if name == "UniPCMultistepScheduler":
        for key, expected in _UNIPC_FIXED.items():
            found = config.get(key, _UNIPC_DEFAULTS[key])
            if found != expected:
                raise _unsupported(key, found, f"use {expected!r}")
        return ScheduleConfig(solver="unipc", shift=_shift_from(config, "flow_shift"))
    for solver, class_name in _EULER_CLASSES.items():
        if name == class_name:
            if config.get("num_train_timesteps", TRAIN_STEPS) != TRAIN_STEPS:
                raise _unsupported("num_train_timesteps", config["num_train_timesteps"], f"use {TRAIN_STEPS}")
            if config.get("stochastic_sampling"):
                if solver != "euler":
                    raise _unsupported("stochastic_sampling", True, "leave it out")
                solver = "consistency"
            return ScheduleConfig(solver=solver, shift=_shift_from(config, "shift"))
    accepted = ", ".join(dict.fromkeys(["UniPCMultistepScheduler", *_EULER_CLASSES.values()]))
    raise _unsupported("_class_name", name, f"use one of {accepted}")


def _shift_from(config: Mapping[str, Any], key: str) -> float:
    shift = config.get(key, 1.0)
    if isinstance(shift, bool) or not isinstance(shift, int | float) or not (math.isfinite(shift) and shift > 0):
        raise _unsupported(key, shift, "use a number above 0, such as 3.0")
    return float(shift)


def _unsupported(key: str, found: object, instead: str) -> CheckpointError:
    return CheckpointError(f"scheduler_config.json: {key}={found!r} is not a sampler that Kinema has; {instead}")
