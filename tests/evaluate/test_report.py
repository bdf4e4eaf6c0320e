import json

import numpy as np
import pytest

from kinema.evaluate.fidelity import Fidelity
from kinema.evaluate.report import build_report, write_report
from kinema.evaluate.suite import FIRST_SEED, Answer, make_cases
from kinema.train.recipes import RECIPES
from kinema.world.scene import is_held_out


def _answer(case, seed):
    frames = np.random.default_rng(seed).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    return Answer(case=case, seed=seed, frames=frames, fps=8.0, seconds=1.5 + seed, flicker=0.9, sharpness=0.1)


def test_cases_are_scenes_of_their_split_that_no_recipe_trains_on():
    for split in ("train", "held_out"):
        cases = make_cases(12, split, 2.0)
        assert all(is_held_out(case.scene) == (split == "held_out") for case in cases)
        assert len({case.caption.text for case in cases}) == 12
    for recipe in RECIPES.values():
        corpus = recipe.corpus
        assert corpus.first_seed + corpus.clips + corpus.validation_clips < FIRST_SEED


def test_a_report_says_what_was_measured_and_shows_the_clips(tmp_path):
    answers = [_answer(case, seed) for case in make_cases(3, "train", 2.0) for seed in (0, 1)]
    fidelity = Fidelity(psnr_db=(28.0, 30.0), flicker_true=0.99, flicker_decoded=0.98)
    report = build_report(answers, fidelity, {"command": "kinema evaluate x", "seeds": 2})
    assert report["vae"]["psnr_db"]["mean"] == pytest.approx(29.0)
    assert report["vae"]["psnr_db"]["count"] == 2
    assert report["video"]["seconds_per_video"] == pytest.approx(2.0)
    page = write_report(report, answers, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    text = page.read_text()
    assert text.count("<figure>") == 6
    assert all((tmp_path / "clips" / f"{index:03d}.webp").exists() for index in range(6))
    assert "kinema evaluate x" in text
