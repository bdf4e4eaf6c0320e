"""The gates of causal generation: what a cache gives block by block is what a mask gives at once."""

import pytest
import torch

from kinema.errors import SpecError
from kinema.model.causal import CausalConfig, block_causal_mask, sights, teacher_forcing_mask
from kinema.model.dit import DiT, DiTConfig

FRAMES, SIDE, TOKENS = 7, 4, 4
SMALL = DiTConfig(num_heads=2, head_dim=16, num_layers=3, ffn_dim=48, in_channels=4, out_channels=4, text_dim=8)


@pytest.fixture(scope="module")
def case():
    torch.manual_seed(0)
    dit = DiT(SMALL)
    for parameter in dit.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return dit, torch.randn(2, 4, FRAMES, SIDE, SIDE), torch.rand(2, FRAMES), torch.randn(2, 5, 8)


def _cached(dit, latent, time, text, config, runs=1, **sizes):
    """Run block by block; before the run that counts, each block is run on other latents."""
    cache = dit.new_cache(config, (SIDE, SIDE), batch=2, **sizes)
    found = []
    for start in range(0, latent.shape[2], config.block):
        part = slice(start, start + config.block)
        cache.open(latent[:, :, part].shape[2])
        for run in range(runs):
            noise = torch.randn(latent[:, :, part].shape) * (run < runs - 1)
            velocity = dit(latent[:, :, part] + noise, time[:, part], text, cache=cache)
        cache.close()
        found.append(velocity)
    return torch.cat(found, dim=2), cache


@pytest.mark.parametrize(
    "config",
    [
        CausalConfig(block=1),
        CausalConfig(block=3),
        CausalConfig(block=1, window=3),
        CausalConfig(block=2, window=5, sink=1),
        CausalConfig(block=3, window=6, sink=3),
        CausalConfig(block=3, window=9, positions="relative"),
        CausalConfig(block=1, window=3, sink=1, positions="relative"),
        CausalConfig(block=2, window=4, positions="relative"),
    ],
    ids=str,
)
@torch.no_grad()
def test_a_cache_block_by_block_equals_a_mask_over_the_whole_clip(case, config):
    dit, latent, time, text = case
    seen = sights(block_causal_mask(FRAMES, config), range(FRAMES), config)
    whole = dit(latent, time, text, sights=seen)
    blocks, _ = _cached(dit, latent, time, text, config, runs=3, max_frames=FRAMES)
    torch.testing.assert_close(blocks, whole, rtol=0, atol=1e-4)
    assert (whole - dit(latent, time, text)).abs().max() > 1e-2  # the mask matters


@torch.no_grad()
def test_a_window_as_long_as_the_video_is_no_window(case):
    dit, latent, time, text = case
    everything, _ = _cached(dit, latent, time, text, CausalConfig(block=2), max_frames=FRAMES)
    for positions in ("absolute", "relative"):
        config = CausalConfig(block=2, window=FRAMES + 1, positions=positions)
        ring, _ = _cached(dit, latent, time, text, config)
        torch.testing.assert_close(ring, everything, rtol=0, atol=1e-5)


@torch.no_grad()
def test_memory_does_not_grow_and_relative_positions_repeat_themselves(case):
    dit, latent, time, text = case
    config = CausalConfig(block=1, window=3, sink=1, positions="relative")
    long = latent.repeat(1, 1, 6, 1, 1)
    velocity, cache = _cached(dit, long, time.repeat(1, 6), text, config)
    assert cache.num_bytes == dit.new_cache(config, (SIDE, SIDE), batch=2).num_bytes
    assert cache.num_frames == 6 * FRAMES
    assert sorted(cache.positions()) == [0, 1, 2]
    # Once the window is full of repeated frames, what is made repeats with the clip, whatever its place in the video.
    torch.testing.assert_close(velocity[:, :, 3 * FRAMES : 4 * FRAMES], velocity[:, :, 5 * FRAMES :], rtol=0, atol=1e-4)


def test_the_gradient_reaches_the_open_block_and_nothing_that_is_remembered(case):
    dit, latent, time, text = case
    cache = dit.new_cache(CausalConfig(block=1), (SIDE, SIDE), batch=2, max_frames=2)
    first, second = (latent[:, :, i : i + 1].clone().requires_grad_() for i in range(2))
    with torch.no_grad():
        cache.open(1)
        dit(first, time[:, :1], text, cache=cache)
        cache.close()
    cache.open(1)
    dit(second, time[:, 1:2], text, cache=cache).square().sum().backward()
    assert first.grad is None
    assert second.grad.abs().max() > 0


@pytest.mark.parametrize(
    "config",
    [CausalConfig(block=2), CausalConfig(block=2, window=5, sink=1, positions="relative")],
    ids=["all", "window"],
)
@torch.no_grad()
def test_teacher_forcing_gives_every_block_what_it_would_see_while_generating(case, config):
    dit, latent, time, text = case
    clean, zeros = torch.randn(latent.shape), torch.zeros_like(time)
    seen = sights(teacher_forcing_mask(FRAMES, config), [*range(FRAMES)] * 2, config)
    both = torch.cat([clean, latent], dim=2)
    at_once = dit(both, torch.cat([zeros, time], 1), text, frames=[*range(FRAMES)] * 2, sights=seen)[:, :, FRAMES:]
    cache = dit.new_cache(config, (SIDE, SIDE), batch=2, max_frames=FRAMES)
    for start in range(0, FRAMES, 2):
        part = slice(start, start + 2)
        cache.open(latent[:, :, part].shape[2])
        velocity = dit(latent[:, :, part], time[:, part], text, cache=cache)
        torch.testing.assert_close(velocity, at_once[:, :, part], rtol=0, atol=1e-4)
        dit(clean[:, :, part], zeros[:, part], text, cache=cache)
        cache.close()


def test_what_does_not_fit_is_refused(case):
    dit = case[0]
    with pytest.raises(SpecError, match="give max_frames"):
        dit.new_cache(CausalConfig(), (SIDE, SIDE))
    cache = dit.new_cache(CausalConfig(block=2), (SIDE, SIDE), max_frames=3)
    with pytest.raises(SpecError, match="longer than the model's blocks of 2"):
        cache.open(3)
    cache.open(2)
    cache.close()
    with pytest.raises(SpecError, match="ends after 3 latent frames"):
        cache.open(2)


@pytest.mark.parametrize(
    "change",
    [
        {"block": 0},
        {"window": 2, "sink": 2},
        {"positions": "relative"},
        {"context_noise": 1.5},
    ],
)
def test_contradictory_configurations_are_refused(change):
    with pytest.raises(SpecError):
        CausalConfig(**change)
