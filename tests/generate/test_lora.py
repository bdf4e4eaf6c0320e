"""LoRAs in a request: merged for it, and gone with it."""

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kinema.errors import CheckpointError, SpecError
from kinema.generate.pipeline import Pipeline
from kinema.model import load_model
from kinema.spec import VideoSpec

SPEC = VideoSpec(prompt="a red ball rolls", frames=5, width=32, height=32, steps=2, guidance=3.0)


@pytest.fixture
def style(tmp_path: Path) -> str:
    torch.manual_seed(0)
    layer = "diffusion_model.blocks.0.cross_attn.v"
    pair = {f"{layer}.lora_down.weight": torch.randn(2, 32), f"{layer}.lora_up.weight": torch.randn(32, 2)}
    save_file(pair, tmp_path / "style.safetensors")
    return str(tmp_path / "style.safetensors")


def test_a_request_with_a_lora_leaves_nothing_behind(tiny_model: Path, style: str) -> None:
    pipe = Pipeline.load(str(tiny_model), "cpu", "float32")
    plain = pipe.resolve(SPEC)
    with_style = dataclasses.replace(plain, loras=((style, 0.8),))
    before = pipe.latents(plain)
    changed = pipe.latents(with_style)
    assert (changed - before).abs().max() > 1e-3
    assert torch.equal(pipe.latents(with_style), changed)
    assert not torch.equal(pipe.latents(dataclasses.replace(plain, loras=((style, 0.4),))), changed)
    assert torch.equal(pipe.latents(plain), before)
    base = load_model(tiny_model).dit.state_dict()
    assert all(torch.equal(weight, base[name]) for name, weight in pipe.model.dit.state_dict().items())


def test_a_lora_is_checked_before_any_work(tiny_model: Path, tmp_path: Path, style: str) -> None:
    pipe = Pipeline.load(str(tiny_model), "cpu", "float32")
    assert pipe.resolve(dataclasses.replace(SPEC, loras=((style, 1.0),))).loras == ((style, 1.0),)
    save_file({"diffusion_model.blocks.7.ffn.0.lora_down.weight": torch.zeros(1, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"blocks.7.ffn.0 is no layer of this model"):
        pipe.resolve(dataclasses.replace(SPEC, loras=((str(tmp_path / "other.safetensors"), 1.0),)))
    with pytest.raises(SpecError, match="weight of"):
        dataclasses.replace(SPEC, loras=((style, float("nan")),))
