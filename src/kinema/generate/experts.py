"""What a model is used as: one that looks back in another way, or two experts as one network."""

import dataclasses

from torch import Tensor

from kinema.checkpoint.sampler import TRAIN_STEPS
from kinema.config import unknown
from kinema.errors import SpecError
from kinema.generate.state import FrameVelocity
from kinema.model import CAUSAL_PRESETS, Model, shipped_models

NO_CAUSAL_MODEL = "none ships with this installation; kinema train mini-causal makes one, docs/train.md tells how"


def causal_model() -> str:
    """What to call for where a model has to make video block by block: one that ships, or how to come by one."""
    ships = shipped_models(is_causal=True)
    return f"a causal model, such as {ships[0]}" if ships else f"a causal model ({NO_CAUSAL_MODEL})"


def looking_back(model: Model, preset: str) -> Model:
    """Return the model as one that looks back so; if it was not causal, with the steps of Self-Forcing's kin.

    Raises SpecError for a name that is none of CAUSAL_PRESETS.
    """
    if preset not in CAUSAL_PRESETS:
        raise SpecError(unknown("preset", preset, CAUSAL_PRESETS))
    causal, defaults = CAUSAL_PRESETS[preset], model.defaults
    if model.causal is None:
        defaults = dataclasses.replace(defaults, steps=4, guidance=1.0, solver="consistency", shift=5.0)
    return dataclasses.replace(model, causal=causal, defaults=defaults)


def hand_over(high: FrameVelocity, low: FrameVelocity, boundary: float) -> FrameVelocity:
    """Let one network answer for noisy latents and another from `boundary` down (Wan2.2's two experts).

    Times are compared in thousandths, which is how they are published.
    """

    def velocity(latent: Tensor, times: Tensor) -> Tensor:
        is_high = times.is_meta or round(float(times.max()) * TRAIN_STEPS, 3) >= boundary * TRAIN_STEPS
        return (high if is_high else low)(latent, times)

    return velocity
