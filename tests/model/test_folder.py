import dataclasses
import json
import re
import shutil
import subprocess
import sys
import types

import pytest
import torch
from safetensors.torch import load_file, save_file

from kinema.errors import CheckpointError, SpecError
from kinema.model import PRESETS, DiT, load_model, save_model, shipped_models
from kinema.model import folder as folder_module

from .conftest import scramble


@pytest.fixture
def saved(tiny, tmp_path, quiet):
    save_model(tiny, tmp_path / "model")
    return tmp_path / "model"


def _change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _same_weights(one, other):
    names = one.state_dict()
    return all(torch.equal(names[name], tensor) for name, tensor in other.state_dict().items())


def test_a_model_comes_back_as_it_was_saved(tiny, saved):
    loaded = load_model(saved)
    for part in ("dit", "vae", "text"):
        assert _same_weights(getattr(loaded, part), getattr(tiny, part)), part
        assert not getattr(loaded, part).training
    assert loaded.dit.config == tiny.dit.config
    assert loaded.text.config == tiny.text.config
    assert loaded.defaults == tiny.defaults
    assert loaded.folder == saved
    assert loaded.tokenizer.max_tokens == tiny.tokenizer.max_tokens
    statistics = {"latents_mean": (0.0,) * 4, "latents_std": (1.0,) * 4}
    assert loaded.vae.config == dataclasses.replace(tiny.vae.config, **statistics)
    assert loaded.vae.stride == tiny.vae.stride


def test_a_model_loads_in_the_type_that_is_asked_for(saved):
    loaded = load_model(saved, "cpu", torch.bfloat16)
    for part in (loaded.dit, loaded.vae, loaded.text):
        assert {weight.dtype for weight in part.parameters()} == {torch.bfloat16}


@torch.no_grad()
def test_diffusers_loads_what_kinema_saves(tiny, saved):
    from diffusers import WanPipeline

    pipe = WanPipeline.from_pretrained(saved)
    assert pipe.config.expand_timesteps
    generator = torch.Generator().manual_seed(0)
    latent, text = torch.randn(1, 4, 2, 4, 4, generator=generator), torch.randn(1, 5, 32, generator=generator)
    theirs = pipe.transformer(latent, torch.tensor([500.0]), text).sample
    torch.testing.assert_close(tiny.dit(latent, torch.full((1, 2), 0.5), text), theirs, rtol=0, atol=1e-4)
    frames = pipe.vae.decode(latent).sample.permute(0, 2, 3, 4, 1)
    torch.testing.assert_close(tiny.vae.decode(latent), frames, rtol=0, atol=1e-4)
    ids, mask = tiny.tokenizer.encode(["a red ball"])
    embedded, _ = pipe.encode_prompt("a red ball", do_classifier_free_guidance=False, max_sequence_length=64)
    torch.testing.assert_close(tiny.text(ids, mask), embedded, rtol=0, atol=1e-4)
    assert (pipe.vae_scale_factor_temporal, pipe.vae_scale_factor_spatial) == (4, 8)


def test_kinema_loads_what_diffusers_saves(tiny, saved, tmp_path):
    from diffusers import WanPipeline

    WanPipeline.from_pretrained(saved).save_pretrained(tmp_path / "theirs")
    loaded = load_model(tmp_path / "theirs")
    for part in ("dit", "vae", "text"):
        assert _same_weights(getattr(loaded, part), getattr(tiny, part)), part
    assert loaded.defaults == tiny.defaults  # those of the preset with the same transformer
    assert loaded.tokenizer.encode(["a red ball"])[0].equal(tiny.tokenizer.encode(["a red ball"])[0])


