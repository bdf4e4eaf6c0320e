"""The U-Net that `benchmarks/scaling.py` holds against the transformer is called as that one is."""

import dataclasses

import pytest
import torch
from tests.benchmarks import load_benchmark

from kinema.model import PRESETS

SIZES = dataclasses.replace(PRESETS["tiny"].dit, num_heads=4, head_dim=32)


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    network = load_benchmark("unet").UNet3D(SIZES)
    torch.nn.init.normal_(network.proj_out.weight, std=0.1)  # a new one predicts zero
    return network.requires_grad_(False)


def test_one_latent_under_two_texts_is_two(unet):
    latent, time, text = torch.randn(1, SIZES.in_channels, 3, 4, 4), torch.rand(1, 3), torch.randn(2, 5, SIZES.text_dim)
    both = unet(latent, time, unet.text_kv(text), steps=None)
    each = [unet(latent, time, unet.text_kv(one[None])) for one in text]
    torch.testing.assert_close(both, torch.cat(each), rtol=0, atol=1e-5)
    assert (both[0] != both[1]).any()


def test_the_last_token_stands_for_as_many_as_it_is_told(unet):
    text = torch.randn(2, 5, SIZES.text_dim)
    kept = unet.text_kv(text, repeats=3).keys[0]
    assert torch.equal(kept, torch.cat([text, text[:, 4:], text[:, 4:]], dim=1))
