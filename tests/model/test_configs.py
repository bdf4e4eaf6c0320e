import json
import re
from pathlib import Path
from typing import Literal

import pytest
import torch

from kinema.errors import CheckpointError, SpecError
from kinema.model import PRESETS, load_model
from kinema.model.clip import ImageEncoderConfig
from kinema.model.configs import (
    clip_config,
    clip_json,
    dit_config,
    dit_json,
    text_config,
    text_json,
    vae_config,
    vae_json,
)

TRANSFORMER = dit_json(PRESETS["tiny"].dit)
VAE = vae_json(PRESETS["tiny"].vae)
TEXT = text_json(PRESETS["tiny"].text, torch.float32)
CLIP = clip_json(ImageEncoderConfig())


@pytest.mark.parametrize("preset", PRESETS)
def test_sizes_come_back_as_they_were_written(preset: str) -> None:
    sizes = PRESETS[preset]
    assert dit_config(dit_json(sizes.dit)) == sizes.dit
    assert vae_json(vae_config(vae_json(sizes.vae))) == vae_json(sizes.vae)  # no mean is written as one of zeros
    assert text_config(text_json(sizes.text, torch.bfloat16)) == sizes.text


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_an_image_encoder_comes_back_as_it_was_written(activation: Literal["gelu", "quick_gelu"]) -> None:
    config = ImageEncoderConfig(activation=activation)
    assert clip_config(clip_json(config)) == config


@pytest.mark.parametrize(
    ("read", "config", "field", "value", "takes"),
    [
        (dit_config, TRANSFORMER, "attention_head_dim", "abc", "an integer"),
        (dit_config, TRANSFORMER, "num_attention_heads", None, "an integer"),
        (dit_config, TRANSFORMER, "num_layers", 2.5, "an integer"),
        (dit_config, TRANSFORMER, "added_kv_proj_dim", "abc", "an integer"),
        (dit_config, TRANSFORMER, "pos_embed_seq_len", "abc", "an integer"),
        (dit_config, TRANSFORMER, "eps", "small", "a number"),
        (dit_config, TRANSFORMER, "patch_size", 2, "a list"),
        (dit_config, TRANSFORMER, "patch_size", [1, 2], "a list of 3 values"),
        (vae_config, VAE, "base_dim", "abc", "an integer"),
        (vae_config, VAE, "dim_mult", "abc", "a list"),
        (vae_config, VAE, "temperal_downsample", None, "a list"),
        (vae_config, VAE, "is_residual", "no", "true or false"),
        (text_config, TEXT, "d_kv", "abc", "an integer"),
        (text_config, TEXT, "layer_norm_epsilon", "abc", "a number"),
        (clip_config, CLIP, "hidden_size", "abc", "an integer"),
        (clip_config, CLIP, "hidden_act", "tanh", "one of 'gelu', 'quick_gelu'"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_by_the_field_of_the_file(read, config, field, value, takes) -> None:
    with pytest.raises(SpecError) as refused:
        read({**config, field: value})
    assert str(refused.value) == f"{field} is {value!r}; it takes {takes}"


def test_the_wrong_place_in_a_list_is_named() -> None:
    with pytest.raises(SpecError, match=re.escape("latents_std[1] is 'abc'; it takes a number")):
        vae_config({**VAE, "latents_std": [1.0, "abc", 1.0, 1.0]})


def test_a_size_that_has_no_default_is_missed_by_its_name() -> None:
    with pytest.raises(SpecError, match="vocab_size is missing; UMT5EncoderModel needs it"):
        text_config({name: value for name, value in TEXT.items() if name != "vocab_size"})


def test_the_file_is_named_too(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for each in tiny_model.iterdir():
        if each.name != "transformer":
            (folder / each.name).symlink_to(each)
    (folder / "transformer").mkdir()
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps({**TRANSFORMER, "attention_head_dim": "abc"}))
    with pytest.raises(CheckpointError) as refused:
        load_model(folder, "meta")
    assert str(refused.value) == f"{path}: attention_head_dim is 'abc'; it takes an integer"
