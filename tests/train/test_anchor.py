"""Latents are held where they were, each channel as firmly as the decoder of before made something of it."""

import copy
import dataclasses

import pytest
import torch

from kinema.errors import SpecError
from kinema.model.presets import PRESETS
from kinema.model.vae import VideoVAE
from kinema.train.anchor import Anchor
from kinema.train.channels import measure_gains
from kinema.train.corpus import Corpus, render_corpus
from kinema.train.recipes import RECIPES
from kinema.train.run import Run
from kinema.train.trainer import train
from kinema.train.vae import VAETask

TINY = RECIPES["tiny"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    render_corpus(dataclasses.replace(TINY.corpus, clips=8, validation_clips=4), folder)
    return Corpus(folder)


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return VideoVAE(PRESETS["tiny"].vae)


def test_a_moved_channel_counts_by_what_the_decoder_made_of_it(corpus, vae):
    with torch.no_grad():
        vae.from_latent.weight[:, 1] = 0.0  # the decoder does not see channel 1
        anchor, frames = Anchor(vae, corpus), corpus.frames([5, 6])
        mean, _ = vae.encode_moments(frames)
        gains = measure_gains(vae, vae.encode(corpus.frames(range(8))))
    assert anchor.distance(frames, mean).item() == 0.0
    for channel, gain in enumerate(gains.tolist()):
        moved = mean.clone()
        moved[:, channel] += 2.0  # raw latents of `tiny` are normalised ones
        assert anchor.distance(frames, moved).item() == pytest.approx(4.0 * gain, abs=1e-4)
    assert gains[1] == 0.0


def test_an_anchored_autoencoder_learns_and_stays_nearer_to_what_it_was(corpus, vae, tmp_path):
    change, psnr = [], []
    for weight in (0.0, 10.0):
        stage = dataclasses.replace(TINY.vae, clips=96, phases=(), anchor=weight)
        learning, before = copy.deepcopy(vae), Anchor(vae, corpus)
        task = VAETask(learning, corpus, stage, anchor=before if weight else None)
        averaged = copy.deepcopy(task.networks)
        psnr.append(task.validate(averaged)["psnr_db"])
        train(task, stage, tmp_path / str(weight), averaged)
        psnr.append(task.validate(averaged)["psnr_db"])
        frames = corpus.frames([8, 9])
        with torch.no_grad():
            change.append(before.distance(frames, averaged["vae"].encode_moments(frames)[0]).item())
    assert 0.0 < change[1] < 0.5 * change[0]
    assert psnr[3] > psnr[2] + 0.5


def test_without_a_model_to_go_on_from_there_is_nothing_to_hold_to(tmp_path):
    recipe = dataclasses.replace(TINY, vae=dataclasses.replace(TINY.vae, anchor=0.05))
    with pytest.raises(SpecError, match=r"vae\.anchor=0\.05 holds latents where they were.* give --init MODEL"):
        Run(recipe, tmp_path, lambda *_: {}).run(["corpus", "vae"])


def test_an_encoder_that_does_not_move_takes_no_anchor():
    with pytest.raises(SpecError, match=r"which vae\.decoder_only=true leaves as they are; leave out one"):
        dataclasses.replace(TINY.vae, decoder_only=True, anchor=0.05)
