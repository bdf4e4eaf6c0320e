"""What `kinema train` takes and refuses before any work."""

import json

import pytest

from kinema.cli.main import main


def test_values_of_a_recipe_are_changed_one_by_one(capsys):
    assert main(["train", "tiny", "--dry-run", "--set", "flow.clips=77", "--set", "vae.optim.schedule=constant"]) == 0
    recipe = json.loads(capsys.readouterr().out)
    assert recipe["flow"]["clips"] == 77
    assert recipe["vae"]["optim"]["schedule"] == "constant"
    assert recipe["corpus"]["clips"] == 16


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["tini"], "tiny"),
        ([], "kinema train mini"),
        (["tiny", "--set", "flow.clip=77"], "flow.clip"),
        (["tiny", "--stages", "corpus,vea"], "vae"),
        (["tiny", "--from", "config.json"], "--from"),
    ],
)
def test_what_is_no_recipe_is_refused_with_what_to_type_instead(arguments, named, capsys):
    assert main(["train", *arguments]) != 0
    message = capsys.readouterr().err
    assert named in message
    assert "Traceback" not in message
