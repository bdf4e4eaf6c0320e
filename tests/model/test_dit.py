import dataclasses
import re
import subprocess
import sys

import pytest
import torch

from kinema.checkpoint.layouts import dit_diffusers
from kinema.checkpoint.weights import load_weights
from kinema.errors import SpecError
from kinema.model.dit import DiT, DiTConfig, init_weights
from kinema.model.text import fold_padding

from .conftest import scramble

CONFIG = DiTConfig(num_heads=3, head_dim=20, num_layers=2, ffn_dim=96, in_channels=4, out_channels=4, text_dim=24)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """One network twice: diffusers' with random weights, and ours with the same."""
    from diffusers import WanTransformer3DModel

    from kinema.model.configs import dit_json

    torch.manual_seed(0)
    reference = WanTransformer3DModel(**{k: v for k, v in dit_json(CONFIG).items() if not k.startswith("_")})
    folder = tmp_path_factory.mktemp("dit")
    scramble(reference).save_pretrained(folder)
    ours = DiT(CONFIG).eval()
    load_weights(ours, folder, "diffusion_pytorch_model", dit_diffusers(4, (1, 2, 2)))
    return reference, ours


def _inputs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(2, 4, 3, 4, 6, generator=generator),
        torch.rand(2, 3, generator=generator),
        torch.randn(2, 7, 24, generator=generator),
    )


@torch.no_grad()
def test_against_diffusers_with_one_time_per_clip(pair):
    reference, ours = pair
    latent, time, text = _inputs()
    time = time[:, :1].expand(-1, 3)
    theirs = reference(latent, 1000 * time[:, 0], text).sample
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours(latent, time, text), theirs, rtol=0, atol=1e-4)


@torch.no_grad()
def test_against_diffusers_with_one_time_per_token(pair):
    reference, ours = pair
    latent, time, text = _inputs()
    theirs = reference(latent, (1000 * time).repeat_interleave(2 * 3, dim=1), text).sample
    torch.testing.assert_close(ours(latent, time, text), theirs, rtol=0, atol=1e-4)


@torch.no_grad()
def test_text_keys_and_values_computed_once_give_the_same_velocity(pair):
    _, ours = pair
    latent, time, text = _inputs()
    assert torch.equal(ours(latent, time, ours.text_kv(text)), ours(latent, time, text))


@torch.no_grad()
def test_padding_stands_once_and_counts_as_often(pair):
    _, ours = pair
    latent, times, text = _inputs()
    text = torch.nn.functional.pad(text, (0, 0, 0, 11))
    text[0, 3:] = 0.0  # a shorter text, whose padding begins before that of the other
    short, repeats = fold_padding(text, 7)
    assert short.shape[1] == 8
    assert repeats == 11
    folded = ours.text_kv(short, repeats=repeats)
    assert folded.texts(slice(1)).repeats == 11
    torch.testing.assert_close(ours(latent, times, folded), ours(latent, times, text), rtol=0, atol=1e-5)


@pytest.mark.parametrize("length", [6, 7])
def test_a_text_that_leaves_no_room_has_no_padding_to_fold(length):
    text = _inputs()[2]
    short, repeats = fold_padding(text, length)
    assert torch.equal(short, text)
    assert repeats == 1


@torch.no_grad()
def test_bfloat16_and_autocast_stay_near_float32(pair):
    _, ours = pair
    latent, time, text = _inputs()
    exact = ours(latent, time, text)
    with torch.autocast("cpu", torch.bfloat16):
        cast = ours(latent, time, text)
    assert cast.dtype == torch.float32
    rounded = DiT(CONFIG)
    rounded.load_state_dict(ours.state_dict())
    rounded = rounded.bfloat16()(latent, time, text)
    assert rounded.dtype == torch.float32
    for value in (cast, rounded):
        assert (value - exact).norm() < 0.05 * exact.norm()


def test_every_weight_gets_a_gradient_under_autocast(pair):
    ours = DiT(CONFIG)
    ours.load_state_dict(pair[1].state_dict())
    latent, time, text = _inputs()
    with torch.autocast("cpu", torch.bfloat16):
        ours(latent, time, text).square().mean().backward()
    for name, weight in ours.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0, name


