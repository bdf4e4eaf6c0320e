"""Training of the autoencoder: it gets closer to its clips, and the encoder stays where it is told to."""

import copy
import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch

from kinema.errors import SpecError
from kinema.model.presets import PRESETS
from kinema.model.vae import VideoVAE
from kinema.train.config import Phase
from kinema.train.corpus import Corpus, render_corpus
from kinema.train.grounding import Truth, measure_truth
from kinema.train.recipes import RECIPES
from kinema.train.trainer import train
from kinema.train.vae import VAETask

TINY = RECIPES["tiny"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    render_corpus(dataclasses.replace(TINY.corpus, clips=8, validation_clips=4), folder)
    return Corpus(folder)


def trained(corpus, folder, **changes):
    torch.manual_seed(0)
    vae = VideoVAE(PRESETS["tiny"].vae)
    before = copy.deepcopy(vae)
    stage = dataclasses.replace(TINY.vae, clips=48, phases=(), **changes)
    task = VAETask(vae, corpus, stage)
    averaged = copy.deepcopy(task.networks)
    train(task, stage, folder, averaged)
    return before, averaged["vae"], task


def test_training_brings_clips_nearer(corpus, tmp_path):
    before, after, task = trained(corpus, tmp_path)
    first, last = (task.validate(torch.nn.ModuleDict({"vae": vae}))["psnr_db"] for vae in (before, after))
    assert last > first + 1.0
    assert not torch.equal(before.encoder.conv_in.weight, after.encoder.conv_in.weight)


def test_a_decoder_that_learns_alone_leaves_all_latents_as_they_are(corpus, tmp_path):
    before, after, _ = trained(corpus, tmp_path, decoder_only=True)
    frames = corpus.frames([0, 1])
    with torch.no_grad():
        assert torch.equal(before.encode(frames), after.encode(frames))
        assert not torch.equal(before.decode(before.encode(frames)), after.decode(after.encode(frames)))


def test_errors_where_objects_are_count_more(corpus, tmp_path):
    measure_truth(corpus, PRESETS["tiny"].vae.stride, tmp_path / "coverage.npy")
    truth = Truth(tmp_path / "coverage.npy", corpus, torch.device("cpu"))
    torch.manual_seed(0)
    vae = VideoVAE(PRESETS["tiny"].vae)
    alike, heavy = (dataclasses.replace(TINY.vae, phases=(), object_weight=weight) for weight in (1.0, 5.0))
    losses = []
    for stage, told in ((alike, None), (alike, truth), (heavy, truth)):
        loss, parts = VAETask(vae, corpus, stage, told).loss(0, torch.Generator().manual_seed(0))
        losses.append((loss - stage.kl_weight * parts["divergence"]).item())
    assert losses[0] == pytest.approx(losses[1])
    assert losses[1] * 1.05 < losses[2] < losses[1] * 5.0


def test_a_part_of_the_picture_is_weighed_as_it_was_cut_and_mirrored(corpus, tmp_path):
    """Pictures that show the share of objects itself say what the weight of each of their pixels must be."""
    measure_truth(corpus, PRESETS["tiny"].vae.stride, tmp_path / "coverage.npy")
    truth = Truth(tmp_path / "coverage.npy", corpus, torch.device("cpu"))
    seen = []

    class Shares:
        config = corpus.config

        def frames(self, indices, num_frames, first, device):
            shares = truth.objects(indices, num_frames, first)
            shares = torch.nn.functional.interpolate(shares, size=(32, 32))
            return shares[..., None].expand(-1, -1, -1, -1, 3).to(device)

    class Blank(torch.nn.Module):
        def forward(self, frames, generator):
            seen.append(frames)
            nothing = torch.zeros_like(frames)
            return SimpleNamespace(reconstruction=nothing, mean=nothing, logvar=nothing)

    phases = (Phase(until=1.0, frames=5, batch_size=8, crop=16),)
    stage = dataclasses.replace(TINY.vae, phases=phases, object_weight=3.0)
    loss, _ = VAETask(Blank(), Shares(), stage, truth).loss(0, torch.Generator().manual_seed(0))
    (shares,) = seen
    assert shares.shape == (8, 5, 16, 16, 3)
    assert loss.item() == pytest.approx(((1 + 2 * shares) * (shares + shares.square())).mean().item())


@pytest.mark.parametrize("name", ["kl_weight", "object_weight", "anchor"])
@pytest.mark.parametrize("weight", [-1, math.inf, math.nan])
def test_weights_that_weigh_no_error_are_refused(name, weight):
    with pytest.raises(SpecError, match=rf"vae\.{name}={weight} is no weight of an error"):
        dataclasses.replace(TINY.vae, **{name: weight})
