"""Models of a few thousand random weights: what they find beautiful means nothing, what becomes of it does."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPVisionModelWithProjection,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from kinema.data import DataRecipe, Store, run_recipe
from kinema.data.caption import clip_pictures
from kinema.data.filter import KeepConfig, _rating_reason
from kinema.data.ingest import Source
from kinema.data.pool import Limits
from kinema.data.rating import RATINGS, AestheticConfig, Rater, RatingConfig
from kinema.data.rating_model import RatingModel, check_model, weights_stamp
from kinema.data.run import decide
from kinema.data.split import SplitConfig
from kinema.errors import DataError, SpecError
from kinema.media import Frame, write_video

SIDE, WIDTH = 16, 12
SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def clip_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    vision = {**SMALL, "image_size": SIDE, "patch_size": 8, "projection_dim": WIDTH}
    text = {**SMALL, "vocab_size": 8, "projection_dim": WIDTH, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH)).save_pretrained(path)
    CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}).save_pretrained(path)
    return path


def save_head(path: Path, widths: tuple[int, ...], prefix: str = "layers.") -> nn.Sequential:
    """As LAION saves them: linear layers, and dropout between."""
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.Dropout(0.2)]
    head = nn.Sequential(*layers[:-1]).eval()
    torch.save({f"{prefix}{name}": value for name, value in head.state_dict().items()}, path)
    return head


def noise(seed: int, count: int) -> list[Frame]:
    small = np.random.default_rng(seed).integers(0, 256, (count, 3, 4, 3), dtype=np.uint8)
    return [np.ascontiguousarray(each.repeat(12, axis=0).repeat(12, axis=1)) for each in small]


def seen(processor: Any, pictures: list[Frame]) -> torch.Tensor:
    return processor(images=[Image.fromarray(each) for each in pictures], return_tensors="pt")["pixel_values"]


def test_a_classifier_says_what_transformers_says(classifier: Path) -> None:
    pictures = noise(1, 5)
    found = RatingModel("nsfw", RatingConfig(model=str(classifier))).rate([pictures[:2], pictures[2:]])
    assert [len(each) for each in found] == [2, 3]
    network = ViTForImageClassification.from_pretrained(classifier).eval()
    with torch.inference_mode():
        wanted = network(seen(ViTImageProcessorPil.from_pretrained(classifier), pictures)).logits.softmax(dim=1)[:, 1]
    np.testing.assert_allclose(np.concatenate(found), wanted.numpy(), rtol=1e-4)
    assert np.ptp(np.concatenate(found)) > 0.05


@pytest.mark.parametrize(("widths", "prefix"), [((WIDTH, 1), ""), ((WIDTH, 9, 5, 4, 3, 1), "layers.")])
def test_a_head_reads_the_normalised_embedding_of_clip(
    clip_model: Path, tmp_path: Path, widths: tuple[int, ...], prefix: str
) -> None:
    head = save_head(tmp_path / "head.pth", widths, prefix)
    if not prefix:  # LAION's linear head is the layer itself
        torch.save(head[0].state_dict(), tmp_path / "head.pth")
    config = AestheticConfig(model=str(clip_model), head=str(tmp_path / "head.pth"))
    pictures = noise(2, 3)
    found = RatingModel("aesthetic", config).rate([pictures])
    network = CLIPVisionModelWithProjection.from_pretrained(clip_model).eval()
    with torch.inference_mode():
        embedded = network(seen(CLIPImageProcessorPil.from_pretrained(clip_model), pictures)).image_embeds
        wanted = head(embedded / embedded.norm(dim=1, keepdim=True))[:, 0]
    np.testing.assert_allclose(found[0], wanted.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "wanted", "error"),
    [
        (
            ("normal", "nsfw"),
            ("naughty",),
            r"the labels 'normal', 'nsfw', and no label 'naughty'; set nsfw\.labels",
        ),
        (("LABEL_0", "LABEL_1"), (), r"'LABEL_0', 'LABEL_1', and none that says by its name that it counts as nsfw"),
    ],
)
def test_a_label_that_there_is_not_is_answered_with_those_that_there_are(
    save_classifier: Callable[..., Path], tmp_path: Path, labels: tuple[str, ...], wanted: tuple[str, ...], error: str
) -> None:
    folder = save_classifier(tmp_path / "model", labels)
    with pytest.raises(SpecError, match=error):
        check_model("nsfw", RatingConfig(model=str(folder), labels=wanted))


def test_labels_that_count_are_found_by_name_or_given(save_classifier: Callable[..., Path], tmp_path: Path) -> None:
    folder = str(save_classifier(tmp_path / "model", ("drawings", "Hentai", "neutral", "porn", "sexy")))
    assert check_model("nsfw", RatingConfig(model=folder)) == [3]
    assert check_model("nsfw", RatingConfig(model=folder, labels=("porn", "hentai"))) == [3, 1]
    both, one = (RatingModel("nsfw", RatingConfig(model=folder, labels=labels)).rate([noise(1, 1)])[0][0]
                 for labels in (("porn", "hentai"), ("porn",)))  # fmt: skip
    assert 1 > both > one > 0


def test_what_is_no_model_or_no_head_for_it_is_named(classifier: Path, clip_model: Path, tmp_path: Path) -> None:
    head = str(tmp_path / "head.pth")
    save_head(tmp_path / "head.pth", (7, 3, 1))
    with pytest.raises(SpecError, match=r"nsfw\.model=.* is no model that transformers knows"):
        check_model("nsfw", RatingConfig(model=str(tmp_path / "nowhere")))
    with pytest.raises(SpecError, match=r"takes embeddings of 7 numbers, and .* gives 12"):
        check_model("aesthetic", AestheticConfig(model=str(clip_model), head=head))
    with pytest.raises(SpecError, match=r"needs a CLIP .* is of type vit"):
        check_model("aesthetic", AestheticConfig(model=str(classifier), head=head))
    with pytest.raises(SpecError, match="cannot be read as weights"):
        check_model("aesthetic", AestheticConfig(model=str(clip_model), head=str(tmp_path / "none.pth")))
    save_head(tmp_path / "head.pth", (WIDTH, 2))
    with pytest.raises(SpecError, match="no chain of linear layers that ends in one number"):
        check_model("aesthetic", AestheticConfig(model=str(clip_model), head=head))
    with pytest.raises(DataError, match="was not trained to classify"):
        RatingModel("aesthetic", AestheticConfig(model=str(clip_model), labels=("LABEL_0",)))
    with pytest.raises(SpecError, match=r"needs aesthetic\.model"):
        AestheticConfig(head=head)
    with pytest.raises(SpecError, match=r"keep\.max_nsfw=0.5 needs a model: set nsfw\.model"):
        DataRecipe(sources=(Source(path="footage"),), keep=KeepConfig(max_nsfw=0.5))


@pytest.mark.parametrize("device", ["cuda:77", "gpu"])
def test_a_device_that_is_not_there_is_refused_before_any_work(classifier: Path, device: str) -> None:
    with pytest.raises(SpecError, match=rf"nsfw\.device='{device}' is not on this machine"):
        check_model("nsfw", RatingConfig(model=str(classifier), device=device))


@pytest.mark.parametrize("keep", [KeepConfig(max_nsfw=0.5), KeepConfig(min_aesthetic=0.5)])
def test_what_is_no_number_passes_no_threshold(keep: KeepConfig) -> None:
    clip = {f"{name}{end}": value for name in RATINGS for end, value in (("", float("nan")), ("_status", "done"))}
    assert "nan is" in str(_rating_reason(clip, keep))


def test_the_stamp_is_of_what_the_files_hold(
    classifier: Path, save_classifier: Callable[..., Path], tmp_path: Path
) -> None:
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((classifier / name).read_bytes())
    here, there = (RatingConfig(model=str(folder)) for folder in (classifier, tmp_path))
    assert weights_stamp(here) == weights_stamp(there)
    save_classifier(tmp_path, ("normal", "nsfw"), seed=1)
    assert weights_stamp(here) != weights_stamp(there)


def test_a_run_rates_what_passes_and_another_model_rates_again_and_nothing_else(
    make_shot: Callable[..., Frame],
    classifier: Path,
    save_classifier: Callable[..., Path],
    clip_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for seed in (1, 2):
        write_video(videos / f"{seed}.mp4", make_shot(seed, 24), 12)
    write_video(videos / "still.mp4", np.repeat(make_shot(3, 1), 24, axis=0), 12)
    save_head(tmp_path / "head.pth", (WIDTH, 5, 1))
    recipe = DataRecipe(
        sources=(Source(path=str(videos)),), out=tmp_path / "set", split=SplitConfig(min_s=0.5),
        limits=Limits(workers=0), nsfw=RatingConfig(model=str(classifier), pictures=3),
        aesthetic=AestheticConfig(model=str(clip_model), head=str(tmp_path / "head.pth"), batch=1),
    )  # fmt: skip
    stages = ("ingest", "split", "filter")
    rated: list[str] = []
    rate = Rater._rate
    monkeypatch.setattr(Rater, "_rate", lambda self, clips: rated.append(self._rating) or rate(self, clips))

    def run(recipe: DataRecipe) -> dict[str, dict[str, Any]]:
        rated.clear()
        assert sum(result.failed for result in run_recipe(recipe, stages)) == 0
        return {Path(clip["uri"]).stem: clip for clip in Store(recipe.out).read("clips")}

    clips = run(recipe)
    assert rated == ["aesthetic", "aesthetic", "nsfw"]
    assert (clips["still"]["nsfw"], clips["still"]["nsfw_status"]) == (None, None), "dropped by what costs less"
    pictures = clip_pictures(Store(recipe.out).bytes_of(clips["1"]["clip_id"]), 3, None)
    alone = RatingModel("nsfw", recipe.nsfw).rate([pictures])[0]
    assert clips["1"]["nsfw"] == pytest.approx(max(alone), rel=1e-4)
    low, high = sorted(clips[name]["nsfw"] for name in "12")
    clips = run(replace(recipe, keep=KeepConfig(max_nsfw=(low + high) / 2)))
    assert rated == []
    reasons = [clips[name]["drop_reason"] for name in "12"]
    assert sorted(each is None for each in reasons) == [False, True]
    assert str(next(each for each in reasons if each)).startswith("nsfw ")
    other = save_classifier(tmp_path / "other", ("normal", "nsfw"), seed=5)
    before = clips
    clips = run(replace(recipe, nsfw=replace(recipe.nsfw, model=str(other))))
    assert rated == ["nsfw"]
    assert {clips[name]["aesthetic_key"] == before[name]["aesthetic_key"] for name in "12"} == {True}
    assert {clips[name]["nsfw"] == before[name]["nsfw"] for name in "12"} == {False}
    rows = [{"clip_id": clips["1"]["clip_id"], "nsfw": None, "nsfw_status": "failed", "nsfw_reason": "no memory"}]
    store = Store(recipe.out)
    columns = pa.schema([("clip_id", pa.string()), ("nsfw", pa.float32()), ("nsfw_status", pa.string()),
                         ("nsfw_reason", pa.string())])  # fmt: skip
    store.update("clips", rows, columns)
    decide(store, replace(recipe, keep=KeepConfig(max_nsfw=1.0)))
    assert store.read("clips", ["drop_reason"], f"clip_id = '{clips['1']['clip_id']}'")[0]["drop_reason"] == (
        "nsfw not rated: no memory"
    )
