"""Benchmarks as modules, for tests that kill less, or measure less."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "benchmarks"


def load_benchmark(name: str) -> Any:
    """Import a script of the folder of benchmarks by its name."""
    sys.path.insert(0, str(FOLDER))  # benchmarks import each other
    try:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module
