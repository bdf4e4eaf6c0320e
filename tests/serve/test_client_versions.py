import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.serve.doubles import Place

SCRIPT = Path(__file__).with_name("old_client.py")
CLIENTS = sorted(Path(os.environ["KINEMA_CLIENTS"]).iterdir()) if "KINEMA_CLIENTS" in os.environ else []
"""Folders that `pip install --target FOLDER/2.6.1 openai==2.6.1` and the like have filled."""


@pytest.mark.parametrize("client", [None, *CLIENTS], ids=lambda path: path.name if path else "installed")
def test_the_official_client_of_this_version_works(place: Place, client: Path | None) -> None:
    environment = {**os.environ, **({"PYTHONPATH": str(client)} if client else {})}
    words = [sys.executable, str(SCRIPT), place.running.url]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    if client:
        assert done.stdout == client.name
