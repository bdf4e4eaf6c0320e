"""Clips that turn into what their caption says: another clip before, this one after, and no cut between."""

import random

import numpy as np
import pytest

from kinema.errors import SpecError
from kinema.evaluate.adherence import adherence
from kinema.world import changing
from kinema.world.changing import STARTING, changing_clip
from kinema.world.dataset import iter_clips
from kinema.world.facts import facts
from kinema.world.parse import parse
from kinema.world.physics import simulate
from kinema.world.render import render_clip
from kinema.world.scene import is_held_out, sample_scene

FORM = (17, 8.0, 64, 64)
FIRST = 9


def scene_of(action):
    scenes = (sample_scene(seed) for seed in range(1000))
    return next(
        each for each in scenes if each.action == action and len(each.objects) == 1 and each.camera.move == "fixed"
    )


def clip_of(scene, monkeypatch, kind):
    monkeypatch.setattr(changing, "KINDS", (kind,))
    frames, change = changing_clip(scene, FIRST, *FORM)
    plain = render_clip(scene, simulate(scene, 17, 8.0), 17, 64, 64).numpy()
    return frames, change, plain


def distance(frames, others):
    """Mean difference below the clouds, which go on."""
    return np.abs(frames[..., 28:, :, :].astype(float) - others[..., 28:, :, :]).mean()


def changes(frames):
    return np.abs(np.diff(frames.astype(float), axis=0)).mean(axis=(1, 2, 3))


@pytest.mark.parametrize("look", ["colour", "material", "floor", "light"])
def test_a_look_passes_over_into_the_scenes_own(look, monkeypatch):
    monkeypatch.setattr(changing, "LOOKS", (look,))
    frames, change, plain = clip_of(scene_of("rest"), monkeypatch, "look")
    assert change.after == scene_of("rest")
    assert change.stated == look
    assert not is_held_out(change.before)
    assert np.array_equal(frames[FIRST + 3 :], plain[FIRST + 3 :])
    assert (np.abs(frames[:FIRST].astype(float) - plain[:FIRST]).max(axis=(1, 2, 3)) > 8).all()
    passing = changes(frames)[FIRST - 1 : FIRST + 3]  # four equal steps, none of them a cut
    assert passing.max() < 1.3 * passing.min()


def test_what_stood_still_sets_off(monkeypatch):
    scene = scene_of("roll")
    frames, change, plain = clip_of(scene, monkeypatch, "start")
    assert (change.after, change.stated) == (scene, "action")
    assert distance(frames[:FIRST], plain[:1]) < 0.2
    assert distance(frames[FIRST:], plain[1 : 17 - FIRST + 1]) < 0.2
    assert distance(frames[:FIRST], plain[:FIRST]) > 1.0


def test_what_moved_comes_to_rest_where_its_scene_says(monkeypatch):
    scene = scene_of("slide")
    frames, change, plain = clip_of(scene, monkeypatch, "stop")
    after = change.after
    assert change.stated == "action"
    assert after.action == "rest"
    assert after.direction is None
    assert after.main.x != scene.main.x
    assert distance(frames[:FIRST], plain[:FIRST]) < 0.1
    assert distance(frames[-1], frames[FIRST + 4]) < 0.2
    assert distance(frames[-1], plain[-1]) > 1.0
    still = np.repeat(frames[-1:], 17, axis=0)
    assert all(adherence(parse(still, 8.0), facts(after))["action"])


def test_an_action_that_cannot_set_off_changes_its_looks(monkeypatch):
    scene = scene_of("fall")
    assert scene.action not in STARTING
    frames, _, plain = clip_of(scene, monkeypatch, "start")
    assert np.array_equal(frames[-1], plain[-1])
    assert not np.array_equal(frames[0], plain[0])


def test_objects_that_are_alike_stay_alike(monkeypatch):
    scene = next(each for each in map(sample_scene, range(1000)) if each.is_alike)
    monkeypatch.setattr(changing, "LOOKS", ("colour",))
    other, _ = changing._other_look(scene, random.Random(0))
    assert other.is_alike
    assert other.main.colour != scene.main.colour


def test_a_share_of_the_clips_changes_and_the_others_are_what_they_were():
    form = {"num_frames": 17, "fps": 8.0, "height": 32, "width": 32}
    plain = list(iter_clips(range(12), **form))
    mixed = list(iter_clips(range(12), **form, changing=0.5))
    again = list(iter_clips(range(12), **form, changing=0.5, workers=2))
    assert [clip.since for clip in mixed] == [clip.since for clip in again]
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(mixed, again, strict=True))
    assert 2 <= sum(clip.since > 0 for clip in mixed) <= 10
    for before, after in zip(plain, mixed, strict=True):
        assert after.since in (0, 1, 5, 9)
        assert (after.stated is None) == (after.since == 0)
        assert np.array_equal(before.frames, after.frames) == (after.since == 0)


@pytest.mark.parametrize("first", [0, 17])
def test_a_change_has_frames_on_both_sides(first):
    with pytest.raises(SpecError, match="use 1 to 16"):
        changing_clip(scene_of("rest"), first, *FORM)
