"""Edits as values: what cannot be is refused, and JSON gives back what it got."""

import json
from typing import Any

import pytest

import kinema
from kinema.errors import SpecError
from kinema.shapes import Stride
from kinema.spec import Cut, Edit, ModelDefaults, VideoSpec, edit_files, with_files

EDITS: list[Edit] = [
    kinema.KeyFrames(frames=(kinema.KeyFrame(image="a.png", second=0.0), kinema.KeyFrame(image="b.png", second=2.0))),
    kinema.Extend(video="a.mp4", seconds=1.0, direction="backward"),
    kinema.Loop(video="a.mp4", seconds=1.0),
    kinema.Remix(video="a.mp4", strength=0.5),
    kinema.Vary(video="a.mp4"),
    kinema.Replace(video="a.mp4", start=0.5, end=1.0, box=(0, 8, 32, 40)),
    kinema.Replace(video="a.mp4", mask="mask.mp4"),
    kinema.Blend(video="a.mp4", other="b.mp4", seconds=1.0),
    kinema.Storyboard(cards=(kinema.Card(second=1.0, prompt="it stops"), kinema.Card(second=2.0, image="b.png"))),
    kinema.Join(cuts=(Cut(video="a.mp4", end=1.0), Cut(video="b.mp4"))),
]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.kind)
def test_json_gives_back_the_edit_that_it_got(edit: Edit) -> None:
    spec = VideoSpec(prompt="a red ball rolls", edit=edit, fit="crop")
    assert VideoSpec.from_json(spec.to_json()) == spec


def test_a_mistake_in_an_edit_is_named_by_its_place() -> None:
    text = json.dumps({"prompt": "a ball", "edit": {"kind": "remix", "video": "a.mp4", "strenght": 0.5}})
    with pytest.raises(SpecError, match=r"edit\.strenght.*did you mean"):
        VideoSpec.from_json(text)


BAD: list[tuple[type[Any], dict[str, Any], str]] = [
    (kinema.KeyFrames, {"frames": ()}, "key_frames is empty"),
    (kinema.KeyFrame, {"image": "a.png", "second": -1.0}, "second=-1 does not fit; it takes a number from 0 up"),
    (kinema.Extend, {"video": "a.mp4", "seconds": 0.0}, "seconds=0 does not fit; it takes a number above 0"),
    (kinema.Extend, {"video": "a.mp4", "seconds": 1.0, "direction": "up"}, "use forward or backward"),
    (kinema.Loop, {"video": "", "seconds": 1.0}, "video is empty"),
    (kinema.Remix, {"video": "a.mp4", "strength": 0.0}, "strength=0 does not fit; it takes a number above 0 to 1"),
    (kinema.Vary, {"video": "a.mp4", "strength": 1.5}, "strength=1.5"),
    (kinema.Replace, {"video": "a.mp4"}, "names no part"),
    (kinema.Replace, {"video": "a.mp4", "start": 2.0, "end": 1.0}, "span from 2 s to 1 s is empty"),
    (kinema.Replace, {"video": "a.mp4", "box": (0, 0, 8, 8), "mask": "m.png"}, "give one of them"),
    (kinema.Replace, {"video": "a.mp4", "box": (8, 0, 8, 8)}, "is empty; it takes left, top"),
    (kinema.Replace, {"video": "a.mp4", "box": (-8, 0, 8, 8)}, "box=-8"),
    (kinema.Blend, {"video": "a.mp4", "other": "b.mp4", "seconds": -1.0}, "seconds=-1"),
    (kinema.Card, {"second": 1.0}, "give it a prompt, an image, or both"),
    (kinema.Storyboard, {"cards": ()}, "storyboard is empty"),
    (kinema.Join, {"cuts": ()}, "join is empty"),
    (kinema.Cut, {"video": "a.mp4", "start": 1.0, "end": 1.0}, "from 1 s to 1 s is empty"),
]


@pytest.mark.parametrize(("kind", "values", "message"), BAD)
def test_an_edit_that_cannot_be_is_refused(kind: type[Any], values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        kind(**values)


def test_key_frames_and_cards_come_in_their_order() -> None:
    late, early = kinema.KeyFrame(image="a.png", second=2.0), kinema.KeyFrame(image="b.png", second=1.0)
    with pytest.raises(SpecError, match="at 2 s and then at 1 s"):
        kinema.KeyFrames(frames=(late, early))
    with pytest.raises(SpecError, match="at 1 s and then at 1 s"):
        kinema.Storyboard(cards=(kinema.Card(second=1.0, prompt="x"), kinema.Card(second=1.0, prompt="y")))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"edit": kinema.Remix(video="a.mp4"), "seconds": 2.0}, "remix takes its length from the video"),
        ({"edit": kinema.Remix(video="a.mp4"), "image": "a.png"}, "works on a video, not on a picture"),
        ({"edit": EDITS[8], "changes": ((1.0, "it stops"),)}, "both change the video"),
        ({"fit": "zoom"}, "use crop, pad or stretch"),
        ({"prompt": "", "edit": kinema.Remix(video="a.mp4")}, "prompt is empty"),
    ],
)
def test_what_contradicts_an_edit_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        VideoSpec(**{"prompt": "a ball", **values})


def test_an_edit_of_a_video_leaves_its_length_to_the_video() -> None:
    defaults = ModelDefaults(
        frames=17, height=64, width=64, fps=8.0, steps=20, guidance=4.0, solver="unipc", shift=3.0
    )  # fmt: skip
    stride = Stride(4, 16, 16)
    resolved = VideoSpec(prompt="a ball", edit=kinema.Remix(video="a.mp4")).resolve(defaults, stride)
    assert (resolved.frames, resolved.fps, resolved.width) == (None, None, 64)
    made = VideoSpec(prompt="a ball", edit=EDITS[0]).resolve(defaults, stride)
    assert (made.frames, made.fps) == (17, 8.0)
    with pytest.raises(SpecError, match="width=70"):
        VideoSpec(prompt="a ball", edit=kinema.Remix(video="a.mp4"), width=70).resolve(defaults, stride)


def test_joining_needs_no_prompt() -> None:
    assert VideoSpec(prompt="", edit=EDITS[-1]).prompt == ""


def test_the_files_of_an_edit_can_be_found_and_moved() -> None:
    assert list(edit_files(EDITS[5])) == ["a.mp4"]
    assert list(edit_files(EDITS[6])) == ["a.mp4", "mask.mp4"]
    assert list(edit_files(EDITS[9])) == ["a.mp4", "b.mp4"]
    moved = with_files(EDITS[0], {"a.png": "/tmp/1.png"})
    assert list(edit_files(moved)) == ["/tmp/1.png", "b.png"]
    assert with_files(EDITS[3], {}) == EDITS[3]
