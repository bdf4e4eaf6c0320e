import json

import numpy as np
import pytest

from kinema.evaluate.adherence import observe_truth
from kinema.evaluate.fidelity import Fidelity
from kinema.evaluate.report import build_report, write_report
from kinema.evaluate.suite import FIRST_SEED, Answer, free_cases, make_cases
from kinema.evaluate.tables import tables_of
from kinema.train.recipes import RECIPES
from kinema.world.dataset import iter_clips
from kinema.world.parse import parse
from kinema.world.scene import is_held_out, sample_scene


def _answer(case, seed, frames, observation):
    return Answer(
        case=case,
        seed=seed,
        frames=frames,
        fps=8.0,
        seconds=1.5 + seed,
        flicker=0.9,
        sharpness=0.1,
        observation=observation,
    )


def test_cases_are_scenes_of_their_split_that_no_recipe_trains_on():
    for split in ("train", "held_out"):
        cases = make_cases(12, split, 2.0)
        scenes = (sample_scene(case.number, seconds=2.0, split=split) for case in cases)
        assert all(is_held_out(scene) == (split == "held_out") for scene in scenes)
        assert len({case.caption.text for case in cases}) == 12
    for recipe in RECIPES.values():
        corpus = recipe.corpus
        assert corpus.first_seed + corpus.clips + corpus.validation_clips < FIRST_SEED


@pytest.fixture(scope="module")
def observed():
    return observe_truth(range(FIRST_SEED, FIRST_SEED + 6))


def test_a_report_says_what_was_measured_and_shows_the_clips(tmp_path, observed):
    noise = np.random.default_rng(0).integers(0, 256, (17, 64, 64, 3), dtype=np.uint8)
    cases = [*make_cases(2, "train", 2.0), *make_cases(1, "held_out", 2.0), free_cases()[0]]
    nothing = parse(noise, 8.0)
    answers = [_answer(case, seed, noise, nothing) for case in cases for seed in (0, 1)]
    fidelity = Fidelity(psnr_db=(28.0, 30.0), flicker_true=0.99, flicker_decoded=0.98, observed=tuple(observed[:3]))
    report = build_report(answers, fidelity, observed, 2.0, 3_000_000, {"command": "kinema evaluate x", "seeds": 2})
    assert report["vae"]["psnr_db"] == pytest.approx(29.0)
    assert report["vae"]["psnr_db_interval"]["count"] == 2
    assert report["speed"] == {"seconds_per_video": 2.0, "memory_mb": 3}
    assert report["adherence"]["all_seen"] == report["adherence"]["all_held_out"] == 0.0
    assert report["adherence"]["seen"]["shape"]["count"] == 2
    assert report["adherence"]["free"]["shape"]["count"] == 1
    assert report["parser"]["truth"] > 0.8 > 0.6 > report["parser"]["shuffled"]
    assert report["parser"]["decoded_by_axis"]["colour"]["count"] == 3
    assert report["parser"]["decoded"] > 0.8
    by_objects = report["adherence"]["by_objects"]
    assert sum(group["all"]["count"] for group in by_objects.values()) == 2
    assert set(by_objects) == {str(case.caption.facts.count or len(case.caption.facts.objects)) for case in cases[:2]}
    page = write_report(report, answers, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    text = page.read_text()
    assert text.count("<figure>") == 8
    assert "not seen: " in text
    assert all((tmp_path / "clips" / f"{index:03d}.webp").exists() for index in range(8))
    assert "kinema evaluate x" in text
    scores, by_number, measured = tables_of(report)
    assert scores.rows[0][:1] + scores.rows[0][4:5] == ("colour", "100 (100-100)")
    assert "<td>100 (100-100)</td>" in text
    assert len(by_number.columns) == 1 + len(by_objects)
    assert ("most memory", "3 MB", "") in measured.rows


def test_true_clips_score_as_high_as_the_parser_can_see(observed):
    cases = make_cases(4, "train", 2.0)
    clips = iter_clips([case.number for case in cases], num_frames=17, fps=8.0, height=64, width=64)
    answers = [_answer(case, 0, clip.frames, parse(clip.frames, 8.0)) for case, clip in zip(cases, clips, strict=True)]
    fidelity = Fidelity(psnr_db=(30.0,), flicker_true=1.0, flicker_decoded=1.0)
    report = build_report(answers, fidelity, observed, 1.0, 1, {})
    assert report["adherence"]["seen"]["colour"]["mean"] == 1.0
    assert report["parser"]["decoded"] is None
    assert report["video"]["mean_speed"] == pytest.approx(report["video"]["mean_speed_true"], abs=0.3)
