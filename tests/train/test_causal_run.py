"""The causal recipe in miniature: a finished model becomes one that streams in two steps."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file

from kinema.errors import DataError, SpecError
from kinema.generate.pipeline import Pipeline
from kinema.model import CausalConfig, load_model
from kinema.spec import VideoSpec
from kinema.train.causal_run import CausalRun
from kinema.train.config import OptimConfig
from kinema.train.consistency import ConsistencyTask
from kinema.train.corpus import Corpus, render_corpus
from kinema.train.forcing import Forcing, ForcingTask
from kinema.train.latents import Latents
from kinema.train.recipes import CAUSAL_RECIPES, RECIPES

RECIPE = CAUSAL_RECIPES["tiny-causal"]


@pytest.fixture(scope="module")
def folder(tiny_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("causal")
    sheets = []
    CausalRun(RECIPE, path, lambda pipeline, prompts, sheet: sheets.append(sheet) or {"n": 1.0}, str(tiny_model)).run()
    assert [sheet.parent.name for sheet in sheets] == ["forcing", "consistency", "self_forcing", "long"]
    return path


@pytest.fixture
def forcing(folder, tiny_model):
    model = load_model(tiny_model)
    latents = Latents(folder / "latents.npy", Corpus(folder / "corpus"))
    config = dataclasses.replace(RECIPE.forcing, batch_size=4)
    return model, Forcing(model.text, model.tokenizer, latents, RECIPE.causal, config)


def test_the_recipe_ends_in_a_model_that_streams_without_guidance(folder):
    pipe = Pipeline.load(str(folder / "model"), "cpu", "float32")
    assert pipe.model.causal == RECIPE.causal
    resolved = pipe.resolve(VideoSpec(prompt="a red ball rolls"))
    assert (resolved.steps, resolved.guidance, resolved.solver) == (2, 1.0, "consistency")
    chunks = [len(chunk) for chunk in pipe.stream(VideoSpec(prompt="a red ball rolls", frames=33))]
    assert chunks == [1] + [4] * 8


def test_the_stages_move_the_transformer_and_nothing_else(folder, tiny_model):
    old, new = load_model(tiny_model), load_model(folder / "model")
    rounded = old.vae.bfloat16().float().state_dict()
    assert all(torch.equal(tensor, rounded[name]) for name, tensor in new.vae.state_dict().items())
    moved = [name for name, tensor in new.dit.state_dict().items() if (tensor - old.dit.get_parameter(name)).any()]
    assert len(moved) > 20


def test_a_recipe_may_end_with_a_model_that_takes_its_steps(folder, tiny_model, tmp_path):
    (tmp_path / "corpus").symlink_to(folder / "corpus")
    for name in ("latents.npy", "forcing.safetensors"):
        (tmp_path / name).symlink_to(folder / name)
    short = dataclasses.replace(RECIPE, consistency=None, self_forcing=None, long=None)
    CausalRun(short, tmp_path, lambda *_: {}, str(tiny_model)).run()
    model, start = load_model(tmp_path / "model"), load_model(tiny_model)
    assert model.causal == RECIPE.causal
    assert model.defaults == start.defaults
    learnt = load_file(folder / "forcing.safetensors")
    assert all(torch.equal(learnt[f"dit.{name}"].bfloat16().float(), w) for name, w in model.dit.named_parameters())


def test_a_stage_without_the_one_before_it_is_refused():
    with pytest.raises(SpecError, match="self_forcing goes on from consistency, which this recipe leaves out"):
        dataclasses.replace(RECIPE, consistency=None)
    with pytest.raises(SpecError, match="leave out long too"):
        dataclasses.replace(RECIPE, self_forcing=None)


def test_a_causal_model_goes_on_but_does_not_judge_whole_clips(folder, tmp_path):
    with pytest.raises(SpecError, match="is causal and cannot judge whole clips"):
        CausalRun(RECIPE, tmp_path, lambda *_: {}, str(folder / "model"))
    CausalRun(dataclasses.replace(RECIPE, self_forcing=None, long=None), tmp_path, lambda *_: {}, str(folder / "model"))


def test_forcing_equals_generation_block_by_block(forcing):
    model, force = forcing
    torch.manual_seed(0)
    data, text, _ = force.batch(0)
    noisy, times = torch.randn_like(data), torch.rand(data.shape[0], data.shape[2])
    with torch.no_grad():
        at_once = force.velocity(model.dit, data, noisy, times, text)
        cache = model.dit.new_cache(CausalConfig(block=1), data.shape[3:], batch=len(data), max_frames=data.shape[2])
        for frame in range(data.shape[2]):
            part = slice(frame, frame + 1)
            cache.open(1)
            velocity = model.dit(noisy[:, :, part], times[:, part], text, cache=cache)
            torch.testing.assert_close(velocity, at_once[:, :, part], rtol=0, atol=1e-4)
            model.dit(data[:, :, part], torch.zeros(len(data), 1), text, cache=cache)
            cache.close()


def test_what_is_behind_is_noised_to_the_time_that_it_is_shown_at(folder, tiny_model):
    model = load_model(tiny_model)
    latents = Latents(folder / "latents.npy", Corpus(folder / "corpus"))
    causal = dataclasses.replace(RECIPE.causal, context_noise=0.25)
    force = Forcing(model.text, model.tokenizer, latents, causal, dataclasses.replace(RECIPE.forcing, batch_size=4))
    data, seen = force.batch(0).data, []

    class Watched(torch.nn.Module):
        def forward(self, latent, time, text, *, frames, sights):
            seen.append((latent[:4, :, : data.shape[2]], time[:4, : data.shape[2]]))
            return latent

    ForcingTask(Watched(), force, RECIPE.forcing, lambda *_: {}).loss(0, torch.Generator().manual_seed(0))
    ConsistencyTask(Watched(), Watched(), force, RECIPE.consistency, lambda *_: {}).loss(
        0, torch.Generator().manual_seed(1)
    )
    assert len(seen) == 4  # forcing; then the teacher, and the student at both ends of its step
    for behind, times in seen:
        assert (times == 0.25).all()
        noise = (behind - 0.75 * data) / 0.25
        assert abs(noise.mean().item()) < 0.1
        assert noise.std().item() == pytest.approx(1.0, abs=0.1)
    assert all(torch.equal(behind, seen[1][0]) for behind, _ in seen[2:])


def test_forcing_learns(forcing):
    model, force = forcing
    config = dataclasses.replace(RECIPE.forcing, batch_size=4, optim=OptimConfig(learning_rate=1e-3))
    task = ForcingTask(model.dit, force, config, lambda *_: {})
    optimizer = torch.optim.AdamW(model.dit.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss, _ = task.loss(0, torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert {"validation_loss", "validation_loss_at_0.5"} <= set(task.validate(task.networks))


def test_a_student_that_follows_the_teachers_path_has_nothing_to_learn(forcing):
    """With a straight path to one point the data that are predicted never change, at any guidance."""
    model, force = forcing

    class Straight(torch.nn.Module):
        def forward(self, latent, time, text, *, frames, sights):
            return latent / time.clamp_min(1e-6)[:, None, :, None, None]  # all paths lead to zero

    task = ConsistencyTask(Straight(), Straight(), force, RECIPE.consistency, lambda *_: {})
    loss, _ = task.loss(0, torch.Generator().manual_seed(0))
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    task = ConsistencyTask(model.dit, Straight(), force, RECIPE.consistency, lambda *_: {})
    assert task.loss(0, torch.Generator().manual_seed(0))[0].item() > 1e-3


def test_of_clips_that_change_only_what_their_caption_says_is_learnt(folder, tiny_model, tmp_path):
    changing = dataclasses.replace(RECIPE.corpus, frames=13, changing=1.0)
    short = dataclasses.replace(RECIPE, corpus=changing, consistency=None, self_forcing=None, long=None)
    run = CausalRun(short, tmp_path, lambda *_: {}, str(tiny_model))
    run.run(["corpus", "latents"])
    corpus = Corpus(tmp_path / "corpus")
    latents = Latents(tmp_path / "latents.npy", corpus)
    assert set(corpus.since[: changing.clips]) == {1, 5}
    assert not corpus.since[changing.clips :].any()
    assert [what is None for what in corpus.stated] == [since == 0 for since in corpus.since]
    assert latents.since.tolist() == [{0: 0, 1: 1, 5: 2}[since] for since in corpus.since]
    model = load_model(tiny_model)
    config = dataclasses.replace(RECIPE.forcing, batch_size=8, drop_text=1.0)
    force = Forcing(model.text, model.tokenizer, latents, RECIPE.causal, config, drop=1.0)
    _, text, given = force.batch(0)
    assert not torch.equal(text[:1], force.empty[:, : text.shape[1]])  # captions of such clips are never left out
    assert given.sum(1).tolist() == latents.since[run_indices(force, 0) % changing.clips].tolist()
    task = ForcingTask(model.dit, force, config, lambda *_: {})
    with torch.no_grad():
        whole = task.loss(0, torch.Generator().manual_seed(0))[0]
        force._latents.since.zero_()
        assert task.loss(0, torch.Generator().manual_seed(0))[0] != whole
    run.run(["forcing", "export"])
    assert load_model(tmp_path / "model").causal == RECIPE.causal


def run_indices(force, clips_seen):
    return force._feed.at(clips_seen).indices


def test_rendering_goes_on_with_the_moments_at_which_clips_change(tmp_path):
    config = dataclasses.replace(RECIPE.corpus, frames=13, changing=0.5)
    render_corpus(config, tmp_path)
    before = Corpus(tmp_path)
    for lost in (("frames_00000.npy", "changes_00000.jsonl"), ("changes_00000.jsonl",), ("scenes_00000.jsonl",)):
        for name in lost:
            (tmp_path / name).unlink()
        with pytest.raises(DataError, match=f"lacks {lost[0]} and {len(lost) - 1} more; run the corpus stage again"):
            Corpus(tmp_path)
        render_corpus(config, tmp_path)
        assert (Corpus(tmp_path).since == before.since).all()
        assert Corpus(tmp_path).stated == before.stated
        assert Corpus(tmp_path).scenes == before.scenes
    assert 0 < (before.since > 0).sum() < config.clips


@pytest.mark.parametrize(
    ("changes", "message"), [({"changing": 1.5}, "no share"), ({"changing": 0.5, "frames": 5}, "6")]
)
def test_clips_that_cannot_change_are_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        dataclasses.replace(RECIPE.corpus, **changes)


def test_a_model_that_sees_whole_clips_takes_none_that_change():
    tiny = RECIPES["tiny"]
    with pytest.raises(SpecError, match="sees its whole clip at once"):
        dataclasses.replace(tiny, corpus=dataclasses.replace(tiny.corpus, frames=9, changing=0.5))
