import json
import shutil

import pytest
import torch

from kinema.errors import CheckpointError, SpecError
from kinema.model import load_model, sharing
from kinema.model.sharing import share


@pytest.fixture
def shipped(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(sharing, "SHIPPED", tmp_path / "weights")
    return shutil.copytree(tiny_model, tmp_path / "weights" / "small")


@pytest.fixture
def folder(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "other")


def test_shared_parts_are_left_out_and_the_model_is_the_same(shipped, folder):
    before = load_model(folder)
    share(folder, "small")
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["scheduler", "transformer"]
    after = load_model(folder)
    for name in ("dit", "vae", "text"):
        old, new = getattr(before, name).state_dict(), getattr(after, name).state_dict()
        assert all(torch.equal(old[key], new[key]) for key in old)
    assert before.tokenizer.encode(["a red ball"])[0].equal(after.tokenizer.encode(["a red ball"])[0])


def test_a_part_of_its_own_stays(shipped, folder):
    config = folder / "vae" / "config.json"
    config.write_text(config.read_text() + "\n")
    share(folder, "small")
    assert (folder / "vae").exists()
    assert not (folder / "text_encoder").exists()
    load_model(folder)


def test_a_base_that_has_become_another_is_refused(shipped, folder):
    share(folder, "small")
    config = shipped / "text_encoder" / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(CheckpointError, match="no text_encoder of its own but needs that of small as it was"):
        load_model(folder)
    shutil.rmtree(shipped)
    with pytest.raises(CheckpointError, match="no vae of its own"):
        load_model(folder)


def test_what_lends_nothing_is_refused(shipped, folder):
    with pytest.raises(SpecError, match="no part that is large's"):
        share(folder, "large")
    share(folder, "small")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_base": "small"}))
    with pytest.raises(CheckpointError, match="names no model that lends it"):
        load_model(folder)
