"""Learning from a judge: what the loss asks for, and that runs which stop go on as if they had not."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kinema.errors import SpecError
from kinema.train.config import OptimConfig, RewardStage
from kinema.train.recipes import RECIPES
from kinema.train.reward import advantages, negative_aware_loss
from kinema.train.run import Run
from kinema.train.stages import STAGES

SIZE = (6, 3, 2, 4, 4)


def drawn(*sizes):
    return [torch.randn(size, generator=torch.Generator().manual_seed(seed)) for seed, size in enumerate(sizes)]


def gradient(velocity, *arguments, **options):
    velocity = velocity.clone().requires_grad_(True)
    negative_aware_loss(velocity, *arguments, **options).backward()
    return velocity.grad


def test_without_advantage_the_old_velocity_is_the_best():
    old, data, noise, other = drawn(SIZE, SIZE, SIZE, SIZE)
    none = torch.zeros(6)
    assert gradient(old, old, data, noise, none).abs().max() < 1e-7
    assert negative_aware_loss(other, old, data, noise, none) > negative_aware_loss(old, old, data, noise, none)


def test_a_video_with_all_the_advantage_is_learnt_as_by_flow_matching():
    old, data, noise, velocity = drawn(SIZE, SIZE, SIZE, SIZE)
    squares = (velocity - (noise - data)).square().mean()
    assert torch.allclose(negative_aware_loss(velocity, old, data, noise, torch.ones(6)), squares)
    mirrored = (2 * old - velocity - (noise - data)).square().mean()
    assert torch.allclose(negative_aware_loss(velocity, old, data, noise, -torch.ones(6)), mirrored)


def test_the_best_velocity_lies_towards_good_videos_and_away_from_bad_ones():
    old, data, noise = drawn(SIZE, SIZE, SIZE)
    advantage = torch.tensor([1.0, 0.5, 0.0, -0.5, -1.0, 0.25])
    for strength in (1.0, 0.1):
        best = old + (advantage / strength).view(-1, 1, 1, 1, 1) * (noise - data - old)
        assert gradient(best, old, data, noise, advantage, strength).abs().max() < 1e-6


def test_channels_count_as_much_as_they_are_told_to():
    old, data, noise, velocity = drawn(SIZE, SIZE, SIZE, SIZE)
    alone = gradient(velocity, old, data, noise, torch.ones(6), channels=torch.tensor([0.0, 3.0, 0.0]))
    assert (alone[:, [0, 2]] == 0).all()
    assert (alone[:, 1] != 0).all()


def test_advantages_are_those_within_a_prompt():
    rewards = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.9, 0.9, 0.9, 0.9])
    found = advantages(rewards, 4)
    assert found[0] == found[3] == 1
    assert found[1] == found[2] == -1
    assert (found[4:] == 0).all()
    assert (advantages(torch.full((8,), 0.4), 4) == 0).all()
    mild = advantages(torch.tensor([0.5, 0.6, 0.0, 1.0]), 2)
    assert torch.allclose(mild, torch.tensor([-0.1414, 0.1414, -1.0, 1.0]), atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": 1}, "reward.group=1 leaves a video nothing"),
        ({"batch_size": 6}, "reward.batch_size=6 is no multiple of reward.group=4; give 8"),
        ({"pictures": 1}, "reward.pictures=1 is no multiple of reward.group=4; give 4"),
        ({"passes": 0}, "reward.passes=0 does nothing"),
        ({"follow": 0.0}, "reward.follow=0.0 is no share"),
        ({"strength": -1.0}, "reward.strength=-1.0 learns nothing"),
    ],
)
def test_settings_that_teach_nothing_are_refused(change, message):
    with pytest.raises(SpecError, match=message):
        dataclasses.replace(STAGE, **change)


STAGE = RewardStage(
    clips=48, batch_size=4, pictures=4, group=4, passes=2, steps=2, precision="float32", validate_every=1000,
    sample_every=1000, checkpoint_every=8, optim=OptimConfig(learning_rate=1e-2, warmup_clips=1, ema_decay=0.5),
)  # fmt: skip
TINY = RECIPES["tiny"]
RECIPE = dataclasses.replace(
    TINY,
    vae=dataclasses.replace(TINY.vae, clips=0),
    flow=dataclasses.replace(TINY.flow, clips=0),
    reward=STAGE,
)


def redness(video, caption):
    """A judge who likes red, and nothing else."""
    return float(np.clip(video[..., 0].mean() / 255 - video[..., 1:].mean() / 255 + 0.5, 0, 1))


def score(pipeline, prompts, path):
    return {}


@pytest.fixture(scope="module")
def folder(tiny_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("reward")
    Run(RECIPE, path, score, init=str(tiny_model), judge=redness).run()
    return path


def test_videos_get_more_of_what_the_judge_likes(tiny_model, tmp_path):
    def rewards(learning_rate):
        seen = []

        def judge(video, caption):
            seen.append(redness(video, caption))
            return seen[-1]

        optim = OptimConfig(learning_rate=learning_rate, muon_learning_rate=None, schedule="constant", warmup_clips=1)
        stage = dataclasses.replace(
            STAGE, clips=320, batch_size=8, pictures=0, group=8, passes=1, follow=1.0, checkpoint_every=320, optim=optim
        )
        recipe = dataclasses.replace(RECIPE, reward=stage)
        Run(recipe, tmp_path / f"{learning_rate}", score, init=str(tiny_model), judge=judge).run(STAGES[:-1])
        return np.array(seen).reshape(-1, 8)

    still, learning = rewards(1e-12), rewards(1e-3)  # the same prompts and the same noise
    assert np.allclose(still[0], learning[0])
    gain = (learning - still)[-10:].mean(axis=1)
    assert (gain > 0).all()
    assert gain.mean() > still.std(axis=1).mean()


def test_only_the_transformer_moves(tiny_model, folder):
    before, after = load_file(folder / "flow.safetensors"), load_file(folder / "reward.safetensors")
    assert {name for name in before if name.startswith("dit.")} == set(after)
    assert any(not torch.equal(before[name], after[name]) for name in after)
    shipped = load_file(folder / "model" / "transformer" / "diffusion_pytorch_model.safetensors")
    assert sum(tensor.numel() for tensor in shipped.values()) == sum(tensor.numel() for tensor in after.values())


def test_a_run_that_stops_between_two_passes_goes_on_as_if_it_had_not(tiny_model, folder, tmp_path):
    made = 0

    def stopping(video, caption):
        nonlocal made
        made += 1
        if made > 20:
            raise KeyboardInterrupt
        return redness(video, caption)

    with pytest.raises(KeyboardInterrupt):
        Run(RECIPE, tmp_path, score, init=str(tiny_model), judge=stopping).run()
    Run(RECIPE, tmp_path, score, init=str(tiny_model), judge=redness).run()
    once, twice = load_file(folder / "reward.safetensors"), load_file(tmp_path / "reward.safetensors")
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_judges_in_other_processes_say_the_same(tiny_model, folder, tmp_path):
    apart = dataclasses.replace(RECIPE, reward=dataclasses.replace(STAGE, workers=2))
    Run(apart, tmp_path, score, init=str(tiny_model), judge=redness).run()
    here, there = load_file(folder / "reward.safetensors"), load_file(tmp_path / "reward.safetensors")
    assert all(torch.equal(here[name], there[name]) for name in here)


def test_a_transformer_is_kept_only_if_there_is_one(tmp_path):
    recipe = dataclasses.replace(RECIPE, vae=TINY.vae)
    with pytest.raises(SpecError, match=r"flow\.clips=0 keeps a transformer"):
        Run(recipe, tmp_path, score, judge=redness).run()
