"""Captions of clips that change on their way say what changes, whatever their length."""

import pytest

from kinema.train.caption import caption_of
from kinema.world.changing import states
from kinema.world.scene import sample_scene


@pytest.mark.parametrize("what", ["colour", "material", "floor", "light", "action"])
def test_what_must_be_stated_is_stated_and_never_left_out(what):
    captions = [caption_of(sample_scene(seed), seed, 0.9, None, what) for seed in range(60)]
    assert all(states(caption.facts, what) for caption in captions)
    lengths = [len(caption.text.split()) for caption in captions]
    assert min(lengths) <= 8
    assert max(lengths) >= 25


def test_without_that_captions_may_leave_it_out():
    captions = [caption_of(sample_scene(seed), seed) for seed in range(60)]
    assert any(not states(caption.facts, "light") for caption in captions)
