import dataclasses

import pytest

from kinema.evaluate.switch import SWITCH_S, make_switches, measure_switch
from kinema.world.physics import simulate
from kinema.world.render import render_clip
from kinema.world.scene import sample_scene

FPS = 8.0


@pytest.fixture(scope="module")
def pairs():
    return make_switches(3, 2.0)


def test_only_the_colour_of_the_words_changes(pairs):
    for first, second in pairs:
        differing = [
            (a, b) for a, b in zip(first.caption.text.split(), second.caption.text.split(), strict=True) if a != b
        ]
        assert 1 <= len(differing) <= 2  # the colour, and the article before it
        (one,), (other,) = first.caption.facts.objects, second.caption.facts.objects
        assert one.colour != other.colour
        assert dataclasses.replace(one, colour=other.colour) == other


class Film:
    """Shows the true clip of a scene over and over, and from some second on that of the other prompt, or does not.

    As in a stream, its first frame is one of its own, and what is told at second 4 begins with frame 33.
    """

    def __init__(self, pair, follows_s):
        scenes = [sample_scene(case.number, seconds=2.0) for case in pair]
        scenes[1] = dataclasses.replace(
            scenes[1], objects=(dataclasses.replace(scenes[1].main, colour=pair[1].caption.facts.objects[0].colour),)
        )
        self.follows_s = follows_s
        self.clips = [_render(scene) for scene in scenes]

    def resolve(self, spec):
        assert [second for second, _ in spec.changes] == [SWITCH_S]
        return dataclasses.replace(spec, fps=FPS)

    def stream(self, spec):
        yield self.clips[0][:1]
        for number in range(round(spec.seconds / 2)):
            yield self.clips[number * 2 >= self.follows_s][1:]


def _render(scene):
    return render_clip(scene, simulate(scene, 17, FPS), 17, 64, 64).numpy()


def test_who_follows_is_told_from_who_does_not(pairs):
    pair = pairs[0]
    followed, late = (measure_switch(Film(pair, at), [pair], 1) for at in (SWITCH_S, 100.0))
    assert followed.followed.mean == 1.0
    assert late.followed.mean == 0.0
    assert followed.kept.mean == late.kept.mean == 1.0
    assert late.jump.mean == pytest.approx(1.0)
    assert followed.jump.mean > 1.05
