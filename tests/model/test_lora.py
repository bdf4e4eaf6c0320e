"""LoRAs in every naming, merged and live; taken off, the base is what it was."""

import json

import pytest
import torch
from safetensors.torch import save_file

from kinema.checkpoint.layouts import dit_diffusers, dit_wan
from kinema.errors import CheckpointError
from kinema.model import PRESETS, DiT
from kinema.model.lora import attach, is_for, merge, read_lora

from .conftest import scramble

CONFIG = PRESETS["tiny"].dit
LAYERS = ("self_attention.to_q", "self_attention.to_out", "cross_attention.to_v", "up", "down")
RANK, ALPHA = 3, 6.0
WAN, DIFFUSERS = dit_wan(4, (1, 2, 2)), dit_diffusers(4, (1, 2, 2))


@pytest.fixture
def dit():
    torch.manual_seed(0)
    return scramble(DiT(CONFIG))


def _pairs(dit):
    """A low-rank pair for some layers of every block, by our names."""
    generator = torch.Generator().manual_seed(1)
    names = [f"blocks.{i}.{layer}" for i in range(CONFIG.num_layers) for layer in LAYERS]
    shapes = {name: dit.get_submodule(name).weight.shape for name in [*names, "patch_embed"]}
    return {
        name: (
            torch.randn(RANK, shape[1], generator=generator) / 8,
            torch.randn(shape[0], RANK, generator=generator) / 8,
        )
        for name, shape in shapes.items()
    }


def _name(layout, layer):
    return layout.name(f"{layer}.weight").removesuffix(".weight")


def _write(folder, style, dit):
    """Save the same LoRA as each of the tools would; all mean alpha / rank = 2."""
    tensors, path = {}, folder / f"{style}.safetensors"
    for layer, (down, up) in _pairs(dit).items():
        if style == "peft":
            path = folder / "adapter_model.safetensors"
            (folder / "adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": ALPHA}))
            tensors[f"base_model.model.{_name(DIFFUSERS, layer)}.lora_A.weight"] = down
            tensors[f"base_model.model.{_name(DIFFUSERS, layer)}.lora_B.weight"] = up
        elif style == "diffusers":
            tensors[f"transformer.{_name(DIFFUSERS, layer)}.lora_A.weight"] = down
            tensors[f"transformer.{_name(DIFFUSERS, layer)}.lora_B.weight"] = 2 * up
        elif style == "kohya":
            stem = "lora_unet_" + _name(WAN, layer).replace(".", "_")
            tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
            tensors[f"{stem}.alpha"] = torch.tensor(ALPHA)
        else:
            stem = f"diffusion_model.{_name(WAN, layer)}"
            tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
            tensors[f"{stem}.alpha"] = torch.tensor(ALPHA)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


@torch.no_grad()
def _velocity(dit):
    generator = torch.Generator().manual_seed(2)
    latent, text = torch.randn(1, 4, 2, 4, 4, generator=generator), torch.randn(1, 3, 32, generator=generator)
    return dit(latent, torch.full((1, 2), 0.5), text)


def _bits(dit):
    return {name: weight.clone() for name, weight in dit.state_dict().items()}


def _is_base(dit, base):
    now = dit.state_dict()
    return now.keys() == base.keys() and all(torch.equal(now[name], weight) for name, weight in base.items())


@pytest.mark.parametrize("style", ["peft", "diffusers", "kohya", "wan"])
def test_every_naming_adds_the_same_and_comes_off_bit_for_bit(tmp_path, dit, style):
    base, before = _bits(dit), _velocity(dit)
    lora = read_lora(_write(tmp_path, style, dit), dit)
    assert lora.rank == RANK
    merged = merge(dit, [(lora, 0.5)])
    for layer, (down, up) in _pairs(dit).items():
        expected = base[f"{layer}.weight"] + 0.5 * 2 * (up @ down)
        torch.testing.assert_close(dit.get_submodule(layer).weight, expected, rtol=0, atol=1e-6)
    assert (_velocity(dit) - before).abs().max() > 1e-2
    merged.undo()
    assert _is_base(dit, base)
    assert torch.equal(_velocity(dit), before)


