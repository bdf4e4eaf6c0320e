import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import kinema
from kinema.errors import DeviceMemoryError, JobCancelled, SpecError
from kinema.generate import pipeline as pipeline_module
from kinema.generate.pipeline import Pipeline
from kinema.media import read_video, write_video
from kinema.spec import VideoSpec

GOLDEN = Path(__file__).parents[1] / "golden" / "generate_tiny_cpu.json"
SPEC = VideoSpec(prompt="a red ball rolls", frames=17, width=32, height=32, steps=3, guidance=3.0, seed=1)


@pytest.fixture(scope="module")
def pipe(tiny_model: Path) -> Pipeline:
    return Pipeline.load(str(tiny_model), "cpu", "float32")


@pytest.fixture
def first_image(tmp_path: Path) -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    write_video(tmp_path / "first.png", [pixels], 1)
    return str(tmp_path / "first.png")


def test_the_same_request_makes_the_same_frames(pipe: Pipeline, tiny_model: Path) -> None:
    one = pipe(SPEC)
    assert one.frames.shape == (17, 32, 32, 3)
    assert np.array_equal(one.frames, pipe(SPEC).frames)
    assert np.array_equal(one.frames, Pipeline.load(str(tiny_model), "cpu", "float32")(one.spec).frames)
    assert not np.array_equal(one.frames, pipe(dataclasses.replace(SPEC, seed=2)).frames)


def test_requests_do_not_leak_into_each_other(pipe: Pipeline) -> None:
    one = pipe(SPEC).frames
    other = pipe(dataclasses.replace(SPEC, prompt="a blue box falls")).frames
    assert not np.array_equal(one, other)
    assert np.array_equal(one, pipe(SPEC).frames)


@pytest.mark.parametrize(("pixels_per_chunk", "num_chunks"), [(1, 5), (3 * 4 * 32 * 32, 2), (10**9, 1)])
def test_the_stream_joined_is_the_whole_video(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch, pixels_per_chunk: int, num_chunks: int
) -> None:
    whole = pipe(SPEC).frames
    monkeypatch.setattr(pipeline_module, "DECODE_PIXELS", pixels_per_chunk)
    chunks = list(pipe.stream(SPEC))
    assert len(chunks) == num_chunks
    assert np.array_equal(np.concatenate(chunks), pipe(SPEC).frames)
    # Kernels may sum in another order for another number of frames: a last bit, which may round a byte up or down.
    assert np.abs(np.concatenate(chunks).astype(int) - whole).max() <= 1


def test_a_stream_is_checked_when_it_is_asked_for(pipe: Pipeline) -> None:
    with pytest.raises(SpecError, match="frames=16"):
        pipe.stream(dataclasses.replace(SPEC, frames=16))


@pytest.mark.parametrize(("width", "height", "frames"), [(64, 32, 5), (32, 48, 9), (48, 48, 1)])
def test_any_size_and_length_of_the_architecture_can_be_made(
    pipe: Pipeline, width: int, height: int, frames: int
) -> None:
    video = pipe(dataclasses.replace(SPEC, width=width, height=height, frames=frames, steps=1))
    assert video.frames.shape == (frames, height, width, 3)


@pytest.mark.parametrize("solver", ["euler", "heun", "unipc"])
def test_a_given_image_keeps_the_latent_of_the_first_frame_exactly(
    pipe: Pipeline, first_image: str, solver: str
) -> None:
    spec = pipe.resolve(dataclasses.replace(SPEC, image=first_image, solver=solver))
    latent = pipe.latents(spec)
    picture = torch.from_numpy(read_video(first_image).frames)[None].float() / 127.5 - 1
    with torch.inference_mode():
        expected = pipe.model.vae.encode(picture)[:, :, 0]
    assert torch.equal(latent[:, :, 0], expected)
    without = pipe.latents(dataclasses.replace(spec, image=None))
    assert not torch.equal(latent[:, :, 1:], without[:, :, 1:])


def test_an_image_of_the_right_proportions_is_resized(pipe: Pipeline, tmp_path: Path) -> None:
    write_video(tmp_path / "large.png", [np.full((96, 96, 3), 200, np.uint8)], 1)
    assert pipe(dataclasses.replace(SPEC, image=str(tmp_path / "large.png"), steps=1)).frames.shape[1:3] == (32, 32)


def test_an_image_of_other_proportions_is_refused_with_a_size_that_fits(pipe: Pipeline, tmp_path: Path) -> None:
    write_video(tmp_path / "wide.png", [np.zeros((50, 100, 3), np.uint8)], 1)
    spec = dataclasses.replace(SPEC, image=str(tmp_path / "wide.png"))
    with pytest.raises(SpecError, match=r"use size (\d+)x(\d+)") as refusal:
        pipe.resolve(spec)
    width, height = (int(side) for side in str(refusal.value).split("use size ")[1].split(",")[0].split("x"))
    assert width == 2 * height
    pipe.resolve(dataclasses.replace(spec, width=width, height=height))


