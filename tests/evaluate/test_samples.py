from kinema.evaluate.samples import score_samples
from kinema.generate.pipeline import Pipeline
from kinema.media import read_image
from kinema.world.describe import describe_with_facts
from kinema.world.scene import sample_scene


def test_a_sheet_is_drawn_and_every_axis_that_is_stated_is_judged(tiny_model, tmp_path):
    captions = [describe_with_facts(sample_scene(seed), seed, "short") for seed in range(2)]
    scores = score_samples(Pipeline.load(str(tiny_model)), captions, tmp_path / "samples.png")
    assert read_image(tmp_path / "samples.png").shape[0] > 2 * 32
    assert (tmp_path / "samples.txt").read_text().splitlines() == [caption.text for caption in captions]
    assert 0 <= scores["samples.flicker"] <= 1
    assert all(0 <= scores[f"adherence.{axis}"] <= 1 for axis in ("colour", "shape", "action", "all"))
