"""The stages of recipes, in their order."""

from collections.abc import Sequence

from kinema.config import unknown
from kinema.errors import SpecError

STAGES = ("corpus", "tokenizer", "grounding", "vae", "latents", "flow", "reward", "export")

CAUSAL_STAGES = ("corpus", "latents", "forcing", "consistency", "self_forcing", "long", "export")
"""The stages of a recipe that makes a streaming model of a finished one."""


def check_stages(stages: Sequence[str], known: Sequence[str] = STAGES) -> None:
    """Refuse a stage that does not exist, before any work."""
    for stage in stages:
        if stage not in known:
            raise SpecError(unknown("stage", stage, known))
