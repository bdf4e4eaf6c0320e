"""Frames that are given: exact ones cost nothing, seams and velocities are told, and the report carries the numbers."""

import dataclasses

import numpy as np
import pytest
import torch

from kinema.evaluate.given import PREFIX, go_on, measure_given, seam_jump, velocity_error
from kinema.evaluate.suite import true_clips
from kinema.generate.pipeline import Pipeline
from kinema.generate.stream import to_pixels
from kinema.world.dataset import captions, iter_clips
from kinema.world.parse import parse
from kinema.world.scene import sample_scene

FPS = 8.0


@pytest.fixture(scope="module")
def pipeline(tiny_model):
    return Pipeline.load(str(tiny_model), "cpu", "float32")


def test_given_latents_come_back_as_the_autoencoder_has_them(pipeline):
    torch.manual_seed(0)
    latent = torch.randn(1, 4, 2, 4, 4)
    frames = go_on(pipeline, "a red ball rolls", latent, [0], 0)
    with torch.inference_mode():
        alone = to_pixels(pipeline.model.vae.decode(latent)[0])
    assert np.abs(frames[0].astype(int) - alone[0]).max() <= 1
    assert np.abs(frames[1:].astype(int) - alone[1:]).max() > 5
    both = go_on(pipeline, "a red ball rolls", latent, [0, 1], 0)
    assert np.abs(both.astype(int) - alone).max() <= 1


def test_a_model_is_measured_with_as_many_clips_as_asked_for(pipeline):
    tokenizer = pipeline.model.tokenizer
    fits = [tokenizer.count(captions(sample_scene(seed))[0].text) <= 64 for seed in range(400)]
    first = next(seed for seed in range(400) if all(fits[seed : seed + 3]))  # its tokens are bytes, and few
    given = measure_given(pipeline, true_clips(pipeline, range(first, first + 3)))
    assert given.first_frame_loss_db.count == given.last_frame_loss_db.count == given.seam_jump.count == 3
    assert given.first_frame_loss_db.mean == pytest.approx(0.0, abs=0.1)
    assert given.last_frame_loss_db.mean < 3.0


def test_a_jump_shows_at_its_seam_only():
    ramp = np.broadcast_to(np.arange(0, 34, 2, dtype=np.uint8)[:, None, None, None], (17, 32, 32, 3))
    assert seam_jump(ramp, 5) == pytest.approx(1.0)
    jump = ramp.copy()
    jump[5:] += 40
    assert seam_jump(jump, 5) > 10
    assert seam_jump(jump, 9) < 1


def test_the_velocity_of_a_clip_is_its_own_and_that_of_a_still_one_is_not():
    clips = list(iter_clips(range(9_000_000, 9_000_012), num_frames=17, fps=FPS, height=64, width=64))
    clip = next(clip for clip in clips if clip.scene.action in ("slide", "roll") and len(clip.scene.objects) == 1)
    truth = parse(clip.frames, FPS)
    assert velocity_error(truth, truth, FPS) == 0.0
    still = parse(np.repeat(clip.frames[:1], 17, axis=0), FPS)
    backwards = parse(clip.frames[::-1].copy(), FPS)
    error = velocity_error(truth, still, FPS)
    assert error is not None
    assert 0.1 < error < velocity_error(truth, backwards, FPS)
    assert velocity_error(truth, dataclasses.replace(truth, objects=()), FPS) == pytest.approx(error, rel=0.2)
    assert velocity_error(dataclasses.replace(truth, objects=()), truth, FPS) is None


def test_a_beginning_is_shorter_than_a_clip():
    assert 1 < PREFIX < 5
