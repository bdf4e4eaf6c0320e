import numpy as np
import pytest

from kinema.errors import DataError
from kinema.evaluate import suite
from kinema.evaluate.suite import answer_cases, free_cases, make_cases, time_one_video
from kinema.generate.pipeline import Pipeline
from kinema.world.scene import ACTIONS, SHAPES


def test_workers_make_the_same_videos_in_the_same_order(tiny_model):
    pipeline = Pipeline.load(str(tiny_model), "cpu", "float32")
    cases = make_cases(2, "train", 0.5)
    alone, shared = (list(answer_cases(pipeline, cases, 2, workers)) for workers in (1, 2))
    assert [(answer.case, answer.seed) for answer in shared] == [(case, seed) for case in cases for seed in (0, 1)]
    for one, other in zip(alone, shared, strict=True):
        # Another number of threads may round a byte up or down.
        assert np.abs(one.frames.astype(int) - other.frames).max() <= 1
    assert time_one_video(pipeline, cases, 1) > 0


def test_free_prompts_are_all_different_and_state_what_the_world_has():
    cases = free_cases()
    assert len({case.caption.text for case in cases}) == 100
    assert all(case.caption.facts.objects for case in cases)
    stated = [case.caption.facts.action for case in cases]
    assert set(ACTIONS) <= set(stated)
    assert set(SHAPES) <= {thing.shape for case in cases for thing in case.caption.facts.objects}


def test_a_killed_worker_is_reported(tiny_model, monkeypatch):
    monkeypatch.setattr(suite, "_answer_in_worker", _die)
    pipeline = Pipeline.load(str(tiny_model), "cpu", "float32")
    with pytest.raises(DataError, match="fewer workers"):
        list(answer_cases(pipeline, make_cases(1, "train", 0.5), 2, 2))


def _die(task):
    import os

    os._exit(1)
