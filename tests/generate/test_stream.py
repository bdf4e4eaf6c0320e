"""Streams without end, with the tiny model made causal."""

import dataclasses
import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from kinema.errors import SpecError
from kinema.generate.pipeline import Pipeline
from kinema.generate.stream import Stream
from kinema.media import write_video
from kinema.model import CAUSAL_PRESETS, CausalConfig
from kinema.spec import VideoSpec

SPEC = VideoSpec(prompt="a red ball rolls", width=32, height=32, steps=2, seed=1)


@pytest.fixture(scope="module")
def folder(tiny_model: Path) -> Path:
    return tiny_model


@pytest.fixture
def pipe(folder: Path) -> Pipeline:
    pipe = Pipeline.load(str(folder), "cpu", "float32", causal="longlive")
    pipe.model.causal = CausalConfig(block=1, window=3, sink=1, positions="relative")
    return pipe


def _take(stream: Iterable[np.ndarray], count: int) -> np.ndarray:
    return np.concatenate(list(itertools.islice(stream, count)))


def test_an_endless_stream_begins_like_a_video_with_an_end(pipe: Pipeline) -> None:
    stream = pipe.open_stream(SPEC)
    endless = _take(stream, 5)
    assert stream.num_frames == 17
    assert stream.spec.frames is None
    assert np.array_equal(endless, pipe(dataclasses.replace(SPEC, frames=17)).frames)


def test_a_stream_with_an_end_ends_there(pipe: Pipeline) -> None:
    assert [len(chunk) for chunk in pipe.open_stream(dataclasses.replace(SPEC, frames=9))] == [1, 4, 4]


def test_what_a_stream_holds_does_not_grow(pipe: Pipeline) -> None:
    stream = pipe.open_stream(SPEC)
    before = stream.num_bytes
    _take(stream, 8)
    state = stream.snapshot()
    sizes = [sum(tensor.nbytes for layer in state.rollout.cache.layers for tensor in layer)]
    _take(stream, 8)
    state = stream.snapshot()
    sizes.append(sum(tensor.nbytes for layer in state.rollout.cache.layers for tensor in layer))
    assert sizes == [before, before]
    assert sorted(state.rollout.made) == [0, 14, 15]


def test_a_stream_that_is_rewound_makes_the_same_frames_again(pipe: Pipeline) -> None:
    stream = pipe.open_stream(SPEC)
    _take(stream, 4)
    moment = stream.snapshot()
    once = _take(stream, 4)
    stream.rewind(moment)
    assert stream.num_frames == 13
    assert np.array_equal(_take(stream, 4), once)
    stream.rewind(moment)
    assert np.array_equal(_take(stream, 4), once)


def test_a_fork_goes_its_own_way_and_leaves_the_stream_alone(pipe: Pipeline) -> None:
    straight = _take(pipe.open_stream(SPEC), 8)
    stream = pipe.open_stream(SPEC)
    start = _take(stream, 4)
    fork = stream.fork()
    fork.say("a blue box falls")
    other = _take(fork, 4)
    assert np.array_equal(np.concatenate([start, _take(stream, 4)]), straight)
    assert other.shape == (16, 32, 32, 3)
    assert not np.array_equal(other, straight[13:])


def test_words_said_on_the_way_are_those_of_a_timed_prompt(pipe: Pipeline) -> None:
    spec = dataclasses.replace(SPEC, fps=8.0)
    timed = pipe.open_stream(dataclasses.replace(spec, frames=33, changes=((2.0, "a blue box falls"),)))
    stream = pipe.open_stream(spec)
    told = [_take(stream, 5)]
    stream.say("a blue box falls")
    told.append(_take(stream, 4))
    assert np.array_equal(np.concatenate(told), np.concatenate(list(timed)))


def test_an_endless_stream_takes_timed_prompts_too(pipe: Pipeline) -> None:
    changes = ((2.0, "a blue box falls"),)
    endless = pipe.open_stream(dataclasses.replace(SPEC, fps=8.0, changes=changes))
    ending = pipe.open_stream(dataclasses.replace(SPEC, fps=8.0, frames=33, changes=changes))
    assert np.array_equal(_take(endless, 9), np.concatenate(list(ending)))


def test_a_snapshot_keeps_the_words_that_were_said_but_not_yet_shown(pipe: Pipeline) -> None:
    stream = pipe.open_stream(SPEC)
    _take(stream, 3)
    stream.say("a blue box falls")
    fork = stream.fork()
    assert np.array_equal(_take(stream, 3), _take(fork, 3))


def test_a_stream_from_a_picture_begins_with_it(pipe: Pipeline, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    write_video(tmp_path / "first.png", [pixels], 1)
    spec = dataclasses.replace(SPEC, image=str(tmp_path / "first.png"))
    stream = pipe.open_stream(spec)
    picture = torch.from_numpy(pixels)[None, None].float() / 127.5 - 1
    with torch.inference_mode():
        seen = pipe.model.vae.decode(pipe.model.vae.encode(picture))[0]
    first = next(stream)
    assert np.abs(first - ((seen + 1) * 127.5).numpy()).max() <= 0.51
    assert np.array_equal(np.concatenate([first, _take(stream, 2)]), pipe(dataclasses.replace(spec, frames=9)).frames)


def test_a_model_that_makes_all_frames_at_once_does_not_stream(folder: Path) -> None:
    with pytest.raises(SpecError, match="makes all frames at once"):
        Pipeline.load(str(folder), "cpu", "float32").open_stream(SPEC)


def test_a_model_without_a_window_needs_a_length(pipe: Pipeline) -> None:
    pipe.model.causal = CausalConfig(block=1)
    with pytest.raises(SpecError, match=r"give seconds, or a window \(preset self-forcing or longlive\)"):
        pipe.open_stream(SPEC)
    assert isinstance(pipe.open_stream(dataclasses.replace(SPEC, frames=5)), Stream)


def test_an_unknown_preset_is_answered_with_the_nearest(folder: Path) -> None:
    with pytest.raises(SpecError, match="did you mean 'longlive'"):
        Pipeline.load(str(folder), "cpu", "float32", causal="longliv")


def test_within_its_window_the_preset_of_self_forcing_looks_back_on_everything(folder: Path) -> None:
    windowed = Pipeline.load(str(folder), "cpu", "float32", causal="self-forcing")
    everything = Pipeline.load(str(folder), "cpu", "float32", causal="self-forcing")
    everything.model.causal = CausalConfig(block=3)
    spec = windowed.resolve(dataclasses.replace(SPEC, frames=81, steps=1))
    assert spec.solver == "consistency"
    torch.testing.assert_close(windowed.latents(spec), everything.latents(spec), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CAUSAL_PRESETS)
def test_every_preset_streams_past_its_window(folder: Path, name: str) -> None:
    stream = Pipeline.load(str(folder), "cpu", "float32", causal=name).open_stream(
        dataclasses.replace(SPEC, width=16, height=16, steps=1)
    )
    chunks = list(itertools.islice(stream, 9))
    assert [len(chunk) for chunk in chunks] == [9, *[12] * 8]
    assert all(chunk.std() > 1 for chunk in chunks)
