"""Networks that come and go: the same frames, whatever means are used."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kinema.checkpoint import weights
from kinema.checkpoint.tensors import Tensors
from kinema.generate.means import Means, weight_bytes
from kinema.generate.pipeline import Pipeline
from kinema.generate.plan import make_plan
from kinema.generate.prepare import LoadOptions
from kinema.model import Tiles
from kinema.spec import Extend, VideoSpec

SPEC = VideoSpec(prompt="a red ball rolls", frames=5, width=32, height=32, steps=2, guidance=3.0)
MEANS = [
    Means(),
    Means(in_turn="text"),
    Means(in_turn="all", text_layers=1, blocks=1),
    Means(in_turn="all", text_layers=2, blocks=2),
]


@pytest.fixture(scope="module")
def plain(tiny_model: Path) -> Pipeline:
    return Pipeline.load(str(tiny_model), "cpu", "float32")


def _with(folder: Path, means: Means, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    pipe = Pipeline.load(str(folder), "cpu", "float32", memory="1TB")
    monkeypatch.setattr(pipe._fitter, "means", lambda _: means)
    return pipe


@pytest.mark.parametrize("means", MEANS, ids=str)
def test_frames_are_the_same_by_all_means(
    plain: Pipeline, tiny_model: Path, means: Means, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = _with(tiny_model, means, monkeypatch)
    for prompt in ("a red ball rolls", "a blue box"):  # for the second, the text encoder comes back
        spec = dataclasses.replace(SPEC, prompt=prompt)
        assert np.array_equal(pipe(spec).frames, plain(spec).frames)
    if means.in_turn == "all":
        assert next(pipe.model.text.parameters()).is_meta
        assert next(pipe.model.dit.parameters()).is_meta
        assert not next(pipe.model.vae.parameters()).is_meta


def test_edits_are_the_same_by_all_means(
    plain: Pipeline, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain(SPEC).save(tmp_path / "ball.mp4")
    edit = VideoSpec(prompt="a ball", steps=2, edit=Extend(video=str(tmp_path / "ball.mp4"), seconds=0.5))
    pipe = _with(tiny_model, MEANS[-1], monkeypatch)
    assert np.array_equal(pipe(edit).frames, plain(edit).frames)


def test_a_lora_comes_with_the_weights_it_changes(
    plain: Pipeline, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layer = "diffusion_model.blocks.1.cross_attn.v"
    pair = {f"{layer}.lora_down.weight": torch.randn(2, 32), f"{layer}.lora_up.weight": torch.randn(32, 2)}
    save_file(pair, tmp_path / "style.safetensors")
    spec = dataclasses.replace(SPEC, loras=((str(tmp_path / "style.safetensors"), 0.8),))
    pipe = _with(tiny_model, MEANS[-1], monkeypatch)
    changed = pipe(spec).frames
    assert np.array_equal(changed, plain(spec).frames)
    assert np.array_equal(pipe(SPEC).frames, plain(SPEC).frames)
    assert not np.array_equal(changed, pipe(SPEC).frames)


def test_a_stream_keeps_its_networks_and_reads_other_words(
    tiny_causal_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = VideoSpec(prompt="a red ball", width=32, height=32, steps=2)

    def frames(pipe: Pipeline) -> np.ndarray:
        stream = pipe.open_stream(spec)
        first = [next(stream) for _ in range(2)]
        stream.say("a blue box")
        return np.concatenate([*first, *(next(stream) for _ in range(2))])

    pipe = _with(tiny_causal_model, Means(in_turn="text", text_layers=1, blocks=1), monkeypatch)
    assert np.array_equal(frames(pipe), frames(Pipeline.load(str(tiny_causal_model), "cpu", "float32")))


def test_a_large_picture_is_decoded_in_tiles(
    plain: Pipeline, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = dataclasses.replace(SPEC, width=160, height=160, steps=1, guidance=1.0, negative=None)
    pipe = _with(tiny_model, Means(in_turn="all", tiles=Tiles(side=16)), monkeypatch)
    found, expected = pipe(spec).frames.astype(float), plain(spec).frames.astype(float)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 3


def test_weights_of_eight_bits_take_what_is_planned_and_show_nearly_the_same(
    plain: Pipeline, tiny_model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torchao")
    pipe = Pipeline.load(str(tiny_model), "cpu", "float32", quantize="int8")
    made, expected = pipe(SPEC).frames, plain(SPEC).frames
    assert not np.array_equal(made, expected)
    assert np.abs(made.astype(int) - expected).mean() < 2
    assert pipe.record(pipe.resolve(SPEC)).quantize == "int8"
    held = 0
    for weight in pipe.model.dit.parameters():
        parts = weight.__tensor_flatten__()[0] if type(weight) is not torch.nn.Parameter else []
        held += sum(getattr(weight, part).nbytes for part in parts) or weight.nbytes
    options = LoadOptions(dtype="float32", device="cpu", quantize="int8")
    plan = make_plan(dataclasses.replace(SPEC, model=str(tiny_model)), options)
    assert held == weight_bytes(plan.outline.model.dit, plan.means)
    assert held < 0.65 * weight_bytes(plan.outline.model.dit, Means())
    assert "weights of int8" in plan.means.describe()[0]


def test_weights_of_eight_bits_come_block_by_block_too(
    plain: Pipeline, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torchao")
    whole = Pipeline.load(str(tiny_model), "cpu", "float32", quantize="int8")(SPEC).frames
    pipe = Pipeline.load(str(tiny_model), "cpu", "float32", memory="1TB", quantize="int8")
    monkeypatch.setattr(pipe._fitter, "means", lambda _: dataclasses.replace(MEANS[-1], quantize="int8"))
    assert np.array_equal(pipe(SPEC).frames, whole)


@pytest.mark.parametrize("memory", [None, "1TB"])
def test_files_are_opened_once_for_a_plan_and_what_it_loads(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, memory: str | None
) -> None:
    opened: list[Path] = []

    def look(files: list[Path]) -> Tensors:
        opened.extend(files)
        return Tensors(files)

    monkeypatch.setattr(weights, "Tensors", look)
    options = LoadOptions(dtype="float32", device="cpu", memory=memory)
    plan = make_plan(dataclasses.replace(SPEC, model=str(tiny_model)), options)
    pipe = plan.load()
    pipe._networks.bring(pipe.model.dit)
    pipe._networks.bring(pipe.model.text)
    assert len(opened) == len(set(opened)) == 3
    assert next(plan.outline.model.dit.parameters()).is_meta
