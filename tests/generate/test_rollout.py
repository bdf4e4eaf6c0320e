"""Generation block by block, with the tiny model made causal."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from kinema.errors import JobCancelled, SpecError
from kinema.generate.pipeline import Pipeline
from kinema.generate.plan import make_plan
from kinema.generate.prepare import LoadOptions
from kinema.media import write_video
from kinema.model import CausalConfig
from kinema.spec import VideoSpec

SPEC = VideoSpec(prompt="a red ball rolls", frames=17, width=32, height=32, steps=2, seed=1)


@pytest.fixture(scope="module")
def folder(tiny_causal_model: Path) -> Path:
    return tiny_causal_model


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.load(str(folder), "cpu", "float32")


def test_the_folder_keeps_how_the_model_looks_back(pipe: Pipeline) -> None:
    assert pipe.model.causal == CausalConfig(block=1, window=3, sink=1, positions="relative")
    assert pipe.resolve(SPEC).solver == "consistency"


def test_the_first_frames_come_before_the_rest_is_made(pipe: Pipeline) -> None:
    steps = []
    stream = pipe.stream(SPEC, lambda progress: steps.append(progress.step) if progress.stage == "denoise" else None)
    assert next(stream).shape == (1, 32, 32, 3)
    assert max(steps) == 2  # of 10: one block of five is finished
    rest = list(stream)
    assert [len(chunk) for chunk in rest] == [4, 4, 4, 4]
    assert max(steps) == 10


def test_a_longer_video_begins_like_a_shorter_one(pipe: Pipeline) -> None:
    short = pipe(SPEC).frames
    long = pipe(dataclasses.replace(SPEC, frames=33)).frames
    assert np.array_equal(long[:17], short)
    assert not np.array_equal(short, pipe(dataclasses.replace(SPEC, seed=2)).frames)


@pytest.mark.parametrize("solver", ["consistency", "euler", "unipc"])
def test_every_solver_and_guidance_make_videos(pipe: Pipeline, solver: str) -> None:
    spec = dataclasses.replace(SPEC, frames=5, solver=solver)
    plain = pipe(spec).frames
    guided = pipe(dataclasses.replace(spec, guidance=3.0)).frames
    assert plain.shape == guided.shape == (5, 32, 32, 3)
    assert not np.array_equal(plain, guided)


def test_what_is_remembered_does_not_grow_with_the_video(pipe: Pipeline) -> None:
    causal = pipe.model.causal
    assert causal is not None
    sizes = {
        pipe.rollout(pipe.resolve(dataclasses.replace(SPEC, frames=frames)), causal).num_bytes for frames in (5, 401)
    }
    assert len(sizes) == 1


def test_a_first_image_is_the_first_latent_frame(pipe: Pipeline, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    write_video(tmp_path / "first.png", [pixels], 1)
    spec = pipe.resolve(dataclasses.replace(SPEC, image=str(tmp_path / "first.png")))
    latents = pipe.latents(spec)
    frame = torch.from_numpy(pixels)[None, None].float() / 127.5 - 1
    torch.testing.assert_close(latents[:, :, :1], pipe.model.vae.encode(frame).float(), rtol=0, atol=1e-5)
    assert not torch.equal(latents[:, :, 1:], pipe.latents(pipe.resolve(SPEC))[:, :, 1:])


@pytest.mark.parametrize("reads_frames", [True, False], ids=["clean", "on its way"])
def test_a_first_image_stands_amid_a_longer_block(folder: Path, tmp_path: Path, reads_frames: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    write_video(tmp_path / "first.png", [pixels], 1)
    pipe = Pipeline.load(str(folder), "cpu", "float32")
    pipe.model.causal = CausalConfig(block=3)
    pipe.model.reads_frames = reads_frames
    seen = []
    pipe.model.dit.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1][0].tolist()))
    made = pipe.latents(pipe.resolve(dataclasses.replace(SPEC, image=str(tmp_path / "first.png"))))
    frame = torch.from_numpy(pixels)[None, None].float() / 127.5 - 1
    torch.testing.assert_close(made[:, :, :1], pipe.model.vae.encode(frame).float(), rtol=0, atol=1e-5)
    assert not torch.equal(made[:, :, 1:], pipe.latents(pipe.resolve(SPEC))[:, :, 1:])
    first, second = seen[:2]
    assert (first, second[0]) == (([0.0, 1.0, 1.0], 0.0) if reads_frames else ([1.0, 1.0, 1.0], second[1]))


def test_a_stream_is_cancelled_between_two_steps(pipe: Pipeline) -> None:
    seen: list[np.ndarray] = []
    stream = pipe.stream(SPEC, None, lambda: len(seen) > 0)
    seen.append(next(stream))
    with pytest.raises(JobCancelled):
        next(stream)


def test_a_plan_counts_every_block(folder: Path) -> None:
    request = dataclasses.replace(SPEC, model=str(folder))
    short, long = (
        make_plan(dataclasses.replace(request, frames=frames), LoadOptions(device="cpu")).estimate.flops
        for frames in (17, 33)
    )
    assert 1.6 < long / short < 2.0


def test_another_prompt_changes_what_follows_and_nothing_before(pipe: Pipeline) -> None:
    spec = dataclasses.replace(SPEC, frames=33, fps=8.0)
    one = pipe(spec).frames
    other = pipe(dataclasses.replace(spec, changes=((2.0, "a blue box falls"),))).frames
    # Second 2 is frame 16, which ends latent frame 4; what follows is made for the new prompt.
    assert np.array_equal(one[:17], other[:17])
    assert np.abs(one[17:].astype(int) - other[17:]).mean() > 0.1


def test_changing_to_the_same_prompt_changes_nothing(folder: Path) -> None:
    pipe = Pipeline.load(str(folder), "cpu", "float32")
    pipe.model.causal = CausalConfig(block=1)
    once = pipe.latents(pipe.resolve(SPEC))
    again = pipe.latents(pipe.resolve(dataclasses.replace(SPEC, changes=((1.0, SPEC.prompt),))))
    torch.testing.assert_close(again, once, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (((9.0, "it stops"),), "ends at 2 s"),
        (((1.0, ""),), "prompt is empty"),
        (((1.0, "it stops"), (0.5, "it goes on")), "in their order"),
        (((0.0, "it stops"),), "a number above 0"),
    ],
)
def test_changes_that_cannot_be_are_refused(pipe: Pipeline, changes: tuple[tuple[float, str], ...], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        pipe.resolve(dataclasses.replace(SPEC, fps=8.0, changes=changes))


def test_a_model_that_makes_all_frames_at_once_has_one_prompt(tiny_model: Path) -> None:
    pipe = Pipeline.load(str(tiny_model), "cpu", "float32")
    with pytest.raises(SpecError, match="use a causal model"):
        pipe.resolve(dataclasses.replace(SPEC, fps=8.0, changes=((1.0, "it stops"),)))
