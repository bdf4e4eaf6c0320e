"""Binding: tokens that name an object are marked with what the caption says of it, and of it alone."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file

from kinema.model import Tokenizer
from kinema.model.presets import PRESETS
from kinema.model.text import TextEncoder
from kinema.train.binding import NUMBERS, SAID, BindingHead, binding_loss, mark_names, said_of
from kinema.train.caption import caption_of
from kinema.train.recipes import RECIPES
from kinema.train.run import Run
from kinema.train.tokenizer import train_tokenizer
from kinema.world.describe import Caption, describe
from kinema.world.facts import Facts, ObjectFacts, Relation
from kinema.world.mention import Mention
from kinema.world.scene import sample_scene

TEXT = "a red cone rolls to the left behind two blue balls"
CAPTION = Caption(
    TEXT,
    Facts(
        objects=(ObjectFacts("cone", "red"), ObjectFacts("ball", "blue"), ObjectFacts("ball", "blue")),
        relations=(Relation(0, "behind", 1),),
        action="roll",
        direction="left",
    ),
    (Mention((0,), 2, 10), Mention((1, 2), 40, 50)),
)


@pytest.fixture(scope="module")
def tokenizer():
    captions = [describe(sample_scene(seed), seed, "long") for seed in range(80)]
    return Tokenizer(train_tokenizer([*captions, TEXT], 512, 96))


def test_what_is_said_of_each_object():
    cone, balls = CAPTION.mentions
    assert (TEXT[cone.start : cone.end], TEXT[balls.start : balls.end]) == ("red cone", "blue balls")
    assert said_of(CAPTION, cone) == ["cone", "red", "roll", "to the left", "behind", "one of 1", "among 3"]
    assert said_of(CAPTION, balls) == ["ball", "blue", "in front of", "one of 2", "among 3"]


def test_naming_tokens_are_marked_and_no_others(tokenizer):
    said, named = mark_names([CAPTION], tokenizer)
    ids, mask = tokenizer.encode([TEXT])
    words = tokenizer.tokenizer.decode(ids[0][named[0]].tolist())
    assert words.split() == ["red", "cone", "blue", "balls"]
    assert not (named & ~mask.bool()).any()
    assert {SAID[i] for i in said[0][named[0]][0].nonzero().flatten()} == set(said_of(CAPTION, CAPTION.mentions[0]))
    assert not said[0][~named[0]].any()


def test_every_caption_of_the_world_can_be_marked(tokenizer):
    captions = [caption_of(sample_scene(seed), seed, 0.1, tokenizer) for seed in range(60)]
    said, named = mark_names(captions, tokenizer)
    assert [bool(row) for row in named.any(1)] == [bool(caption.text) for caption in captions]
    shapes = said[..., [NUMBERS[name] for name in ("ball", "box", "cylinder", "cone", "capsule")]].sum(-1)
    assert torch.equal(shapes.bool(), named)
    assert shapes.max() == 1


def test_the_loss_counts_naming_tokens_only(tokenizer):
    said, named = mark_names([CAPTION], tokenizer)
    right = (said.float() * 2 - 1) * 20
    assert binding_loss(right, said, named) < 1e-6
    assert binding_loss(torch.where(named[..., None], right, -right), said, named) < 1e-6
    assert binding_loss(-right, said, named) > 100
    assert binding_loss(right, said, torch.zeros_like(named)) == 0


def test_the_head_guesses_that_little_is_said():
    logits = BindingHead(16)(torch.zeros(1, 2, 16))
    assert logits.shape == (1, 2, len(SAID))
    assert (logits.sigmoid() < 0.05).all()


def test_binding_is_learnt_from_captions(tokenizer):
    torch.manual_seed(0)
    text = TextEncoder(dataclasses.replace(PRESETS["tiny"].text, vocab_size=len(tokenizer.tokenizer)))
    head = BindingHead(text.config.d_model)
    captions = [caption_of(sample_scene(seed), seed, 0.0, tokenizer) for seed in range(8)]
    ids, mask = tokenizer.encode([caption.text for caption in captions])
    said, named = mark_names(captions, tokenizer)
    optimizer = torch.optim.AdamW([*text.parameters(), *head.parameters()], lr=5e-3)
    losses = []
    for _ in range(150):
        loss = binding_loss(head(text(ids, mask)), said, named)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.1 * losses[0]


def test_a_run_that_binds_leaves_the_map_out_of_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr("kinema.train.trainer.LOG_EVERY_STEPS", 2)
    tiny = RECIPES["tiny"]
    recipe = dataclasses.replace(
        tiny,
        vae=dataclasses.replace(tiny.vae, clips=8, phases=()),
        flow=dataclasses.replace(tiny.flow, clips=16, binding=0.1),
    )
    run = Run(recipe, tmp_path, lambda *_: {})
    run.run(["corpus", "tokenizer", "vae", "latents", "flow"])
    assert "binding_loss" in (tmp_path / "flow" / "metrics.jsonl").read_text()
    assert {name.split(".")[0] for name in load_file(tmp_path / "flow.safetensors")} == {"dit", "text"}
