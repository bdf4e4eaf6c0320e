"""Learning from its own videos: rollouts are those of generation, and the student follows the teacher's judgement."""

import dataclasses

import pytest
import torch

from kinema.diffusion import shifted_schedule
from kinema.generate.rollout import Rollout
from kinema.model import CausalConfig, load_model
from kinema.model.dit import DiT
from kinema.train.config import OptimConfig, SelfForcingStage
from kinema.train.corpus import Corpus, render_corpus
from kinema.train.forcing import Forcing
from kinema.train.latents import Latents, encode_corpus
from kinema.train.recipes import CAUSAL_RECIPES
from kinema.train.self_forcing import SelfForcingTask, roll_out

CAUSAL = CausalConfig(block=1, window=3, sink=1, positions="relative")
CLIP = (4, 3, 4, 4)
CONFIG = SelfForcingStage(
    clips=64, batch_size=4, frames=3, critic_steps=1, steps=2, guidance=1.0, optim=OptimConfig(learning_rate=1e-3),
    precision="float32",
)  # fmt: skip


def wide_awake(dit):
    """The same network with random weights everywhere: one that starts as the identity has nothing to tell."""
    torch.manual_seed(0)
    for parameter in dit.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return dit


@pytest.fixture(scope="module")
def model(tiny_model):
    return load_model(tiny_model)


@pytest.fixture(scope="module")
def forcing(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    render_corpus(dataclasses.replace(CAUSAL_RECIPES["tiny-causal"].corpus, clips=8), folder / "corpus")
    corpus = Corpus(folder / "corpus")
    encode_corpus(model.vae, corpus, folder / "latents.npy")
    latents = Latents(folder / "latents.npy", corpus)
    return Forcing(model.text, model.tokenizer, latents, CAUSAL, CONFIG)


def task_of(model, forcing, config=CONFIG, teacher=None):
    student, critic = wide_awake(DiT(model.dit.config)), wide_awake(DiT(model.dit.config))
    teacher = teacher or wide_awake(DiT(model.dit.config))
    return SelfForcingTask(student, critic, teacher, model.vae, forcing, CAUSAL, CLIP, config, lambda *_: {})


def test_a_rollout_is_what_generation_makes_of_the_same_noise(model, forcing):
    dit = wide_awake(DiT(model.dit.config))
    text = forcing.embed(["a red ball rolls"])
    drawn = []
    randn = torch.randn

    def keep(*args, **kwargs):
        drawn.append(randn(*args, **kwargs))
        return drawn[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn", keep)
        size = (4, 6, 4, 4)
        mine = roll_out(dit, CAUSAL, text, size, (1.0, 0.5, 0.0), 1, torch.Generator().manual_seed(0))
    noise = iter(drawn)
    schedule = shifted_schedule(2, 1.0)
    rollout = Rollout(
        dit, CAUSAL, [(0, dit.text_kv(text))], schedule=schedule, solver="consistency", guidance=1.0, size=(4, 4),
        max_frames=6,
    )  # fmt: skip
    theirs = torch.cat(list(rollout.blocks(6, lambda *_: next(noise))), dim=2)
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)


def test_the_gradient_flows_through_the_last_step_of_every_block_and_changes_no_number(model, forcing):
    dit = wide_awake(DiT(model.dit.config))
    text = forcing.embed(["a red ball rolls", "two boxes fall"])
    plain, learnt = (
        roll_out(
            dit, CAUSAL, text, (4, 5, 4, 4), (1.0, 0.5, 0.0), 1, torch.Generator().manual_seed(0), with_gradient=on
        )
        for on in (False, True)
    )
    assert not plain.requires_grad
    torch.testing.assert_close(plain, learnt.detach(), rtol=0, atol=1e-6)
    for frame in range(5):
        (gradient,) = torch.autograd.grad(learnt[:, :, frame].sum(), dit.proj_out.weight, retain_graph=True)
        assert gradient.abs().sum() > 0


def test_critic_and_student_take_turns(model, forcing):
    task = task_of(model, forcing)
    for clips_seen, moved, still in ((0, "critic", "dit"), (4, "dit", "critic"), (8, "critic", "dit")):
        task.networks.zero_grad(set_to_none=True)
        loss, _ = task.loss(clips_seen, torch.Generator().manual_seed(1))
        loss.backward()
        assert any(parameter.grad is not None for parameter in task.networks[moved].parameters())
        assert all(parameter.grad is None for parameter in task.networks[still].parameters())


def test_a_student_is_not_moved_where_critic_and_teacher_agree(model, forcing):
    task = task_of(model, forcing)
    loss, parts = task.loss(4, torch.Generator().manual_seed(0))
    assert parts["correction"] == pytest.approx(0.0, abs=1e-5)
    assert loss.item() == pytest.approx(0.0, abs=1e-8)
    with torch.no_grad():
        task.networks["critic"].proj_out.bias += 0.5
    assert task.loss(4, torch.Generator().manual_seed(0))[1]["correction"] > 0.05


def test_the_student_goes_where_the_teacher_points(model, forcing):
    """The teacher sees data at +1 everywhere, the critic at 0: what the student makes must rise."""

    class Everywhere(torch.nn.Module):
        def __init__(self, level):
            super().__init__()
            self.level = torch.nn.Parameter(torch.tensor(level))

        def forward(self, latent, times, text):
            return (latent - self.level) / times[:, None, :, None, None].clamp_min(0.02)

    task = task_of(model, forcing, teacher=Everywhere(1.0))
    task.networks["critic"] = Everywhere(0.0)
    student = task.networks["dit"]
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3)
    text = forcing.embed(["a red ball rolls"] * 4)

    def level():
        with torch.no_grad():
            video = roll_out(student, CAUSAL, text, CLIP, (1.0, 0.5, 0.0), 1, torch.Generator().manual_seed(7))
        return video.mean().item()

    before = level()
    for number in range(30):
        loss, _ = task.loss(4, torch.Generator().manual_seed(number))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert level() > before + 0.1


def test_later_stretches_of_long_videos_begin_with_a_lone_frame(model, forcing):
    task = task_of(model, forcing, dataclasses.replace(CONFIG, frames=7))
    video = torch.randn(2, 4, 7, 4, 4, requires_grad=True)
    lengths = set()
    for seed in range(12):
        part = task._stretch(video, torch.Generator().manual_seed(seed))
        assert part.shape == (2, *CLIP)
        (gradient,) = torch.autograd.grad(part.sum(), video)
        lengths.add(int(gradient.abs().sum(dim=(0, 1, 3, 4)).count_nonzero()))
    assert lengths == {2, 3}  # the lone frame passes no gradient; the beginning of the video is used as it is
