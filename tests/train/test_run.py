"""The whole recipe in miniature: every stage, a model folder that generates, and a run that goes on from it."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kinema import config as config_io
from kinema.checkpoint.lock import only_run
from kinema.errors import DataError, SpecError
from kinema.generate.pipeline import Pipeline
from kinema.spec import VideoSpec
from kinema.train.caption import caption_of
from kinema.train.config import CorpusConfig, GroundingConfig, Recipe
from kinema.train.corpus import Corpus, render_corpus
from kinema.train.latents import Latents
from kinema.train.recipes import RECIPES
from kinema.train.run import Run
from kinema.train.stages import STAGES
from kinema.world.scene import mirror, sample_scene


def score(pipeline, prompts, path):
    return {"prompts": float(len(prompts))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    Run(RECIPES["tiny"], path, score).run()
    return path


def test_the_recipe_ends_in_a_model_that_generates(folder):
    pipeline = Pipeline.load(str(folder / "model"), "cpu", "float32")
    video = pipeline(VideoSpec(prompt="a red ball rolls", frames=5, width=32, height=32, steps=2))
    assert video.frames.shape == (5, 32, 32, 3)


def test_the_run_keeps_its_recipe(folder):
    assert config_io.load_json(Recipe, folder / "config.json") == RECIPES["tiny"]


def test_a_finished_run_changes_nothing_when_it_is_run_again(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}
    assert before
    Run(RECIPES["tiny"], folder, score).run()
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}


def test_latents_are_normalised_and_those_of_mirrored_clips_are_others(folder):
    corpus = Corpus(folder / "corpus")
    latents = Latents(folder / "latents.npy", corpus)
    data = latents.training(torch.arange(latents.num_training))
    assert abs(data.mean().item()) < 0.3
    assert 0.7 < data.std().item() < 1.4
    clips = corpus.config.clips
    assert not torch.equal(data[:clips], data[clips:])
    assert latents.num_validation == corpus.config.validation_clips
    apart, scenes = latents.validation([1])
    assert scenes == [corpus.scenes[clips + 1]]
    assert not (data.flatten(1) == apart.flatten(1)).all(dim=1).any()


def test_latents_held_on_a_device_are_those_read_from_the_disk(folder):
    corpus = Corpus(folder / "corpus")
    read = Latents(folder / "latents.npy", corpus)
    held = Latents(folder / "latents.npy", corpus)
    held._held = torch.from_numpy(np.array(held._stored))
    indices = torch.tensor([3, 19, 0])
    assert torch.equal(read.training(indices), held.training(indices))


def test_mirroring_swaps_left_and_right():
    scene = next(scene for scene in map(sample_scene, range(200)) if scene.direction == "left")
    assert mirror(scene).direction == "right"
    assert mirror(scene).main.x == -scene.main.x
    assert mirror(mirror(scene)) == scene


def test_a_run_goes_on_from_another_model(folder, tmp_path):
    recipe = RECIPES["tiny"]
    short = dataclasses.replace(
        recipe,
        vae=dataclasses.replace(recipe.vae, clips=8),
        flow=dataclasses.replace(recipe.flow, clips=8),
    )
    run = Run(short, tmp_path, score, init=str(folder / "model"))
    run.run()
    old = Pipeline.load(str(folder / "model"), "cpu", "float32").model
    new = Pipeline.load(str(tmp_path / "model"), "cpu", "float32").model
    for name, weight in old.dit.named_parameters():
        assert torch.allclose(weight, new.dit.get_parameter(name), atol=0.05), name
    assert old.tokenizer.encode(["a red ball"])[0].equal(new.tokenizer.encode(["a red ball"])[0])


def test_an_autoencoder_can_be_kept_as_it_is(folder, tmp_path):
    recipe = dataclasses.replace(RECIPES["tiny"], vae=dataclasses.replace(RECIPES["tiny"].vae, clips=0))
    with pytest.raises(SpecError, match="none of this size; give --init MODEL"):
        Run(recipe, tmp_path / "random", score).run()
    assert not (tmp_path / "random").exists()
    Run(recipe, tmp_path / "kept", score, init=str(folder / "model")).run(["corpus", "vae"])
    kept = load_file(tmp_path / "kept" / "vae.safetensors")
    old = Pipeline.load(str(folder / "model"), "cpu", "float32").model.vae.state_dict()
    assert all(torch.equal(kept[name], old[name]) for name in old)


def test_clips_that_do_not_divide_into_latents_are_refused_before_any_is_drawn(tmp_path):
    recipe, frames = RECIPES["tiny"], RECIPES["tiny"].corpus.frames
    recipe = dataclasses.replace(recipe, corpus=dataclasses.replace(recipe.corpus, frames=frames + 1))
    with pytest.raises(SpecError, match=rf"frames={frames + 1} does not fit.* use {frames} or"):
        Run(recipe, tmp_path / "run", score).run()
    assert not (tmp_path / "run").exists()


def test_a_finished_stage_keeps_its_settings_and_says_so(folder, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    kept = (run / "config.json").read_text()
    tiny = RECIPES["tiny"]
    other = dataclasses.replace(tiny, flow=dataclasses.replace(tiny.flow, drop_text=0.2))
    with pytest.raises(DataError, match=r"finished the stage flow with flow\.drop_text=0\.1, not 0\.2; choose"):
        Run(other, run, score).run()
    assert (run / "config.json").read_text() == kept
    (run / "config.json").write_text("[")
    Run(other, run, score).run(["corpus"])
    (run / "config.json").write_text(kept)
    (run / "flow.safetensors").unlink()
    Run(other, run, score).run(["corpus"])
    assert config_io.load_json(Recipe, run / "config.json") == other


def test_a_text_encoder_can_stay_while_the_transformer_learns(folder, tmp_path):
    recipe = RECIPES["tiny"]
    flow = dataclasses.replace(recipe.flow, clips=16, train_text=False)
    staying = dataclasses.replace(recipe, vae=dataclasses.replace(recipe.vae, clips=0), flow=flow)
    Run(staying, tmp_path, score, init=str(folder / "model")).run(["corpus", "tokenizer", "vae", "latents", "flow"])
    new = load_file(tmp_path / "flow.safetensors")
    old = Pipeline.load(str(folder / "model"), "cpu", "float32").model
    assert all(torch.equal(new[f"text.{name}"], weight) for name, weight in old.text.named_parameters())
    assert not any(torch.equal(new[f"dit.{name}"], weight) for name, weight in old.dit.named_parameters())


PICTURES = CorpusConfig(clips=8, validation_clips=0, frames=1, height=32, width=32, first_seed=500, least_objects=2)


def test_steps_of_single_frames_learn_from_pictures_of_their_own(folder, tmp_path):
    tiny = RECIPES["tiny"]
    flow = dataclasses.replace(tiny.flow, clips=24, pictures=4, grounding=GroundingConfig(block=0))
    recipe = dataclasses.replace(tiny, vae=dataclasses.replace(tiny.vae, clips=0), flow=flow, pictures=PICTURES)
    run = Run(recipe, tmp_path, score, init=str(folder / "model"))
    run.run(STAGES[: STAGES.index("flow")])
    pictures = Corpus(tmp_path / "pictures")
    assert len(pictures.scenes) == 8
    assert all(len(scene.objects) >= 2 for scene in pictures.scenes)
    assert len({scene.seed for scene in pictures.scenes}) == 8
    assert np.load(tmp_path / "pictures_coverage.npy").shape[:3] == (8, 4, 1)
    latents = np.load(tmp_path / "pictures_latents.npy")
    assert len(latents) == 16
    np.save(tmp_path / "pictures_latents.npy", np.full_like(latents, np.nan))
    with pytest.raises(DataError, match="gradient is nan after 8 clips"):
        run.run(["flow"])
    np.save(tmp_path / "pictures_latents.npy", latents)
    assert (Run(recipe, tmp_path, score, init=str(folder / "model")).run() / "model_index.json").exists()


@pytest.mark.parametrize(
    ("pictures", "steps", "message"),
    [
        (dataclasses.replace(PICTURES, frames=5), 4, "pictures.frames=5; a picture is one frame"),
        (dataclasses.replace(PICTURES, width=48), 4, "pictures of 48x32 do not go with clips of 32x32"),
        (PICTURES, 0, "flow.pictures=0 leaves no step"),
    ],
)
def test_pictures_that_do_not_go_with_the_clips_are_refused(pictures, steps, message):
    tiny = RECIPES["tiny"]
    with pytest.raises(SpecError, match=message):
        dataclasses.replace(tiny, pictures=pictures, flow=dataclasses.replace(tiny.flow, pictures=steps))
    with pytest.raises(SpecError, match="least_objects=5 leaves no scenes; they have 1 to 4"):
        dataclasses.replace(PICTURES, least_objects=5)


def test_a_corpus_may_have_cameras_that_move_and_captions_that_say_so(tmp_path):
    config = CorpusConfig(clips=20, validation_clips=0, frames=5, height=16, width=16, moving=0.8)
    render_corpus(config, tmp_path)
    corpus = Corpus(tmp_path)
    moves = [scene.camera.move for scene in corpus.scenes]
    assert 0 < moves.count("fixed") <= 4
    for scene, stated in zip(corpus.scenes, corpus.stated, strict=True):
        assert all(caption_of(scene, seed, stated=stated).facts.camera == scene.camera.move for seed in range(3))


@pytest.mark.parametrize(
    ("changes", "why"), [({"moving": 0.0}, "no share of clips"), ({"moving": 0.5, "changing": 0.5}, "leave one out")]
)
def test_what_cameras_cannot_do_is_refused(changes, why):
    with pytest.raises(SpecError, match=why):
        CorpusConfig(clips=8, **changes)


def test_a_stage_without_the_ones_before_it_says_which_is_missing(tmp_path):
    with pytest.raises(DataError, match=r"run the (corpus stage|stage)"):
        Run(RECIPES["tiny"], tmp_path, score).run(["export"])
    assert STAGES[-1] == "export"


def test_a_second_run_in_the_same_folder_is_refused_and_a_finished_one_is_not(folder):
    with only_run(folder), pytest.raises(DataError, match="another run is working on"):
        Run(RECIPES["tiny"], folder, score).run(["export"])
    Run(RECIPES["tiny"], folder, score).run(["export"])
