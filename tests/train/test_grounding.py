"""Grounding: what cells show is true, mirrored with the clip, and a head that knows it costs nothing."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file

from kinema.model.dit import DiT
from kinema.model.presets import PRESETS
from kinema.shapes import Stride
from kinema.train import grounding
from kinema.train.config import CorpusConfig, GroundingConfig
from kinema.train.corpus import Corpus, render_corpus
from kinema.train.feed import scene_at
from kinema.train.grounding import (
    CAMERAS,
    NUM_ATTRIBUTES,
    OF_OBJECTS,
    Truth,
    attributes_of,
    emphasis,
    grounding_loss,
    listening,
    measure_truth,
)
from kinema.train.recipes import RECIPES
from kinema.train.run import Run
from kinema.world.scene import COLOURS, SHAPES

FORM = CorpusConfig(clips=6, validation_clips=2, frames=9, height=32, width=32)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    render_corpus(FORM, folder)
    return Corpus(folder)


@pytest.fixture(scope="module")
def truth(corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("truth") / "coverage.npy"
    measure_truth(corpus, Stride(4, 8, 8), path)
    return Truth(path, corpus, CPU)


def test_every_object_is_somewhere_with_its_shape_and_colour(corpus, truth):
    shares = truth.training(torch.arange(6))
    assert shares.shape == (6, NUM_ATTRIBUTES, 3, 4, 4)
    for scene, seen in zip(corpus.scenes, shares, strict=False):
        there = seen.sum(dim=(1, 2, 3))
        for index, shape in enumerate(SHAPES):
            assert (there[index] > 0) == any(thing.shape == shape for thing in scene.objects)
        for index, colour in enumerate(COLOURS, len(SHAPES)):
            assert (there[index] > 0) == any(thing.colour == colour for thing in scene.objects)
        assert seen[: len(SHAPES)].sum(dim=0).max() <= 1.01


def test_only_the_first_object_acts(corpus):
    for scene in corpus.scenes:
        actions = attributes_of(scene)[:, -10:]
        assert actions[0].sum() == 1
        assert actions[1:].sum() == 0


def test_mirrored_clips_show_the_same_on_the_other_side(corpus, truth):
    plain = truth.training(torch.tensor([2]))
    mirrored = truth.training(torch.tensor([FORM.clips + 2]))
    assert torch.equal(plain[:, :OF_OBJECTS].flip(-1), mirrored[:, :OF_OBJECTS])


def test_every_cell_shows_what_the_camera_does_and_the_other_way_round_in_mirrored_clips(corpus, truth):
    indices = torch.arange(2 * FORM.clips)
    for index, seen in zip(indices.tolist(), truth.training(indices)[:, OF_OBJECTS:], strict=True):
        scene = scene_at(corpus.scenes[: FORM.clips], index)
        wanted = torch.zeros(len(CAMERAS))
        wanted[CAMERAS.index((scene.camera.move, scene.camera.direction))] = 1.0
        assert torch.equal(seen, wanted[:, None, None, None].expand_as(seen))
    assert {("pan", "left"), ("orbit", "right"), ("dolly", "in"), ("tilt", "down"), ("fixed", None)} < set(CAMERAS)


def test_knowing_is_cheaper_than_guessing(corpus, truth):
    wanted = truth.training(torch.arange(4))
    known = torch.logit(wanted.flatten(3).permute(0, 2, 3, 1), eps=1e-4)
    certain = grounding_loss(known, wanted)
    assert grounding_loss(torch.full_like(known, -3.0), wanted) > 2 * certain
    assert grounding_loss(known.roll(1, dims=0), wanted) > 2 * certain


def test_listening_keeps_the_tokens_of_one_block_and_leaves_no_trace():
    config = PRESETS["tiny"].dit
    dit = DiT(config)
    latent, time = torch.randn(2, 4, 3, 4, 4), torch.rand(2, 3)
    text = torch.randn(2, 5, config.text_dim)
    with listening(dit, 1) as heard:
        dit(latent, time, text)
    assert heard.tokens.shape == (2, 3, 4, config.width)
    before = heard.tokens
    dit(latent, time, text)
    assert heard.tokens is before


def test_a_run_with_grounding_ships_no_head(tmp_path):
    tiny = RECIPES["tiny"]
    flow = dataclasses.replace(tiny.flow, clips=16, grounding=GroundingConfig(block=0))
    vae = dataclasses.replace(tiny.vae, clips=8)
    recipe = dataclasses.replace(tiny, vae=vae, flow=flow)
    Run(recipe, tmp_path, lambda *_: {}).run()
    assert not any("grounding" in key for key in load_file(tmp_path / "flow.safetensors"))
    assert (tmp_path / "coverage.npy").exists()


def test_objects_count_more_while_they_are_told_from_noise(corpus, truth):
    config = GroundingConfig(block=0, object_weight=5.0, object_until=0.7)
    shares = truth.training(torch.arange(2))
    weight = emphasis(shares, torch.tensor([[0.5, 0.7, 0.9], [0.0, 0.71, 1.0]]), (4, 4), config)
    objects = shares[:, : len(SHAPES)].sum(dim=1)
    assert objects[0, 0].max() > 0.2
    torch.testing.assert_close(weight[0, :2], 1.0 + 4.0 * objects[0, :2])
    assert (weight[0, 2] == 1.0).all()
    assert (weight[1, 1:] == 1.0).all()
    assert (emphasis(shares, torch.zeros(2, 3), (4, 4), GroundingConfig(block=0)) == 1.0).all()
    finer = emphasis(shares, torch.zeros(2, 3), (8, 8), config)
    torch.testing.assert_close(finer[:, :, ::2, 1::2], 1.0 + 4.0 * objects)


def test_processes_find_what_one_finds(corpus, truth, tmp_path, monkeypatch):
    monkeypatch.setattr(grounding, "CHUNK", 3)
    measure_truth(corpus, Stride(4, 8, 8), tmp_path / "shared.npy", workers=2)
    shared = Truth(tmp_path / "shared.npy", corpus, CPU)
    assert torch.equal(shared.training(torch.arange(12)), truth.training(torch.arange(12)))


def test_frames_show_the_objects_of_the_latent_that_they_are_in(corpus, truth):
    whole = truth.objects([0, 3], 9, [0, 0])
    shares = truth.training(torch.tensor([0, 3]))[:, : len(SHAPES)].sum(dim=1)
    assert whole.max() > 0.2
    torch.testing.assert_close(whole[:, 0], shares[:, 0])
    torch.testing.assert_close(whole[:, 1:5], shares[:, 1:2].expand(-1, 4, -1, -1))
    torch.testing.assert_close(whole[:, 5:9], shares[:, 2:3].expand(-1, 4, -1, -1))
    torch.testing.assert_close(truth.objects([3, 0], 3, [4, 0]), torch.stack([whole[1, 4:7], whole[0, :3]]))