def test_the_original_naming_means_what_diffusers_says_it_does(tmp_path, dit, quiet):
    from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_wan_lora_to_diffusers
    from safetensors.torch import load_file

    path = _write(tmp_path, "wan", dit)
    tensors = {name: tensor for name, tensor in load_file(path).items() if "patch_embedding" not in name}
    converted = _convert_non_diffusers_wan_lora_to_diffusers({name: t.clone() for name, t in tensors.items()})
    save_file({name: tensor.contiguous() for name, tensor in converted.items()}, tmp_path / "converted.safetensors")
    save_file(tensors, path)
    one, other = read_lora(path, dit), read_lora(tmp_path / "converted.safetensors", dit)
    assert one.additions.keys() == other.additions.keys()
    for layer, addition in one.additions.items():
        torch.testing.assert_close(addition.delta(), other.additions[layer].delta())


def test_several_loras_live_are_several_loras_merged(tmp_path, dit):
    base, before = _bits(dit), _velocity(dit)
    loras = [
        (read_lora(_write(tmp_path, "kohya", dit), dit), 0.7),
        (read_lora(_write(tmp_path, "wan", dit), dit), -0.2),
    ]
    live = attach(dit, loras)
    attached = _velocity(dit)
    with pytest.raises(CheckpointError, match="live on"):
        attach(dit, loras)
    live.detach()
    assert _is_base(dit, base)
    assert torch.equal(_velocity(dit), before)
    merge(dit, loras)
    torch.testing.assert_close(_velocity(dit), attached, rtol=0, atol=1e-5)
    assert (attached - before).abs().max() > 1e-2


def test_whole_differences_and_biases_are_added(tmp_path, dit):
    stem = "diffusion_model.blocks.0.ffn.0"
    tensors = {f"{stem}.diff": torch.ones(64, 32), f"{stem}.diff_b": torch.full((64,), 2.0),
               "diffusion_model.nothing.norm.diff": torch.zeros(4)}  # fmt: skip
    save_file(tensors, tmp_path / "diff.safetensors")
    lora = read_lora(tmp_path / "diff.safetensors", dit)
    base = _bits(dit)
    for put, take in ((merge, "undo"), (attach, "detach")):
        handle = put(dit, [(lora, 0.5)])
        torch.testing.assert_close(dit.blocks[0].up.weight, base["blocks.0.up.weight"] + 0.5)
        torch.testing.assert_close(dit.blocks[0].up.bias, base["blocks.0.up.bias"] + 1)
        getattr(handle, take)()
        assert _is_base(dit, base)


@torch.no_grad()
def test_merging_into_bfloat16_rounds_once_and_comes_off_exactly(tmp_path, dit):
    dit = dit.bfloat16()
    base = _bits(dit)
    merged = merge(dit, [(read_lora(_write(tmp_path, "wan", dit), dit), 1.0)])
    down, up = _pairs(dit)["blocks.0.up"]
    expected = (base["blocks.0.up.weight"].float() + 2 * (up @ down)).bfloat16()
    assert torch.equal(dit.blocks[0].up.weight, expected)
    merged.undo()
    assert _is_base(dit, base)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t, k: t.update({"diffusion_model.blocks.9.self_attn.q.lora_down.weight": t[k].clone()}),
            "blocks.9.self_attn.q",
        ),
        (lambda t, k: t.update({k: torch.zeros(RANK, 5)}), "another architecture"),
        (lambda t, k: t.pop(k), "one half"),
        (lambda t, k: t.update({k: t[k][:2].clone()}), "rank 2 on one side and 3"),
        (lambda t, k: t[k].fill_(float("nan")), "not numbers"),
        (lambda t, k: t.update({"blocks.0.hada_w1_a": torch.zeros(2)}), "no part of a LoRA"),
    ],
)
def test_a_lora_for_another_model_is_refused_by_name(tmp_path, dit, change, words):
    from safetensors.torch import load_file

    path = _write(tmp_path, "wan", dit)
    tensors = load_file(path)
    change(tensors, "diffusion_model.blocks.0.self_attn.q.lora_down.weight")
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=words):
        read_lora(path, dit)


def test_a_file_without_layers_is_no_lora(tmp_path, dit):
    save_file({"diffusion_model.x.diff": torch.zeros(2)}, tmp_path / "empty.safetensors")
    with pytest.raises(CheckpointError, match="changes no layer"):
        read_lora(tmp_path / "empty.safetensors", dit)
    with pytest.raises(CheckpointError, match="holds no LoRA"):
        read_lora(tmp_path, dit)


def test_files_are_told_by_the_expert_they_are_named_for():
    assert is_for("loras/style_high_noise_v1.safetensors", "high")
    assert not is_for("loras/style_high_noise_v1.safetensors", "low")
    assert not is_for("style.safetensors", "high")
