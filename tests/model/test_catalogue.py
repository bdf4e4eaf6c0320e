import shutil

import pytest
import torch
from safetensors.torch import save_file

from kinema.errors import CheckpointError
from kinema.model import PRESETS, save_model, shipped_models
from kinema.model import catalogue as catalogue_module
from kinema.model.catalogue import abilities, count_weights, inspect_model, known_models


def test_every_published_family_is_known_with_what_it_makes_and_needs():
    known = {model.name: model for model in known_models()}
    assert set(known) - set(shipped_models()) == set(PRESETS) - {"tiny", "mini-128", "mini"}
    assert known["mini"].folder is not None
    assert known["mini"].does == "text or picture to video"
    assert known["wan2.1-1.3b"].does == "text to video"
    assert known["wan2.1-i2v-14b"].does == "picture to video"
    assert known["wan2.1-flf2v-14b"].does == "first and last picture to video"
    assert known["wan2.2-5b"].does == "text or picture to video"
    assert known["wan2.2-i2v-a14b"].does == "picture, or first and last picture, to video"
    assert 13e9 < known["wan2.1-1.3b"].weights_bytes < 15e9  # 5.7 billion of them are the text encoder's
    two, one = (known[name].weights_bytes for name in ("wan2.2-a14b", "wan2.1-14b"))
    assert two - one == pytest.approx(2 * 14.29e9, rel=0.01)


def test_weights_are_counted_as_they_are(tiny):
    parts = (tiny.dit, tiny.vae, tiny.text)
    assert count_weights(PRESETS["tiny"]) == sum(weight.numel() for part in parts for weight in part.parameters())


def test_a_pipeline_folder_is_told(tiny, tmp_path, quiet):
    save_model(tiny, tmp_path / "model")
    found = inspect_model(tmp_path / "model")
    assert found.kind.startswith("a pipeline folder")
    assert (found.model, found.does, found.problem) == ("tiny", "text or picture to video", None)
    assert {network.part for network in found.networks} == {"transformer", "vae", "text_encoder"}
    assert {network.layout for network in found.networks} == {"diffusers"}
    assert sum(network.num_weights for network in found.networks) == count_weights(PRESETS["tiny"])


def test_a_part_that_is_missing_is_said(tiny, tmp_path, quiet):
    save_model(tiny, tmp_path / "model")
    (tmp_path / "model" / "vae" / "config.json").unlink()
    found = inspect_model(tmp_path / "model")
    assert found.does is None
    assert "config.json is missing" in found.problem


def test_a_checkpoint_of_a_training_run_is_told(tiny, tmp_path):
    from kinema.checkpoint.layouts import dit_wan

    layout, weights = dit_wan(4, (1, 2, 2)), {}
    for name, weight in tiny.dit.state_dict().items():
        weights[f"model.{layout.name(name)}"] = weight.reshape(layout.shape(name, weight.shape))
    torch.save({"generator_ema": weights}, tmp_path / "run.pt")
    found = inspect_model(tmp_path / "run.pt")
    assert found.kind == "a file of weights, generator_ema of a training run"
    assert [(network.part, network.layout) for network in found.networks] == [("transformer", "Wan")]
    assert "holds only part of a model" in found.problem or "do not fit" in found.problem


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        inspect_model(tmp_path / "nothing")
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="holds no network that Kinema knows"):
        inspect_model(tmp_path / "x.safetensors")


def test_a_model_that_was_fetched_is_known_to_be_here(monkeypatch, tmp_path):
    (tmp_path / "model_index.json").write_text('{"expand_timesteps": false}')
    monkeypatch.setattr(catalogue_module, "installed", lambda hub_id: tmp_path if "T2V-1.3B" in hub_id else None)
    here = {model.name for model in known_models() if model.folder}
    assert here == {*shipped_models(), "wan2.1-1.3b"}


def test_a_causal_model_that_ships_is_listed_with_its_own_name(monkeypatch, tmp_path, tiny_causal_model):
    shutil.copytree(tiny_causal_model, tmp_path / "small-causal")
    monkeypatch.setattr("kinema.model.folder.SHIPPED", tmp_path)
    *_, last = known_models()
    assert (last.name, last.folder) == ("small-causal", str(tmp_path / "small-causal"))
    assert last.does == "text or picture to video, block by block without end"
    assert last.weights_bytes == 2 * count_weights(PRESETS["tiny"])


def test_abilities_are_those_of_the_architecture():
    assert abilities(condition_channels=0, needs_last=False, reads_image_tokens=False, reads_frames=False) == (
        "text to video"
    )
