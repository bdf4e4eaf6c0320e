"""The stages of a recipe, in their order."""

from collections.abc import Sequence

from kinema.config import unknown
from kinema.errors import SpecError

STAGES = ("corpus", "tokenizer", "vae", "latents", "flow", "export")


def check_stages(stages: Sequence[str]) -> None:
    """Refuse a stage that does not exist, before any work."""
    for stage in stages:
        if stage not in STAGES:
            raise SpecError(unknown("stage", stage, STAGES))