_TRACE = """
import torch
import torch.nn.functional as F
from kinema.model.dit import DiT, DiTConfig
dit = DiT(DiTConfig(num_heads=2, head_dim=16, num_layers=2, ffn_dim=64, in_channels=4, out_channels=4, text_dim=24))
torch.nn.init.normal_(dit.proj_out.weight)
inputs = torch.randn(2, 4, 3, 4, 6), torch.rand(2, 3), torch.randn(2, 7, 24)
traced = torch.compile(dit, backend="aot_eager", fullgraph=True)
torch.testing.assert_close(traced(*inputs), dit(*inputs))
traced(*inputs).sum().backward()
"""


def test_traces_forward_and_backward_into_one_graph():
    # In a process of its own: the shape checks of the tests cannot be traced.
    done = subprocess.run([sys.executable, "-c", _TRACE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_new_network_predicts_zero_velocity_and_its_blocks_hardly_change_tokens():
    torch.manual_seed(0)
    latent, time, text = _inputs()
    assert not DiT(CONFIG)(latent, time, text).any()


def _expected_std(kind, module, depth):
    fan_in = module.in_features if isinstance(module, torch.nn.Linear) else None
    return {
        "0": 0.0,
        "normal, std n^-1/2": (fan_in or 1) ** -0.5,
        "normal, std (2 L n)^-1/2": (2 * depth * (fan_in or 1)) ** -0.5,
    }[kind]


def test_the_table_of_starting_values_is_true_and_complete():
    torch.manual_seed(0)
    sizes = {"num_heads": 4, "head_dim": 32, "num_layers": 3, "ffn_dim": 256, "text_dim": 128, "image_dim": 128}
    config = dataclasses.replace(CONFIG, **sizes)
    dit = DiT(config)
    rows = dict(re.findall(r"^    \| (\S.*?)\s+\| (\S.*?)\s+\|$", init_weights.__doc__, re.MULTILINE))
    rules = {}
    for names, start in rows.items():
        for name in names.removeprefix("blocks: ").split(", "):
            rules[name] = start
    covered = set()
    for name, module in dit.named_modules():
        if isinstance(module, torch.nn.Linear):
            assert not module.bias.any(), name
            key = next(part for part in reversed(name.split(".")) if part in rules or part in ("linear1", "linear2"))
            key = name.split(".")[0] if key.startswith("linear") else key
            std = _expected_std(rules[key], module, 3)
            assert module.weight.std().item() == pytest.approx(std, rel=0.05), name
            covered.add(key)
        elif "norm" in name.rsplit(".", 1)[-1]:
            assert (module.weight == 1).all(), name
    assert rules["modulation"] == "shift 0, scale 0, gate 1"
    for block in dit.blocks:
        assert torch.equal(block.modulation, torch.tensor([0.0, 0, 1, 0, 0, 1])[:, None].expand(6, 128))
    assert rules["out_modulation"] == "0"
    assert not dit.out_modulation.any()
    assert rules["every bias"] == "0"
    assert rules["every norm weight"] == "1"
    special = {"modulation", "out_modulation", "every bias", "every norm weight", "parameter"}
    assert covered == set(rules) - special - {name for name in rules if set(name) == {"-"}}


@pytest.mark.parametrize(
    ("change", "word"), [({"patch_size": (2, 2, 2)}, "patch_size"), ({"head_dim": 7}, "head_dim=7")]
)
def test_impossible_sizes_are_refused(change, word):
    with pytest.raises(SpecError, match=word):
        dataclasses.replace(CONFIG, **change)


def test_latents_that_do_not_divide_into_patches_are_refused(pair):
    _, time, text = _inputs()
    with pytest.raises(SpecError, match="5 x 6"):
        pair[1](torch.zeros(2, 4, 3, 5, 6), time, text)


def test_one_video_meets_two_texts_as_two_copies_of_it_would(pair):
    latent, time, text = _inputs()
    with torch.inference_mode():
        copies = pair[1](latent[:1].repeat(2, 1, 1, 1, 1), time[:1].repeat(2, 1), text)
        once = pair[1](latent[:1], time[:1], text)
    assert len(once) == 2
    assert (copies[0] - copies[1]).abs().max() > 1e-3
    torch.testing.assert_close(once, copies)
