import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinema.errors import SpecError
from kinema.shapes import Stride, VideoShape
from kinema.spec import ModelDefaults, VideoSpec

STRIDE = Stride(4, 16, 16)
DEFAULTS = ModelDefaults(
    frames=17, height=64, width=64, fps=8.0, steps=20, guidance=4.0, solver="unipc", shift=3.0, negative="blurry"
)


def test_resolving_leaves_nothing_open_but_the_image() -> None:
    resolved = VideoSpec(prompt="a ball").resolve(DEFAULTS, STRIDE)
    left_open = {field.name for field in dataclasses.fields(resolved) if getattr(resolved, field.name) is None}
    assert left_open <= {"seconds", "image", "last_image", "guidance_low", "step_cache", "edit", "fit"}
    for field in dataclasses.fields(DEFAULTS):
        assert getattr(resolved, field.name) == getattr(DEFAULTS, field.name)
    assert resolved.shape == VideoShape(17, 64, 64)


def test_what_was_asked_for_wins_over_the_defaults() -> None:
    asked: dict[str, Any] = {
        "negative": "", "frames": 5, "width": 96, "height": 48, "fps": 12.0,
        "steps": 3, "guidance": 1.0, "solver": "euler", "shift": 1.0,
    }  # fmt: skip
    resolved = VideoSpec(prompt="a ball", **asked).resolve(DEFAULTS, STRIDE)
    assert {name: getattr(resolved, name) for name in asked} == asked


def test_resolving_twice_changes_nothing() -> None:
    resolved = VideoSpec(prompt="a ball", seconds=2).resolve(DEFAULTS, STRIDE)
    assert resolved.resolve(DEFAULTS, STRIDE) == resolved


@pytest.mark.parametrize(
    ("seconds", "fps", "frames"),
    [(2, 8.0, 17), (5, 16.0, 81), (5, 24.0, 121), (0, 8.0, 1), (0.5, 8, 5), (0.4, 30.0, 13)],
)
def test_seconds_count_from_the_first_frame_to_the_last(seconds: float, fps: float, frames: int) -> None:
    assert VideoSpec(prompt="a ball", seconds=seconds, fps=fps).resolve(DEFAULTS, STRIDE).frames == frames


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"seconds": 1.3}, r"use 1 \(9 frames\) or 1.5 \(13 frames\)"),
        ({"seconds": 1.05}, r"use 1 \(9 frames\) or 1.5 \(13 frames\)"),
        ({"seconds": 124_999.9}, r"^seconds=124999.9 .* use 124999.5 \(999997 frames\)$"),
        ({"frames": 18}, "use 17 or 21"),
        ({"frames": 1_000_000}, "use 999997$"),
        ({"width": 70}, "use 64 or 80"),
        ({"height": 8}, "use 16"),
    ],
)
def test_a_length_or_size_that_does_not_fit_names_the_nearest(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        VideoSpec(prompt="a ball", **asked).resolve(DEFAULTS, STRIDE)


@settings(deadline=None, derandomize=True)
@given(st.floats(0, 60), st.sampled_from([6.0, 8.0, 16.0, 23.976, 24.0, 30.0]))
def test_the_lengths_that_a_refusal_names_are_accepted(seconds: float, fps: float) -> None:
    try:
        frames = VideoSpec(prompt="a ball", seconds=seconds, fps=fps).resolve(DEFAULTS, STRIDE).frames
        assert frames is not None
        assert (frames - 1) / fps == pytest.approx(seconds, abs=0.00051)
    except SpecError as error:
        named = re.findall(r"([\d.]+) \((\d+) frames\)", str(error))
        assert len(named) == 2
        for length, frames in named:
            resolved = VideoSpec(prompt="a ball", seconds=float(length), fps=fps).resolve(DEFAULTS, STRIDE)
            assert resolved.frames == int(frames)
            assert abs(float(length) - seconds) <= STRIDE.time / fps + 0.001


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"prompt": "  "}, "prompt is empty"),
        ({"prompt": 3}, "prompt is 3; it takes text"),
        ({"model": ""}, "model is empty"),
        ({"image": ""}, "image is empty"),
        ({"negative": 3}, "negative is 3"),
        ({"seconds": 1, "frames": 17}, "give one of them"),
        ({"seconds": -1}, "seconds=-1"),
        ({"seconds": float("nan")}, "seconds=nan"),
        ({"frames": 0}, "frames=0 does not fit; it takes a whole number from 1 to 1000000"),
        ({"width": 65_552}, "width=65552 does not fit; it takes a whole number from 1 to 65536"),
        ({"prompt": "a\0ball"}, "prompt is 'a.*ball', which is no text in UTF-8"),
        ({"prompt": "a \udcff ball"}, "no text in UTF-8"),
        ({"negative": "a\0ball"}, "negative is 'a.*ball', which is no text"),
        ({"width": 64.0}, "width=64.0"),
        ({"height": True}, "height=True"),
        ({"fps": 0}, "fps=0 does not fit; it takes a number above 0"),
        ({"fps": 5000}, "fps=5000 does not fit; it takes a number from 0.01 to 1000"),
        ({"fps": 0.001}, "fps=0.001 does not fit; it takes a number from 0.01 to 1000"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**63}, "to 9223372036854775807"),
        ({"steps": 0}, "steps=0"),
        ({"steps": 1001}, "steps=1001 does not fit; it takes a whole number from 1 to 1000"),
        ({"guidance": float("inf")}, "guidance=inf"),
        ({"guidance": "4"}, "guidance='4'"),
        ({"shift": -1.0}, "shift=-1"),
    ],
)
def test_what_no_model_could_do_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        VideoSpec(**{"prompt": "a ball", **asked})


@pytest.mark.parametrize(("seconds", "fps"), [(1e308, 1000.0), (1e6, 24.0)])
def test_a_length_that_nobody_can_mean_is_refused(seconds: float, fps: float) -> None:
    with pytest.raises(SpecError, match="a clip has up to 1000000 frames"):
        VideoSpec(prompt="a ball", seconds=seconds, fps=fps).resolve(DEFAULTS, STRIDE)


def test_a_request_survives_a_round_trip_through_json() -> None:
    spec = VideoSpec(prompt='a "ball" \\ 漢', seconds=1.5, seed=2**63 - 1, image="first.png", guidance=0.0)
    assert VideoSpec.from_json(spec.to_json()) == spec
    assert "\n" not in spec.to_json()
    assert "frames" not in spec.to_json()


def test_a_request_with_an_unknown_field_names_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'guidance'"):
        VideoSpec.from_json('{"prompt": "a ball", "guidence": 3}')


def test_the_shape_of_an_open_request_is_refused() -> None:
    with pytest.raises(SpecError, match="still open"):
        _ = VideoSpec(prompt="a ball").shape
