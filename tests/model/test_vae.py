import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinema.checkpoint.layouts import vae_diffusers
from kinema.checkpoint.weights import load_weights
from kinema.errors import SpecError
from kinema.model.causal_conv import _RMSNormSiLU
from kinema.model.configs import vae_json
from kinema.model.vae import VAEConfig, VideoVAE, patchify, unpatchify

from .conftest import scramble

STATISTICS = {"latents_mean": (0.1, -0.2, 0.3, 0.0), "latents_std": (1.5, 0.8, 1.0, 1.2)}
WAN21 = VAEConfig(base_dim=8, z_dim=4, num_res_blocks=2, **STATISTICS)
WAN22 = VAEConfig(base_dim=8, decoder_base_dim=16, z_dim=4, is_residual=True, patch_size=2, **STATISTICS)
MINI = VAEConfig(
    base_dim=8, z_dim=4, dim_mult=(1, 2, 4), num_res_blocks=1, temporal_downsample=(True, True), patch_size=2,
    **STATISTICS,
)  # fmt: skip
STYLES = {"wan21": WAN21, "wan22": WAN22, "mini": MINI}


def _identical(chunks, whole, dim):
    """Compare by bits; a plain bool, because pytest would print both clips."""
    return torch.equal(torch.cat(list(chunks), dim=dim), whole)


def _made(config):
    torch.manual_seed(0)
    return scramble(VideoVAE(config))


@pytest.fixture(scope="module", params=STYLES)
def pair(request, tmp_path_factory):
    """One autoencoder twice: diffusers' with random weights, and ours with the same."""
    from diffusers import AutoencoderKLWan

    config = STYLES[request.param]
    torch.manual_seed(0)
    reference = AutoencoderKLWan(**{k: v for k, v in vae_json(config).items() if not k.startswith("_")})
    folder = tmp_path_factory.mktemp("vae")
    scramble(reference).save_pretrained(folder)
    ours = VideoVAE(config).eval()
    layout = vae_diffusers(len(config.dim_mult), config.num_res_blocks, is_residual=config.is_residual)
    load_weights(ours, folder, "diffusion_pytorch_model", layout)
    return reference, ours


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5, 13])
def test_encode_against_diffusers(pair, frames):
    reference, ours = pair
    clip = torch.rand(2, frames, 32, 16, 3) * 2 - 1
    posterior = reference.encode(clip.permute(0, 4, 1, 2, 3)).latent_dist
    mean, std = (torch.tensor(values).view(-1, 1, 1, 1) for values in STATISTICS.values())
    assert posterior.mean.std() > 0.05
    torch.testing.assert_close(ours.encode(clip), (posterior.mode() - mean) / std, rtol=0, atol=1e-4)
    torch.testing.assert_close(ours.encode_moments(clip)[1], posterior.logvar, rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 4])
