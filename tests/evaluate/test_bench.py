"""The measurements of `kinema bench`: that they measure what they say, never how fast this machine is."""

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from kinema.errors import SpecError
from kinema.evaluate import bench
from kinema.evaluate.roofline import floors
from kinema.evaluate.stopwatch import Stopwatch
from kinema.evaluate.stream_bench import time_stream
from kinema.generate.pipeline import Pipeline
from kinema.spec import VideoSpec

CPU = torch.device("cpu")
REQUEST = VideoSpec(prompt="a ball", frames=5, width=32, height=32, steps=2)


def test_both_sides_make_the_same_video_and_every_stage_takes_time(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "peak_bytes", lambda *_: 1)
    found = bench.compare(str(tiny_model), REQUEST, ("Kinema", "diffusers"), rounds=1, device="cpu", dtype="float32")
    assert found.largest_error is not None
    assert found.largest_error < 1.01  # ours are rounded to whole numbers, and the latents agree to 1e-4
    for side in found.sides.values():
        assert all(seconds > 0 for seconds in side.stages_s.values())
        assert sum(side.stages_s.values()) <= side.end_to_end_s * 1.001


def test_the_peak_is_that_of_a_process_of_its_own(tiny_model: Path) -> None:
    spec = bench.outline_of(str(tiny_model)).resolve(dataclasses.replace(REQUEST, steps=1))
    assert bench.peak_bytes("Kinema", str(tiny_model), spec, "cpu", "float32") > 50e6


def test_without_diffusers_the_comparison_says_what_to_do(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(SpecError, match=r"pip install diffusers.*--alone"):
        bench.compare(str(tiny_model), REQUEST, ("Kinema", "diffusers"), rounds=1, device="cpu", dtype="float32")


def test_a_stage_within_another_is_counted_once() -> None:
    watch = Stopwatch(CPU)
    with watch.measure("outer", without=("inner",)):
        with watch.measure("inner"):
            time.sleep(0.05)
        time.sleep(0.01)
    found = watch.seconds(("outer", "inner", "never"))
    assert found["inner"] >= 0.05
    assert found["outer"] >= 0.01
    assert found["never"] == 0
    whole = Stopwatch(CPU)
    with whole.measure("outer"), whole.measure("inner"):
        time.sleep(0.02)
    assert whole.seconds(("outer",))["outer"] >= whole.seconds(("inner",))["inner"]


def test_the_floor_grows_with_the_work(tiny_model: Path) -> None:
    request = dataclasses.replace(REQUEST, model=str(tiny_model))
    one = floors(request, "cpu", "float32")
    two = floors(dataclasses.replace(request, steps=4), "cpu", "float32")
    assert list(one) == ["text", "denoise", "decode"]
    assert two["denoise"].flops == 2 * one["denoise"].flops
    assert two["denoise"].weight_bytes == 2 * one["denoise"].weight_bytes
    assert two["decode"].flops == one["decode"].flops
    assert all(floor.seconds > 0 for floor in one.values())


def test_a_stream_is_timed_stage_by_stage(tiny_causal_model: Path) -> None:
    pipe = Pipeline.load(str(tiny_causal_model), "cpu", "float32")
    calls: list[Any] = []
    decode = pipe.model.vae.decode_chunk
    pipe.model.vae.decode_chunk = lambda latent, cache: calls.append(latent.shape[2]) or decode(latent, cache)  # type: ignore[method-assign, func-returns-value]
    times = time_stream(pipe, dataclasses.replace(REQUEST, frames=None), 3)
    assert calls == [1] * 5  # one to warm up, the first, and three more
    assert times.frames_per_block == 4
    assert all(seconds > 0 for seconds in times.stages_s.values())
    assert times.first_frame_s > times.stages_s["text"]


def test_only_causal_models_stream(tiny_model: Path) -> None:
    with pytest.raises(SpecError, match="makes all frames at once"):
        time_stream(Pipeline.load(str(tiny_model), "cpu", "float32"), REQUEST, 3)
