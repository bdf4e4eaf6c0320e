from pathlib import Path

import pytest

from kinema import errors
from kinema.errors import how_to_install


def test_the_command_names_the_clone_and_from_there_the_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "CLONE", tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    assert how_to_install("serve") == "pip install '.[serve]' in a clone of Kinema"
    (tmp_path / "constraints.txt").touch()
    assert how_to_install("serve") == f"pip install -e '{tmp_path}[serve]'"
    monkeypatch.chdir(tmp_path)
    assert how_to_install("serve") == "pip install -e '.[serve]'"