def test_decode_against_diffusers(pair, frames):
    reference, ours = pair
    latent = torch.randn(2, 4, frames, 2, 3)
    mean, std = (torch.tensor(values).view(-1, 1, 1, 1) for values in STATISTICS.values())
    theirs = reference.decode(latent * std + mean).sample.permute(0, 2, 3, 4, 1)
    assert theirs.std() > 0.05
    torch.testing.assert_close(ours.decode(latent), theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("style", STYLES)
@settings(max_examples=10)
@given(cuts=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_decode_stream_equals_the_whole_clip_bit_for_bit(style, cuts):
    vae = _made(STYLES[style])
    latent = torch.randn(1, 4, sum(cuts), 2, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert _identical(vae.decode_stream(latent.split(cuts, dim=2)), vae.decode(latent), dim=1)


@pytest.mark.parametrize("size", [(8, 8), (5, 7)])
@torch.no_grad()
def test_decode_stream_is_exact_at_the_sizes_of_mini(size):
    from kinema.model import PRESETS

    vae = _made(PRESETS["mini"].vae)
    latent = torch.randn(1, vae.config.z_dim, 5, *size, generator=torch.Generator().manual_seed(1))
    whole = vae.decode(latent)
    for cuts in ((1, 1, 1, 1, 1), (2, 3), (4, 1), (1, 4)):
        assert _identical(vae.decode_stream(latent.split(cuts, dim=2)), whole, dim=1), cuts


@pytest.mark.parametrize("style", STYLES)
@settings(max_examples=8)
@given(cuts=st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_encode_stream_equals_the_whole_clip_bit_for_bit(style, cuts):
    vae = _made(STYLES[style])
    cuts = [*cuts, -(sum(cuts) - 1) % 4 or 4]
    clip = torch.rand(1, sum(cuts), 16, 32, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        assert _identical(vae.encode_stream(clip.split(cuts, dim=1)), vae.encode(clip), dim=2)


@torch.no_grad()
def test_a_stream_of_frames_that_ends_amid_a_latent_is_refused():
    with pytest.raises(SpecError, match="2 frames"):
        list(_made(MINI).encode_stream([torch.zeros(1, 7, 16, 16, 3)]))


@torch.no_grad()
def test_no_frame_depends_on_a_later_latent():
    vae, latent = _made(MINI), torch.randn(1, 4, 4, 2, 2)
    changed = torch.cat([latent[:, :, :2], torch.randn(1, 4, 2, 2, 2)], dim=2)
    frames, others = vae.decode(latent), vae.decode(changed)
    torch.testing.assert_close(frames[:, :5], others[:, :5], rtol=0, atol=1e-6)
    assert (frames[:, 5:] - others[:, 5:]).abs().max() > 1e-3


def test_a_training_step_reaches_every_weight_under_autocast():
    vae = VideoVAE(MINI)
    clip = torch.rand(2, 9, 16, 16, 3) * 2 - 1
    with torch.autocast("cpu", torch.bfloat16):
        output = vae(clip, torch.Generator().manual_seed(0))
    assert output.reconstruction.shape == clip.shape
    assert output.mean.shape == output.logvar.shape == (2, 4, 3, 2, 2)
    (output.reconstruction.float() - clip).square().mean().add(output.mean.float().square().mean()).backward()
    for name, weight in vae.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


def test_a_lone_frame_trains_as_it_is_used():
    vae, frames = _made(MINI), torch.rand(2, 1, 16, 16, 3) * 2 - 1
    with torch.no_grad():
        used = vae._decode_raw(vae.encode_moments(frames)[0])
    trained = vae._decode_raw(vae.encode_moments(frames)[0])
    assert trained.requires_grad
    assert torch.allclose(trained, used, atol=1e-5)


def test_the_draw_of_the_posterior_follows_its_generator():
    vae, clip = _made(MINI), torch.rand(1, 5, 16, 16, 3)
    with torch.no_grad():
        one, same, other = (vae(clip, torch.Generator().manual_seed(s)).reconstruction for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@torch.no_grad()
def test_bfloat16_weights_stay_near_float32():
    clip = torch.rand(1, 5, 16, 16, 3) * 2 - 1
    exact, rounded = _made(MINI), _made(MINI).bfloat16()
    latent = exact.encode(clip)
    assert (rounded.encode(clip).float() - latent).norm() < 0.05 * latent.norm()
    assert (rounded.decode(latent).float() - exact.decode(latent)).norm() < 0.05 * exact.decode(latent).norm()


def test_the_fused_norm_has_the_gradient_of_its_definition():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    gamma = torch.rand(5, dtype=torch.float64, requires_grad=True)

    past = torch.randn(2, 5, 2, 2, 2, dtype=torch.float64)

    def fused(x, gamma):
        return _RMSNormSiLU.apply(x, gamma, past)[0]

    assert torch.autograd.gradcheck(fused, (x, gamma))
    normed = x / x.square().mean(dim=1, keepdim=True).sqrt() * gamma.view(-1, 1, 1, 1)
    expected = torch.cat([past, torch.nn.functional.silu(normed)], dim=2)
    torch.testing.assert_close(fused(x, gamma), expected)


def test_unpatchify_undoes_patchify():
    clip = torch.randn(2, 3, 4, 6, 3)
    assert torch.equal(unpatchify(patchify(clip, 2), 2), clip)
    assert torch.equal(unpatchify(patchify(clip, 1), 1), clip)


@pytest.mark.parametrize("shape", [(4, 16, 16), (5, 12, 16), (5, 16, 20)])
def test_clips_that_do_not_fit_the_stride_are_refused(shape):
    with pytest.raises(SpecError, match="does not fit"):
        _made(MINI).encode(torch.zeros(1, *shape, 3))


@pytest.mark.parametrize("change", [{"temporal_downsample": (True,)}, {"latents_mean": (0.0,)}])
def test_contradictory_sizes_are_refused(change):
    with pytest.raises(SpecError, match=next(iter(change))):
        dataclasses.replace(MINI, **change)
