"""What all tests share: shape checks of signatures, the `gpu` marker, golden files."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

# Only these rooms write jaxtyping signatures; the hook must stand before anything imports them.
install_import_hook(["kinema.model", "kinema.diffusion", "kinema.generate"], "beartype.beartype")

# A property that fails must fail for everybody, and a busy machine must not make it fail.
settings.register_profile("kinema", deadline=None, derandomize=True)
settings.load_profile("kinema")

GOLDEN = Path(__file__).parent / "golden"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


class Golden:
    """Compares text with a file under tests/golden; `make golden` rewrites the file instead."""

    def check(self, name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("KINEMA_GOLDEN") == "rewrite":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        expected = path.read_text(encoding="utf-8") if path.exists() else ""
        assert text == expected, f"{path.name} differs; if that is meant, run `make golden` and review the diff"


@pytest.fixture
def golden() -> Golden:
    return Golden()
