"""Models in the names of the Wan team's own code: against diffusers' converters, and loaded from their files."""

import dataclasses
import json
import re

import pytest
import torch
from safetensors.torch import save_file

from kinema.checkpoint.detect import identify
from kinema.checkpoint.layouts import (
    CLIP_TRANSFORMERS,
    TEXT_TRANSFORMERS,
    TEXT_WAN,
    clip_wan,
    dit_diffusers,
    dit_wan,
    vae_diffusers,
    vae_wan,
)
from kinema.errors import CheckpointError
from kinema.model import PRESETS, DiT, ImageEncoder, ImageEncoderConfig, TextEncoder, VideoVAE, load_model
from kinema.model.configs import clip_json, dit_json, text_json, vae_json
from kinema.model.presets import WAN21_VAE, WAN22_VAE

from .conftest import scramble

PUBLISHED = [name for name in PRESETS if name.startswith("wan")]


def _named(module, layout):
    """The weights of a module under the names, shapes and joints of a layout."""
    named = {}
    for name, weight in module.state_dict().items():
        theirs, shaped = layout.name(name), weight.reshape(layout.shape(name, weight.shape))
        named[theirs] = torch.cat([named[theirs], shaped]) if theirs in named else shaped
    return named


def _shapes(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _without_class(config):
    return {key: value for key, value in config.items() if not key.startswith("_")}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_weight_of_a_published_transformer_is_accounted_for_in_both_layouts(name, quiet):
    from diffusers import WanTransformer3DModel
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    config = PRESETS[name].dit
    with torch.device("meta"):
        ours = DiT(config)
        expected = _shapes(WanTransformer3DModel(**_without_class(dit_json(config))).state_dict())
    assert _shapes(_named(ours, dit_diffusers(config.in_channels, config.patch_size))) == expected
    original = _named(ours, dit_wan(config.in_channels, config.patch_size))
    assert identify(original) == ("transformer", "wan")
    converted = _shapes(convert_wan_transformer_to_diffusers(dict(original)))
    converted = {name.replace("img_emb.emb_pos", "condition_embedder.image_embedder.pos_embed"): shape
                 for name, shape in converted.items()}  # fmt: skip
    assert converted == expected


@pytest.mark.parametrize("config", [WAN21_VAE, WAN22_VAE])
def test_every_weight_of_a_published_autoencoder_is_accounted_for_in_both_layouts(config, quiet):
    from diffusers import AutoencoderKLWan
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    with torch.device("meta"):
        ours = VideoVAE(config)
        expected = _shapes(AutoencoderKLWan(**_without_class(vae_json(config))).state_dict())
    assert _shapes(_named(ours, vae_diffusers(4, 2, is_residual=config.is_residual))) == expected
    original = _named(ours, vae_wan(4, 2, is_residual=config.is_residual))
    assert identify(original) == ("vae", "wan")
    if config is WAN21_VAE:
        assert _shapes(convert_wan_vae_to_diffusers(original)) == expected
        return
    grouped = {}  # Wan2.2's own modules: stages, each with its blocks and then its step
    for name, shape in _shapes(original).items():
        name = re.sub(r"(down|up)samples\.(\d)\.\1samples\.", r"\1_blocks.\2.resnets.", name)
        name = re.sub(r"(down)(_blocks\.\d)\.resnets\.2\.", r"\1\2.downsampler.", name)
        name = re.sub(r"(up)(_blocks\.\d)\.resnets\.3\.", r"\1\2.upsampler.", name)
        for number, place in (("0", "norm1"), ("2", "conv1"), ("3", "norm2"), ("6", "conv2")):
            name = name.replace(f".residual.{number}.", f".{place}.")
        name = name.replace(".shortcut.", ".conv_shortcut.").replace(".middle.0.", ".mid_block.resnets.0.")
        name = name.replace(".middle.1.", ".mid_block.attentions.0.").replace(".middle.2.", ".mid_block.resnets.1.")
        name = name.replace(".head.0.", ".norm_out.").replace(".head.2.", ".conv_out.")
        name = re.sub(r"^(encoder|decoder)\.conv1\.", r"\1.conv_in.", name)
        name = re.sub(r"^conv1\.", "quant_conv.", re.sub(r"^conv2\.", "post_quant_conv.", name))
        grouped[name] = shape
    assert grouped == expected


def test_every_weight_of_the_published_text_encoder_is_accounted_for_in_both_layouts(quiet):
    from transformers import UMT5Config, UMT5EncoderModel

    config = PRESETS["wan2.1-1.3b"].text
    with torch.device("meta"):
        ours = TextEncoder(config)
        theirs = UMT5EncoderModel(UMT5Config(**text_json(config, torch.float32))).state_dict()
    theirs.pop("encoder.embed_tokens.weight", None)  # the same tensor as shared.weight
    assert _shapes(_named(ours, TEXT_TRANSFORMERS)) == _shapes(theirs)
    d, inner, ff = config.d_model, config.num_heads * config.head_dim, config.d_ff
    expected = {"token_embedding.weight": (config.vocab_size, d), "norm.weight": (d,)}
    for i in range(24):
        expected |= {f"blocks.{i}.norm{n}.weight": (d,) for n in (1, 2)}
        expected |= {f"blocks.{i}.attn.{part}.weight": (inner, d) for part in "qkv"}
        expected |= {
            f"blocks.{i}.attn.o.weight": (d, inner),
            f"blocks.{i}.ffn.gate.0.weight": (ff, d),
            f"blocks.{i}.ffn.fc1.weight": (ff, d),
            f"blocks.{i}.ffn.fc2.weight": (d, ff),
            f"blocks.{i}.pos_embedding.embedding.weight": (32, 64),
        }
    assert _shapes(_named(ours, TEXT_WAN)) == expected


def test_every_weight_of_the_published_image_encoder_is_accounted_for_in_both_layouts(quiet):
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = ImageEncoderConfig()
    with torch.device("meta"):
        ours = ImageEncoder(config)
        theirs = CLIPVisionModel(CLIPVisionConfig(**clip_json(config)))
    shapes = _shapes(theirs.state_dict()).items()
    expected = {name.removeprefix("vision_model."): shape for name, shape in shapes if "position_ids" not in name}
    assert _shapes(_named(ours, CLIP_TRANSFORMERS)) == expected
    expected = {
        "visual.cls_embedding": (1, 1, 1280),
        "visual.pos_embedding": (1, 257, 1280),
        "visual.patch_embedding.weight": (1280, 3, 14, 14),
    }
    for norm in ("pre_norm", "post_norm", *(f"transformer.{i}.norm{n}" for i in range(32) for n in (1, 2))):
        expected |= {f"visual.{norm}.weight": (1280,), f"visual.{norm}.bias": (1280,)}
    sizes = {"attn.to_qkv": (3840, 1280), "attn.proj": (1280, 1280), "mlp.0": (5120, 1280), "mlp.2": (1280, 5120)}
    for i in range(32):
        for name, shape in sizes.items():
            expected |= {f"visual.transformer.{i}.{name}.weight": shape}
            expected |= {f"visual.transformer.{i}.{name}.bias": shape[:1]}
    assert _shapes(_named(ours, clip_wan(1280))) == expected


DIT = dataclasses.replace(PRESETS["tiny"].dit, num_heads=1, head_dim=128, ffn_dim=64, in_channels=16, out_channels=16)
VAE = dataclasses.replace(WAN21_VAE, base_dim=4)


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    return scramble(DiT(DIT)), scramble(VideoVAE(VAE)), scramble(TextEncoder(PRESETS["tiny"].text))


@pytest.fixture
def published(tmp_path, parts, tiny):
    """A folder as the Wan team publishes one: sharded safetensors, and what torch.save wrote."""
    dit, vae, text = parts
    weights = _named(dit, dit_wan(16, (1, 2, 2)))
    names = sorted(weights)
    for number, half in enumerate((names[::2], names[1::2]), start=1):
        shard = {name: weights[name].contiguous() for name in half}
        save_file(shard, tmp_path / f"diffusion_pytorch_model-0000{number}-of-00002.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "WanModel", "num_heads": 1, "eps": 1e-6}))
    torch.save(_named(vae, vae_wan(4, 2, is_residual=False)), tmp_path / "Wan2.1_VAE.pth")
    torch.save(_named(text, TEXT_WAN), tmp_path / "models_t5_umt5-xxl-enc-bf16.pth")
    (tmp_path / "google" / "umt5-xxl").mkdir(parents=True)
    tiny.tokenizer.save(tmp_path / "google" / "umt5-xxl")
    return tmp_path


def _same(module, other):
    state = other.state_dict()
    return all(torch.equal(weight, state[name]) for name, weight in module.state_dict().items())


def test_a_folder_in_the_original_layout_loads(published, parts):
    model = load_model(published)
    assert model.dit.config == DIT
    assert model.vae.config == VAE
    assert model.text.config == PRESETS["tiny"].text
    assert all(_same(*pair) for pair in zip((model.dit, model.vae, model.text), parts, strict=True))
    assert model.causal is None
    assert not model.reads_frames


@pytest.mark.parametrize(
    ("wrap", "prefix", "is_causal"),
    [
        (lambda w: {"generator_ema": w, "generator": {name: 0 * v for name, v in w.items()}}, "model.", True),
        (lambda w: {"generator": w, "critic": w, "step": 600}, "model._fsdp_wrapped_module.", True),
        (lambda w: w, "model.diffusion_model.", False),
        (lambda w: {"state_dict": w}, "", False),
    ],
)
def test_a_checkpoint_of_a_training_run_loads_with_the_parts_beside_it(published, parts, wrap, prefix, is_causal):
    weights = {prefix + name: 2 * weight for name, weight in _named(parts[0], dit_wan(16, (1, 2, 2))).items()}
    torch.save(wrap(weights), published / "self_forcing_dmd.pt")
    model = load_model(published / "self_forcing_dmd.pt")
    assert torch.equal(model.dit.proj_out.weight, 2 * parts[0].proj_out.weight)
    assert _same(model.vae, parts[1])
    assert (model.causal is not None) == is_causal
    if is_causal:
        assert model.causal.block == 3
        assert (model.defaults.steps, model.defaults.guidance, model.defaults.solver) == (4, 1.0, "consistency")


def test_a_checkpoint_alone_says_what_to_put_beside_it(tmp_path, parts):
    torch.save({"generator": _named(parts[0], dit_wan(16, (1, 2, 2)))}, tmp_path / "alone.pt")
    with pytest.raises(CheckpointError, match=r"alone.pt holds only part of a model.*Wan2.1_VAE.pth"):
        load_model(tmp_path / "alone.pt")


def test_a_torch_file_with_code_is_refused(tmp_path):
    torch.save({"weights": re.compile("x")}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="not opened"):
        load_model(tmp_path / "evil.pt")


def test_a_partial_checkpoint_names_what_is_wrong_in_its_own_names(published, parts):
    weights = _named(parts[0], dit_wan(16, (1, 2, 2)))
    weights["blocks.0.ffn.0.bias"] = torch.zeros(3)
    weights["blocks.1.extra.weight"] = weights.pop("blocks.1.cross_attn.norm_q.weight")
    torch.save(weights, published / "broken.pt")
    with pytest.raises(CheckpointError) as caught:
        load_model(published / "broken.pt")
    for words in ("blocks.0.ffn.0.bias has shape 3", "blocks.1.extra.weight is not part",
                  "blocks.1.cross_attn.norm_q.weight is missing"):  # fmt: skip
        assert words in str(caught.value)


def test_two_networks_of_one_kind_in_a_folder_are_refused(published, parts):
    torch.save(_named(parts[1], vae_wan(4, 2, is_residual=False)), published / "another_VAE.pth")
    with pytest.raises(CheckpointError, match=r"two networks of one kind \(vae\)"):
        load_model(published)


def test_a_folder_of_something_else_is_refused(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="no model"):
        load_model(tmp_path)


def test_two_experts_in_the_original_layout_load(published, parts, tmp_path):
    dit = parts[0]
    for path in published.glob("diffusion*"):
        path.unlink()
    for name, factor in (("high_noise_model", 1), ("low_noise_model", 3)):
        (published / name).mkdir()
        weights = {key: (factor * weight).contiguous() for key, weight in _named(dit, dit_wan(16, (1, 2, 2))).items()}
        save_file(weights, published / name / "diffusion_pytorch_model.safetensors")
    model = load_model(published)
    assert torch.equal(model.dit.proj_out.weight, dit.proj_out.weight)
    assert torch.equal(model.dit_low.proj_out.weight, 3 * dit.proj_out.weight)
    assert model.boundary is not None