def test_solver_and_shift_are_those_of_the_scheduler(saved):
    scheduler = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 7.0}
    (saved / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    defaults = load_model(saved).defaults
    assert (defaults.solver, defaults.shift) == ("euler", 7.0)


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder"])
def test_a_damaged_tensor_is_named(saved, part):
    (path,) = (saved / part).glob("*.safetensors")
    tensors = load_file(path)
    name = sorted(tensors)[0]
    tensors[name].view(-1)[0] = float("nan")
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=re.escape(name)) as caught:
        load_model(saved)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("transformer/config.json", {"image_dim": 1280}, "image_dim=1280"),
        ("transformer/config.json", {"cross_attn_norm": False}, "cross_attn_norm"),
        ("transformer/config.json", {"_class_name": "FluxTransformer2DModel"}, "FluxTransformer2DModel"),
        ("transformer/config.json", {"patch_size": [2, 2, 2]}, "patch_size"),
        ("transformer/config.json", {"num_layers": 1}, "blocks.1"),
        ("transformer/config.json", {"ffn_dim": 65}, "has shape"),
        ("vae/config.json", {"attn_scales": [0.5]}, "attn_scales"),
        ("vae/config.json", {"latents_mean": [0.0]}, "latents_mean"),
        ("text_encoder/config.json", {"model_type": "bert"}, "bert"),
        ("text_encoder/config.json", {"feed_forward_proj": "relu"}, "feed_forward_proj"),
        ("model_index.json", {"transformer_2": ["diffusers", "WanTransformer3DModel"]}, "transformer_2"),
        ("scheduler/scheduler_config.json", {"_class_name": "DDIMScheduler"}, "DDIMScheduler"),
        ("kinema.json", {"frmes": 5}, "frames"),
    ],
)
def test_a_config_of_another_model_is_refused(saved, file, changes, words):
    _change_json(saved / file, **changes)
    with pytest.raises(CheckpointError, match=words):
        load_model(saved)


@pytest.mark.parametrize("file", ["model_index.json", "transformer/config.json", "scheduler/scheduler_config.json"])
def test_a_missing_file_is_named(saved, file):
    (saved / file).unlink()
    with pytest.raises(CheckpointError, match=re.escape(file)):
        load_model(saved)


def test_parts_of_different_models_are_refused(tiny, saved, tmp_path):
    other = dataclasses.replace(tiny.dit.config, text_dim=48)
    save_model(dataclasses.replace(tiny, dit=scramble(DiT(other))), tmp_path / "other")
    shutil.rmtree(saved / "transformer")
    shutil.copytree(tmp_path / "other" / "transformer", saved / "transformer")
    with pytest.raises(CheckpointError, match="width 48, but the text encoder gives 32"):
        load_model(saved)


def test_a_shipped_model_is_found_by_its_name(saved, monkeypatch):
    monkeypatch.setattr(folder_module, "SHIPPED", saved.parent)
    assert load_model("model").folder == saved
    with pytest.raises(SpecError, match=r"^unknown model 'modle'; did you mean 'model'\? Kinema ships model; "):
        load_model("modle")


def test_what_is_no_name_is_refused_as_the_path_that_it_is(saved, monkeypatch):
    monkeypatch.setattr(folder_module, "SHIPPED", saved.parent)
    (saved.parent / "notes.txt").write_text("mine")
    with pytest.raises(SpecError, match=r"notes.txt is no file of weights \(.safetensors, .*; give one"):
        load_model(saved.parent / "notes.txt")
    with pytest.raises(SpecError, match=r"^\./modle does not exist; .* or the name of a model: model$"):
        load_model("./modle")


def test_the_causal_ones_of_the_shipped_models_are_found(saved, monkeypatch):
    monkeypatch.setattr(folder_module, "SHIPPED", saved.parent)
    assert shipped_models() == ("model",)
    assert shipped_models(is_causal=True) == ()
    (saved / "causal.json").write_text("{}")
    assert shipped_models(is_causal=True) == ("model",)


def test_a_preset_without_weights_says_where_to_get_them():
    with pytest.raises(SpecError, match=r"wan2.1-1.3b is an architecture without weights here"):
        load_model("wan2.1-1.3b")


