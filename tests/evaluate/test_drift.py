import dataclasses

import numpy as np
import pytest

from kinema.errors import SpecError
from kinema.evaluate.drift import measure_drift, require_stream
from kinema.evaluate.suite import Case, make_staying
from kinema.generate.pipeline import Pipeline
from kinema.world.camera import camera_path, project
from kinema.world.dataset import iter_clips
from kinema.world.physics import simulate
from kinema.world.scene import sample_scene

FPS = 8.0


class Film:
    """Shows the true clip of a scene, and by its end something else."""

    def __init__(self, clip, change):
        self.clip, self.change = clip, change

    def resolve(self, spec):
        return dataclasses.replace(spec, fps=FPS)

    def stream(self, spec):
        for number in range(round(spec.seconds * FPS / 16)):
            frames = self.clip.frames[:16]
            yield self.change(frames) if number >= spec.seconds * FPS / 32 else frames


@pytest.fixture(scope="module")
def clip():
    (clip,) = iter_clips([9_000_011], num_frames=17, fps=FPS, height=64, width=64)
    return clip


def _measure(clip, change):
    case = Case(number=0, caption=clip.captions[-1], source="train")
    return measure_drift(Film(clip, change), [case], 2, seconds=8.0)


def test_what_stays_does_not_drift(clip):
    drift = _measure(clip, lambda frames: frames)
    assert drift.window_s == 4.0
    for name in ("adherence", "sharpness", "brightness", "contrast", "saturation", "colourfulness"):
        ends = getattr(drift, name)
        assert ends.first == ends.last, name
    assert drift.adherence.first.mean == 1.0
    assert drift.adherence.first.count == 1


def test_what_fades_to_grey_does(clip):
    def fade(frames):
        grey = frames.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
        return (0.5 * grey).astype(np.uint8)

    drift = _measure(clip, fade)
    assert drift.adherence.last.mean < 0.8
    assert drift.saturation.last.mean < 0.1 * drift.saturation.first.mean
    assert drift.brightness.last.mean == pytest.approx(0.5 * drift.brightness.first.mean, rel=0.05)
    assert drift.sharpness.last.mean < 0.5 * drift.sharpness.first.mean


@pytest.mark.parametrize("case", make_staying(8, 2.0), ids=lambda case: str(case.number))
def test_in_the_world_itself_nothing_leaves_the_scenes_of_long_videos(case):
    scene, num_frames = sample_scene(case.number, seconds=2.0), 481
    path = simulate(scene, num_frames, FPS)
    places = project(camera_path(scene, num_frames, FPS), path.position, 1.0)
    assert ((places[..., :2] > 0.02) & (places[..., :2] < 0.98)).all()


def test_a_model_of_whole_clips_is_refused(tiny_model):
    with pytest.raises(SpecError, match="makes all frames at once; give a causal model, or leave out --long"):
        require_stream(Pipeline.load(str(tiny_model), "cpu", "float32"))
