"""The device that a recipe names for a model, tried before any work."""

import torch

from kinema.errors import SpecError


def check_device(setting: str, device: str) -> None:
    """Refuse a device that is not there; `setting` is its place in the recipe. Raises SpecError."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise SpecError(
            f"{setting}={device!r} is not on this machine: {first}; use cpu, or cuda where there is a GPU"
        ) from error
