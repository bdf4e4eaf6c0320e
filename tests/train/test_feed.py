"""The batches of a run: the same whoever makes them, each clip once per epoch, mirrored clips in mirrored words."""

import dataclasses

import pytest
import torch

from kinema.model import Tokenizer
from kinema.train.config import FlowStage, OptimConfig, Phase
from kinema.train.feed import Feed, Words, scene_at
from kinema.train.tokenizer import train_tokenizer
from kinema.world.describe import describe
from kinema.world.scene import sample_scene

CONFIG = FlowStage(
    clips=40,
    batch_size=4,
    optim=OptimConfig(learning_rate=1e-3),
    phases=(Phase(until=0.2, frames=1, batch_size=8),),
)


class FewClips:
    """As much of `Latents` as words need."""

    def __init__(self, clips):
        self.scenes = [sample_scene(seed) for seed in range(clips + 2)]
        self.num_training = 2 * clips
        self.stated = [None] * len(self.scenes)


@pytest.fixture(scope="module")
def words():
    clips = FewClips(6)
    captions = [describe(scene, seed, "long") for scene in clips.scenes for seed in range(4)]
    return Words(clips, Tokenizer(train_tokenizer(captions, 512, 96)), CONFIG)


def run(feed, start=0):
    batches = []
    while start < CONFIG.clips:
        batches.append(feed.at(start))
        start += len(batches[-1].indices)
    return batches


def same(one, other):
    pairs = [pair for both in zip(one, other, strict=True) for pair in zip(*both, strict=True)]
    return all(mine is theirs or torch.equal(mine, theirs) for mine, theirs in pairs)


def test_phases_set_the_sizes_and_every_clip_comes_once_per_epoch(words):
    batches = run(Feed(words, CONFIG))
    assert [len(batch.indices) for batch in batches] == [8] + [4] * 8
    order = torch.cat([batch.indices for batch in batches]).tolist()
    assert sorted(order[:12]) == sorted(order[12:24]) == list(range(12))


def test_steps_of_pictures_follow_steps_of_clips():
    config = dataclasses.replace(CONFIG, phases=(), pictures=12)
    sizes, start = [], 0
    while start < config.clips:
        sizes.append((config.phase(start, 17).frames, config.size_at(start)))
        start += sizes[-1][1]
    assert sizes == [(17, 4), (1, 12), (17, 4), (1, 12), (17, 4), (1, 12)]
    late = dataclasses.replace(config, phases=(Phase(until=0.1, frames=1, batch_size=3),))  # ends within a round
    assert [late.phase(start, 17).frames for start in (0, 3, 6, 18, 22)] == [1, 1, 1, 17, 1]


def test_processes_that_work_ahead_change_nothing(words):
    assert same(run(Feed(words, CONFIG)), run(Feed(words, dataclasses.replace(CONFIG, workers=1), workers=1)))


def test_a_feed_goes_on_from_anywhere(words):
    feed = Feed(words, CONFIG)
    whole = run(feed)
    assert same(run(Feed(words, CONFIG), start=16), whole[3:])
    assert same([feed.at(0)], whole[:1])


def test_the_last_step_may_reach_beyond_the_end(words):
    assert len(Feed(words, CONFIG).at(39).indices) == 4


def test_the_generator_that_others_draw_from_is_left_alone(words):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(Feed(words, CONFIG))
    assert torch.equal(torch.rand(3), expected)


def test_mirrored_clips_are_worded_the_other_way_round(words):
    scene = next(scene for scene in words._scenes if scene.direction is not None)
    number = words._scenes.index(scene)
    assert scene_at(words._scenes, number) == scene
    assert {scene_at(words._scenes, number + 6).direction, scene.direction} == {"left", "right"}


def test_pictures_of_their_own_are_worded_in_their_own_steps(words):
    config = dataclasses.replace(CONFIG, phases=(), pictures=12)
    both = Words(FewClips(6), words._tokenizer, config, pictures=FewClips(3))
    clips, pictures = both[16].indices, both[20].indices
    assert (len(clips), len(pictures)) == (4, 12)
    assert max(clips) >= 6
    assert set(pictures.tolist()) == set(range(6))
