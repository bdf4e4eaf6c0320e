import collections
import dataclasses
import re
import subprocess
import sys

import pytest

from kinema.world.camera import camera_path, project
from kinema.world.describe import LENGTHS, MAX_WORDS, describe, describe_with_facts, facts, vocabulary, words_of
from kinema.world.facts import Facts, ObjectFacts, Relation
from kinema.world.physics import simulate
from kinema.world.scene import mirror, sample_scene
from kinema.world.wording import ACTION_VERBS, COLOUR_WORDS, SHAPE_WORDS

SCENES = [sample_scene(seed, split="all") for seed in range(250)]


def test_captions_are_no_longer_than_their_length_allows():
    for scene in SCENES:
        for length in LENGTHS:
            assert 0 < len(describe(scene, scene.seed, length).split()) <= MAX_WORDS[length]


def test_the_same_seed_gives_the_same_caption_and_others_give_many():
    scene = SCENES[3]
    assert describe(scene, 5, "long") == describe(scene, 5, "long")
    assert len({describe(scene, seed, "medium") for seed in range(100)}) > 80


def test_what_captions_state_is_true():
    for scene in SCENES:
        truth = facts(scene)
        for seed in range(3):
            caption = describe_with_facts(scene, seed, LENGTHS[seed])
            stated = caption.facts
            for name in ("count", "action", "direction", "floor", "light", "camera", "camera_direction"):
                assert getattr(stated, name) in (None, getattr(truth, name)), caption
            assert set(stated.relations) <= set(truth.relations), caption
            assert len(stated.objects) == len(truth.objects)
            for said, true in zip(stated.objects, truth.objects, strict=True):
                for field in dataclasses.fields(said):
                    assert getattr(said, field.name) in (None, getattr(true, field.name)), caption


def test_what_captions_state_is_in_their_words():
    for scene in SCENES:
        for seed, length in enumerate(LENGTHS):
            caption = describe_with_facts(scene, seed, length)
            words = words_of(caption.text)
            for known in caption.facts.objects:
                nouns = [n for noun in SHAPE_WORDS.get(known.shape, ()) for n in (noun, noun + "s", noun + "es")]
                assert known.shape is None or set(nouns) & set(words), caption
                assert known.colour is None or set(COLOUR_WORDS[known.colour]) & set(words), caption
            verbs = {form for verb in ACTION_VERBS[caption.facts.action] for form in verb}
            assert any(form in " ".join(words) for form in verbs), caption


def test_colours_in_the_words_are_stated():
    names = {word: colour for colour, words in COLOUR_WORDS.items() for word in words}
    for scene in SCENES:
        caption = describe_with_facts(scene, 1, "long")
        found = {names[word] for word in words_of(caption.text) if word in names}
        assert found == {known.colour for known in caption.facts.objects} - {None}, caption


def test_the_vocabulary_holds_every_word_of_captions_and_hardly_another():
    used = {
        word for scene in SCENES for seed in range(12) for word in words_of(describe(scene, seed, LENGTHS[seed % 3]))
    }
    assert used <= vocabulary()
    assert len(vocabulary() - used) < 0.05 * len(vocabulary())


def test_articles_fit_the_next_word():
    for scene in SCENES:
        text = describe(scene, 7, "long").lower()
        assert not re.search(r"\ba [aeiou]\w*", text), text
        assert not re.search(r"\ban [^aeiou]", text), text


def test_relations_hold_in_every_frame():
    checked = collections.Counter()
    for scene in SCENES[:150]:
        found = facts(scene).relations
        if not found:
            continue
        seen = project(camera_path(scene, 17, 8.0), simulate(scene, 17, 8.0).position, 1.0)
        for relation in found:
            first, second = seen[:, relation.subject], seen[:, relation.reference]
            holds = {
                "left of": first[:, 0] < second[:, 0],
                "right of": first[:, 0] > second[:, 0],
                "in front of": first[:, 2] < second[:, 2],
                "behind": first[:, 2] > second[:, 2],
            }[relation.side]
            assert holds.all(), (scene.seed, relation)
            checked[relation.side] += 1
    assert min(checked[side] for side in ("left of", "right of", "in front of", "behind")) > 10


def test_relations_come_both_ways_round_and_turn_round_in_a_mirror():
    opposite = {"left of": "right of", "right of": "left of", "in front of": "behind", "behind": "in front of"}
    turned = {"left of": "right of", "right of": "left of"}
    for scene in SCENES:
        found = set(facts(scene).relations)
        assert {Relation(r.reference, opposite[r.side], r.subject) for r in found} == found
        mirrored = {Relation(r.subject, turned.get(r.side, r.side), r.reference) for r in found}
        assert mirrored == set(facts(mirror(scene)).relations)


def test_every_fact_is_stated_at_times_and_left_out_at_times():
    stated = collections.Counter()
    captions = [describe_with_facts(scene, 2, LENGTHS[index % 3]) for index, scene in enumerate(SCENES)]
    for caption in captions:
        for name in ("count", "direction", "floor", "light", "camera", "relations"):
            stated[name] += bool(getattr(caption.facts, name))
        stated["size"] += caption.facts.objects[0].size is not None
        stated["material"] += caption.facts.objects[0].material is not None
    assert all(0.05 * len(captions) < stated[name] < 0.95 * len(captions) for name in stated), stated
    assert all(caption.facts.action for caption in captions)


def test_contradictions_are_named():
    said = Facts(
        objects=(ObjectFacts(colour="red"), ObjectFacts()), action="roll", relations=(Relation(0, "behind", 1),)
    )
    seen = Facts(
        objects=(ObjectFacts(colour="blue", shape="ball"), ObjectFacts(colour="pink")),
        action="roll",
        count=2,
        relations=(Relation(0, "in front of", 1),),
    )
    assert said.contradicts(seen) == ("objects[0].colour", "objects[0] behind objects[1]")
    assert said.contradicts(said) == ()


def test_describing_needs_no_torch():
    code = "import sys, kinema.world.describe; sys.exit('torch' in sys.modules or 'mujoco' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_length_is_a_bug():
    with pytest.raises(KeyError):
        describe(SCENES[0], 0, "endless")
