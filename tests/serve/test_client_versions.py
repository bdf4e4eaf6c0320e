import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.serve.doubles import Place

from kinema.serve.settings import ServeSettings

SCRIPT = Path(__file__).with_name("old_client.py")
CACHE = Path(os.environ.get("KINEMA_CLIENTS", "~/.cache/kinema-tests/openai")).expanduser()
"""Where older versions of the client are kept; the first run installs them, if there is an index to install from."""


def _installed(version: str) -> Path:
    folder = CACHE / version
    if not (folder / "openai").is_dir():
        partial = CACHE / f"{version}.partial-{os.getpid()}"
        words = ["install", "--quiet", "--disable-pip-version-check", "--target", str(partial), f"openai=={version}"]
        done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"openai {version} cannot be installed here: {done.stderr.strip().splitlines()[-1:]}")
        partial.rename(folder)
    return folder


@pytest.mark.parametrize(
    "version", [None, *(pytest.param(version, marks=pytest.mark.slow) for version in ("2.6.1", "2.30.0", "2.54.0"))]
)
def test_the_official_client_of_this_version_works(open_place: Callable[..., Place], version: str | None) -> None:
    place = open_place(ServeSettings(allowed_networks=("127.0.0.0/8",)))
    environment = {**os.environ, **({"PYTHONPATH": str(_installed(version))} if version else {})}
    words = [sys.executable, str(SCRIPT), place.running.url]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    if version:
        assert done.stdout == version
