"""The autoencoder in tiles: as good as whole, and the same where tiles share enough."""

import pytest
import torch

from kinema.errors import SpecError
from kinema.model import Tiles, VAEConfig, VideoVAE, decode_clip, encode_clip, load_model

CONFIG = VAEConfig(base_dim=4, z_dim=3, dim_mult=(1, 2), num_res_blocks=1, temporal_downsample=(True,))
ENOUGH = Tiles(side=32, overlap=16)
"""What a pixel takes from reaches 7 cells far in these networks; twice that and the ramp make 16."""


@pytest.fixture
def vae() -> VideoVAE:
    torch.manual_seed(0)
    vae = VideoVAE(CONFIG).eval()
    with torch.no_grad():
        for weight in vae.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    return vae


@torch.inference_mode()
def test_tiles_that_share_enough_give_the_numbers_of_the_whole(vae: VideoVAE) -> None:
    latent = torch.randn(1, 3, 4, 40, 50)
    whole = vae.decode(latent)
    tiled = torch.cat(list(decode_clip(vae, latent, 2, ENOUGH)), dim=1)
    assert tiled.shape == whole.shape
    assert (tiled - whole).abs().max() < 1e-5
    assert whole.std() > 0.1
    less = torch.cat(list(decode_clip(vae, latent, 2, Tiles(side=32, overlap=4))), dim=1)
    assert (less - whole).abs().max() > 1e-5
    clip = torch.rand(1, 7, 80, 100, 3) * 2 - 1
    encoded = vae.encode(clip)
    assert (encode_clip(vae, clip, ENOUGH) - encoded).abs().max() < 1e-5
    assert torch.equal(encode_clip(vae, clip, Tiles(side=64)), encoded)  # one tile is no cut


@torch.inference_mode()
def test_the_shipped_decoder_shows_no_seams() -> None:
    vae = load_model("mini").vae
    y, x = torch.meshgrid(torch.linspace(-1, 1, 192), torch.linspace(-1, 1, 192), indexing="ij")
    shade = torch.stack([y, x, y * x], dim=-1).expand(1, 5, -1, -1, -1) * 0.8
    disc = ((y - 0.1) ** 2 + (x + 0.1) ** 2 < 0.2)[None, None, ..., None]
    clip = torch.where(disc, torch.tensor([0.8, -0.6, -0.6]), shade).contiguous()
    latent = vae.encode(clip)
    whole = vae.decode(latent)
    tiled = torch.cat(list(decode_clip(vae, latent, 2, Tiles(side=16))), dim=1)
    psnr = -10 * torch.log10(((tiled - whole) / 2).square().mean())
    print(f"PSNR of tiles of 16 cells against the whole: {psnr:.1f} dB")  # noqa: T201 - for the lab notebook
    assert psnr > 45


def test_tiles_together_count_once() -> None:
    for length in (16, 17, 33, 50):
        total = torch.zeros(length * 8)
        for span in ENOUGH.spans(length):
            total[span.start * 8 : span.stop * 8] += ENOUGH.weights(span, length, 8)
        assert torch.allclose(total, torch.ones_like(total))


@pytest.mark.parametrize("overlap", [1, 9])
def test_tiles_that_share_too_little_or_too_much_are_refused(overlap: int) -> None:
    with pytest.raises(SpecError, match=r"cannot share .*; it takes 2 to 8"):
        Tiles(side=16, overlap=overlap)