def test_guidance_is_one_call_under_two_texts_and_none_at_scale_one(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []
    forward = pipe.model.dit.forward

    def counted(latent: Any, times: Any, text: Any, **named: Any) -> Any:
        assert len(latent) == 1
        texts.append(len(text.keys[0]))
        return forward(latent, times, text, **named)

    monkeypatch.setattr(pipe.model.dit, "forward", counted)
    pipe(dataclasses.replace(SPEC, guidance=3.0))
    pipe(dataclasses.replace(SPEC, guidance=1.0))
    assert texts == [2, 2, 2, 1, 1, 1]


def test_guidance_leads_away_from_the_negative_prompt(pipe: Pipeline) -> None:
    plain = pipe.latents(pipe.resolve(dataclasses.replace(SPEC, guidance=1.0)))
    same = pipe.latents(pipe.resolve(dataclasses.replace(SPEC, negative=SPEC.prompt, guidance=5.0)))
    torch.testing.assert_close(same, plain, rtol=1e-4, atol=1e-4)
    other = pipe.latents(pipe.resolve(dataclasses.replace(SPEC, negative="a blue box", guidance=5.0)))
    assert (other - plain).abs().max() > 1e-3


def test_the_text_is_encoded_once_per_prompt(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    forward = pipe.model.text.forward

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return forward(*arguments)

    monkeypatch.setattr(pipe.model.text, "forward", counted)
    for seed in range(3):
        pipe(dataclasses.replace(SPEC, prompt="a green cone", seed=seed))
    assert len(calls) == 1


def test_every_stage_is_reported_to_its_end(pipe: Pipeline, first_image: str) -> None:
    reports = []
    pipe(dataclasses.replace(SPEC, image=first_image), reports.append)
    assert list(dict.fromkeys(report.stage for report in reports)) == ["text", "image", "denoise", "decode"]
    last = {report.stage: report for report in reports}
    assert all(report.step == report.total for report in last.values())
    assert last["denoise"].total == SPEC.steps


def test_a_cancelled_generation_stops_between_steps(pipe: Pipeline) -> None:
    reports: list[Any] = []
    with pytest.raises(JobCancelled):
        pipe(SPEC, reports.append, lambda: reports[-1].stage == "denoise" and reports[-1].step == 2)
    assert (reports[-1].stage, reports[-1].step) == ("denoise", 2)


def test_a_device_without_memory_is_explained(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(pipe.model.dit, "forward", exhausted)
    with pytest.raises(DeviceMemoryError, match="17 frames of 32x32"):
        pipe(SPEC)


def test_other_failures_of_the_network_stay_what_they_are(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(pipe.model.dit, "forward", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        pipe(SPEC)


def test_latents_and_solver_stay_in_float32_whatever_the_networks_use(tiny_model: Path) -> None:
    half = Pipeline.load(str(tiny_model), "cpu", "bfloat16")
    assert {weight.dtype for weight in half.model.dit.parameters()} == {torch.bfloat16}
    latent = half.latents(half.resolve(SPEC))
    assert latent.dtype == torch.float32
    assert not torch.equal(latent, latent.bfloat16().float())


def test_the_python_face_is_short(tiny_model: Path, tmp_path: Path) -> None:
    video = kinema.Pipeline.load(str(tiny_model))(kinema.VideoSpec(prompt="a ball", frames=5, steps=1))
    video.save(tmp_path / "out.mp4")
    assert read_video(tmp_path / "out.mp4").frames.shape == video.frames.shape
    with pytest.raises(kinema.MediaError, match="exists"):
        video.save(tmp_path / "out.mp4")
    video.save(tmp_path / "out.mp4", force=True)


def test_a_small_generation_has_the_golden_numbers(pipe: Pipeline) -> None:
    """A change of them is a change of every video ever recorded; `make golden` writes them anew."""
    spec = pipe.resolve(SPEC)
    latent = pipe.latents(spec)
    measured = {"latent": _numbers(latent), "frames": _numbers(torch.cat(list(pipe.decode(latent, spec))))}
    if os.environ.get("KINEMA_GOLDEN") == "rewrite":
        GOLDEN.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    expected = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for name, numbers in expected.items():
        assert measured[name] == pytest.approx(numbers, abs=1e-4)


def _numbers(values: torch.Tensor) -> dict[str, float]:
    """A few numbers that move when any of the values does."""
    flat = values.flatten().double()
    waves = torch.sin(torch.arange(len(flat), dtype=torch.float64))
    return {
        "mean": flat.mean().item(),
        "std": flat.std().item(),
        "projection": (flat @ waves).item() / len(flat) ** 0.5,
        "first": flat[0].item(),
        "last": flat[-1].item(),
    }
