"""The device that a recipe names for a model, tried before any work."""

from kinema.errors import SpecError, first_line


def check_device(setting: str, device: str) -> None:
    """Refuse a device that is not there; `setting` is its place in the recipe. Raises SpecError."""
    import torch  # it takes a second, and recipes without models need none of it

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SpecError(
            f"{setting}={device!r} is not on this machine: {first_line(error)}; use cpu, or cuda where there is a GPU"
        ) from error
