"""Training of the autoencoder: it gets closer to its clips, and the encoder stays where it is told to."""

import copy
import dataclasses

import pytest
import torch

from kinema.model.presets import PRESETS
from kinema.model.vae import VideoVAE
from kinema.train.corpus import Corpus, render_corpus
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