def test_a_mistyped_folder_is_not_asked_of_the_hub(saved, monkeypatch):
    monkeypatch.chdir(saved.parent.parent)
    _hub(monkeypatch, lambda *_, **__: pytest.fail("the hub was asked"))
    here = saved.parent.name
    with pytest.raises(SpecError, match=rf"unknown folder in {here} '{here}/modle'; did you mean 'model'"):
        load_model(f"{here}/modle")


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("transformer/config.json", {"num_layers": "six"}, "six"),
        ("vae/config.json", {"z_dim": [4]}, "config.json"),
        ("text_encoder/config.json", {"d_ff": -1}, "no network has these sizes"),
        ("transformer/config.json", {"num_attention_heads": 0}, "config.json"),
        ("scheduler/scheduler_config.json", {"_class_name": "DDIMScheduler"}, "scheduler"),
        ("model_index.json", {"transformer": "WanTransformer3DModel"}, "takes a library and a class"),
    ],
)
def test_a_value_of_the_wrong_type_is_an_error_that_names_the_file(saved, file, change, says):
    path = saved / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=re.escape(path.name)) as caught:
        load_model(saved)
    assert says in str(caught.value)


def _hub(monkeypatch, download):
    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=download))


def test_a_hub_id_is_fetched_once_and_loaded(saved, monkeypatch):
    asked = []

    def download(hub_id, allow_patterns):
        asked.append((hub_id, allow_patterns))
        return str(saved)

    _hub(monkeypatch, download)
    assert load_model("somebody/some-model").folder == saved
    ((hub_id, patterns),) = asked
    assert hub_id == "somebody/some-model"
    parts = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
    assert {"*.json", *(f"{part}/*" for part in parts)} < set(patterns)


def test_a_hub_id_that_cannot_be_fetched_is_named(monkeypatch):
    def download(hub_id, allow_patterns):
        raise OSError("no network")

    _hub(monkeypatch, download)
    with pytest.raises(SpecError, match=r"somebody/nothing is neither a folder here.*no network"):
        load_model("somebody/nothing")


def test_presets_are_sizes_that_fit_together():
    for name, preset in PRESETS.items():
        assert preset.dit.text_dim == preset.text.d_model, name
        z_dim = preset.vae.z_dim
        assert preset.dit.out_channels == z_dim, name
        assert preset.dit.in_channels in (z_dim, 2 * z_dim + preset.vae.stride.time), name
        assert preset.dit.image_dim == (preset.image.width if preset.image else None), name
        stride = preset.vae.stride.with_patch(preset.dit.patch_size)
        defaults = preset.defaults
        assert (defaults.frames - 1) % stride.time == 0, name
        assert defaults.height % stride.height == defaults.width % stride.width == 0, name


@pytest.mark.parametrize(("name", "billions"), [("wan2.1-1.3b", 1.42), ("wan2.1-14b", 14.29), ("wan2.2-5b", 5.0)])
def test_wan_presets_have_the_published_number_of_weights(name, billions):
    with torch.device("meta"):
        dit = DiT(PRESETS[name].dit)
    assert sum(weight.numel() for weight in dit.parameters()) / 1e9 == pytest.approx(billions, rel=0.01)


def test_mini_fits_into_the_package():
    from kinema.model import TextEncoder, VideoVAE

    preset = PRESETS["mini"]
    with torch.device("meta"):
        parts = DiT(preset.dit), VideoVAE(preset.vae), TextEncoder(preset.text)
    assert 2 * sum(weight.numel() for part in parts for weight in part.parameters()) < 60e6


def test_loading_a_model_does_not_import_the_compiler(saved):
    """Weights that are drawn on the meta device do: a second of every command."""
    load = f"from kinema.model import load_model; load_model({str(saved)!r})"
    code = f"import sys; {load}; print('torch._dynamo' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
