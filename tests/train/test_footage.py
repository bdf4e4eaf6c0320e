"""The loop closed, in miniature: footage is curated and encoded, a model goes on from it, and generates."""

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from kinema.data import Reader, Store
from kinema.errors import DataError, SpecError
from kinema.media import read_video, write_video
from kinema.model import load_model
from kinema.train.feed import Words
from kinema.train.footage import FootageRun
from kinema.train.latents import Latents
from kinema.train.recipes import RECIPES

EXAMPLE = Path(__file__).parents[2] / "examples" / "footage_to_model.py"
CLIPS = 6


def no_samples(pipeline, prompts, path):
    return {}


@pytest.fixture(scope="module")
def out(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("footage")
    for seed in range(CLIPS):
        noise = np.random.default_rng(seed).integers(0, 256, (10, 30, 3), dtype=np.uint8)
        wide = cv2.resize(noise, (240, 80), interpolation=cv2.INTER_CUBIC)
        write_video(folder / f"{seed}.mp4", np.stack([wide[:, 9 * k : 9 * k + 100] for k in range(12)]), 12)
        (folder / f"{seed}.txt").write_text(f"texture number {seed} moves to the left")
    spec = importlib.util.spec_from_file_location("footage_to_model", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    out = tmp_path_factory.mktemp("out")
    common = ["--init", str(tiny_model), "--recipe", "tiny", "--clips", "16", "--workers", "0"]
    assert example.run([str(folder), str(out), "--prompt", "texture number 3 moves", *common]) == 0
    return out


def test_footage_becomes_a_model_that_generates(out, tiny_model):
    assert read_video(out / "video.mp4").frames.shape[1:] == (32, 32, 3)
    before, after = load_model(tiny_model, dtype=torch.float32), load_model(out / "run" / "model", dtype=torch.float32)
    assert not torch.equal(before.dit.proj_out.weight, after.dit.proj_out.weight)
    for name, weight in before.vae.state_dict().items():
        assert torch.equal(weight.to(torch.bfloat16), after.vae.state_dict()[name].to(torch.bfloat16))


def test_what_is_trained_on_are_the_clips_of_the_data_set_with_their_captions(out, tiny_model):
    tiny = RECIPES["tiny"]
    heavy = dataclasses.replace(tiny, vae=dataclasses.replace(tiny.vae, object_weight=3.0))  # footage names no objects
    run = FootageRun(out / "clips", heavy, out / "run", no_samples, str(tiny_model))
    run.grounding()
    assert not (out / "run" / "coverage.npy").exists()
    latents = Latents(out / "run" / "latents.npy", run._corpus)
    assert latents.num_training // 2 + latents.num_validation == CLIPS
    stored = {}
    for batch in Reader(Store(out / "clips"), 1).batches(0):
        stored[batch.captions[0]] = torch.from_numpy(batch.latents[0]).float()
    assert len(stored) == CLIPS
    words = Words(latents, run._init.tokenizer, run.recipe.flow)
    batch = words[0]
    for index, ids in zip(batch.indices.tolist(), batch.ids, strict=True):
        caption = latents.scenes[index % (latents.num_training // 2)]
        assert torch.equal(latents.training(torch.tensor([index]))[0], stored[caption])
        assert torch.equal(ids, run._init.tokenizer.encode([caption])[0][0])


def test_a_run_of_other_clips_or_of_another_model_is_refused(out, tiny_model, tmp_path):
    with pytest.raises(SpecError, match="--init"):
        FootageRun(out / "clips", RECIPES["tiny"], tmp_path, no_samples)
    with pytest.raises(DataError, match="encoded by another model"):
        FootageRun(out / "clips", RECIPES["tiny"], tmp_path, no_samples, "mini")
    shutil.copytree(out / "run", tmp_path / "run")
    listed = json.loads((tmp_path / "run" / "footage.json").read_text())
    (tmp_path / "run" / "footage.json").write_text(json.dumps(listed[1:]))
    with pytest.raises(DataError, match="learns from other clips"):
        FootageRun(out / "clips", RECIPES["tiny"], tmp_path / "run", no_samples, str(tiny_model)).corpus()
    with pytest.raises(DataError, match="has 0 clips of 64x64x17@8, and 2 are needed; it has 32x32x5@8"):
        FootageRun(out / "clips", RECIPES["mini"], tmp_path / "other", no_samples, str(tiny_model)).corpus()
