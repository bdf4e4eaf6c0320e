import json
from pathlib import Path

import pytest

from kinema.cli.main import main


def test_the_list_names_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    shown = capsys.readouterr().out
    for word in ("mini", "wan2.1-1.3b", "wan2.2-a14b", "Apache-2.0", "first and last picture to video"):
        assert word in shown
    assert main(["models", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "mini"


def test_a_folder_is_inspected(capsys: pytest.CaptureFixture[str], tiny_model: Path) -> None:
    assert main(["models", "inspect", str(tiny_model)]) == 0
    shown = capsys.readouterr().out
    assert "a pipeline folder, as diffusers has it, of the sizes of tiny" in shown
    assert "makes: text or picture to video" in shown
    assert main(["models", "inspect", str(tiny_model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problem"] is None


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["models", "fetch"], 2, "unknown command 'models fetch'"),
        (["models", "get", "mini"], 2, "comes with Kinema"),
        (["models", "get", "wan2.1-1.3"], 2, "did you mean 'wan2.1-1.3b'"),
        (["models", "inspect", "nothing-here"], 3, "does not exist"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main(words) == code
    assert said in capsys.readouterr().err
