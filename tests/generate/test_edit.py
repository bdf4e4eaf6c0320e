"""Edits with the tiny model: what is given stays, what is made is new, and what cannot be is said."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import kinema
from kinema.errors import MediaError, SpecError
from kinema.generate.pipeline import Pipeline
from kinema.media import read_video, write_video
from kinema.spec import Cut, Edit, VideoSpec

PROMPT = "a red ball rolls"


@pytest.fixture(scope="module")
def pipe(tiny_model: Path) -> Pipeline:
    return Pipeline.load(str(tiny_model), "cpu", "float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of 32x32 at 8 frames per second: a.mp4 of 14 frames, b.mp4 of 13; a wide one; pictures; masks."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    for name, count, width in (("a", 14, 32), ("b", 13, 32), ("wide", 13, 64)):
        coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 4, 4, 4))).float()
        smooth = torch.nn.functional.interpolate(coarse, (count, 32, width), mode="trilinear")[0]
        write_video(folder / f"{name}.mp4", [smooth.permute(1, 2, 3, 0).byte().numpy()], 8)
    for name in ("one", "two"):
        write_video(folder / f"{name}.png", [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)], 1)
    mask = np.zeros((32, 32, 3), np.uint8)
    mask[8:24, :16] = 255
    write_video(folder / "mask.png", [mask], 1)
    write_video(folder / "mask.gif", [np.stack([mask] * 5)], 8)
    write_video(folder / "black.png", [mask * 0], 1)
    (folder / "broken.mp4").write_bytes((folder / "a.mp4").read_bytes()[:400])
    return folder


def _make(pipe: Pipeline, folder: Path, edit: Edit, **more: Any) -> np.ndarray:
    places = {path: str(folder / path) for path in kinema.spec.edit_files(edit)}
    edit = kinema.spec.with_files(edit, places)
    frames: np.ndarray = pipe(VideoSpec(prompt=PROMPT, edit=edit, steps=2, **more)).frames
    return frames


def _read(folder: Path, name: str) -> np.ndarray:
    return read_video(folder / name).frames


def _differs(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.abs(one.astype(int) - other).mean() > 3)


def test_what_comes_after_a_video_leaves_it_as_it_is(pipe: Pipeline, folder: Path) -> None:
    made = _make(pipe, folder, kinema.Extend(video="a.mp4", seconds=1.0))
    assert len(made) == 14 + 8
    assert np.array_equal(made[:14], _read(folder, "a.mp4"))
    again = _make(pipe, folder, kinema.Extend(video="a.mp4", seconds=1.0), seed=1)
    assert np.array_equal(again[:14], made[:14])
    assert _differs(again[14:], made[14:])


def test_what_comes_before_a_video_leaves_it_as_it_is(pipe: Pipeline, folder: Path) -> None:
    made = _make(pipe, folder, kinema.Extend(video="a.mp4", seconds=0.5, direction="backward"))
    assert len(made) == 4 + 14
    assert np.array_equal(made[4:], _read(folder, "a.mp4"))


def test_what_is_new_depends_on_what_was_there(pipe: Pipeline, folder: Path) -> None:
    one, other = (_make(pipe, folder, kinema.Extend(video=name, seconds=1.0))[-8:] for name in ("a.mp4", "b.mp4"))
    assert _differs(one, other)


def test_a_loop_is_the_video_and_a_way_back(pipe: Pipeline, folder: Path) -> None:
    made = _make(pipe, folder, kinema.Loop(video="a.mp4", seconds=0.5))
    assert len(made) == 14 + 4
    assert np.array_equal(made[:14], _read(folder, "a.mp4"))


def test_replacing_a_span_changes_nothing_outside_of_it(pipe: Pipeline, folder: Path) -> None:
    made = _make(pipe, folder, kinema.Replace(video="a.mp4", start=0.75, end=1.25))
    source = _read(folder, "a.mp4")
    assert len(made) == 14
    assert np.array_equal(made[:6], source[:6])
    assert np.array_equal(made[10:], source[10:])
    assert all(_differs(made[i], source[i]) for i in range(6, 10))


@pytest.mark.parametrize("edit", [
    kinema.Replace(video="a.mp4", box=(0, 8, 16, 24), end=1.625),
    kinema.Replace(video="a.mp4", mask="mask.png", end=1.625),
], ids=["box", "mask"])  # fmt: skip
def test_replacing_a_region_changes_nothing_outside_of_it(pipe: Pipeline, folder: Path, edit: Edit) -> None:
    made, source = _make(pipe, folder, edit), _read(folder, "a.mp4")
    inside = np.zeros((14, 32, 32), bool)
    inside[:13, 8:24, :16] = True
    assert np.array_equal(made[~inside], source[~inside])
    assert _differs(made[inside], source[inside])


def test_a_mask_that_moves_is_followed(pipe: Pipeline, folder: Path, tmp_path: Path) -> None:
    mask = np.zeros((13, 32, 32, 3), np.uint8)
    for i in range(13):
        mask[i, :, 2 * i : 2 * i + 8] = 255
    write_video(tmp_path / "moving.gif", [mask], 8)
    edit = kinema.Replace(video=str(folder / "b.mp4"), mask=str(tmp_path / "moving.gif"))
    made = pipe(VideoSpec(prompt=PROMPT, edit=edit, steps=2)).frames
    inside, source = mask[..., 0] > 0, _read(folder, "b.mp4")
    assert np.array_equal(made[~inside], source[~inside])
    assert _differs(made[inside], source[inside])


def test_a_remix_keeps_the_more_the_weaker_it_is(pipe: Pipeline, folder: Path) -> None:
    with torch.inference_mode():
        source = torch.from_numpy(_read(folder, "b.mp4")).float()[None] / 127.5 - 1
        seen = ((pipe.model.vae.decode(pipe.model.vae.encode(source))[0] + 1) * 127.5).numpy()
    errors = [
        np.abs(_make(pipe, folder, kinema.Remix(video="b.mp4", strength=strength)) - seen).mean()
        for strength in (0.01, 0.3, 1.0)
    ]
    assert errors[0] < 2
    assert errors[0] < errors[1] < errors[2]


def test_a_remix_of_full_strength_is_a_video_from_the_prompt(pipe: Pipeline, folder: Path) -> None:
    made = _make(pipe, folder, kinema.Remix(video="b.mp4", strength=1.0))
    assert np.array_equal(made, pipe(VideoSpec(prompt=PROMPT, frames=13, steps=2)).frames)


def test_takes_of_a_video_differ_by_their_seed_and_stay_near_it(pipe: Pipeline, folder: Path) -> None:
    one, two = (_make(pipe, folder, kinema.Vary(video="b.mp4"), seed=seed) for seed in (1, 2))
    assert len(one) == 13
    assert not np.array_equal(one, two)


def test_a_blend_begins_as_one_video_and_ends_as_the_other(pipe: Pipeline, folder: Path) -> None:
    made = _make(pipe, folder, kinema.Blend(video="a.mp4", other="b.mp4", seconds=1.0))
    one, other = _read(folder, "a.mp4"), _read(folder, "b.mp4")
    assert len(made) == 14 + 13 - 8
    assert np.array_equal(made[:6], one[:6])
    assert np.array_equal(made[14:], other[8:])
    assert _differs(made[6:14], one[6:])


def _keys(*pairs: tuple[str, float]) -> kinema.KeyFrames:
    return kinema.KeyFrames(frames=tuple(kinema.KeyFrame(image=image, second=second) for image, second in pairs))


def test_key_frames_hold_the_latents_of_their_pictures(pipe: Pipeline, folder: Path) -> None:
    edit = kinema.spec.with_files(
        _keys(("one.png", 0.0), ("two.png", 1.5)), {name: str(folder / name) for name in ("one.png", "two.png")}
    )
    spec = pipe.resolve(VideoSpec(prompt=PROMPT, edit=edit, frames=17, steps=2))
    latents = pipe.latents(spec)
    picture = torch.from_numpy(_read(folder, "one.png"))[None].float() / 127.5 - 1
    with torch.inference_mode():
        first = pipe.model.vae.encode(picture).float()[:, :, 0]
    torch.testing.assert_close(latents[:, :, 0], first, rtol=0, atol=1e-5)
    elsewhere = pipe.latents(dataclasses.replace(spec, seed=9))
    assert torch.equal(latents[:, :, 3], elsewhere[:, :, 3])  # frames 9 to 12, of which 12 is 1.5 s
    assert not torch.equal(latents[:, :, 2], elsewhere[:, :, 2])


def test_a_first_and_a_last_picture_are_both_met(pipe: Pipeline, folder: Path) -> None:
    ends = {"image": str(folder / "one.png"), "last_image": str(folder / "two.png")}
    spec = pipe.resolve(VideoSpec(prompt=PROMPT, frames=17, steps=2, **ends))
    keys = kinema.spec.with_files(
        _keys(("one.png", 0.0), ("two.png", 2.0)), {name: str(folder / name) for name in ("one.png", "two.png")}
    )
    other = pipe.resolve(VideoSpec(prompt=PROMPT, frames=17, steps=2, edit=keys))
    assert torch.equal(pipe.latents(spec), pipe.latents(other))


def test_a_storyboard_begins_as_its_first_card_alone(pipe: Pipeline, folder: Path) -> None:
    board = kinema.Storyboard(
        cards=(kinema.Card(second=1.0, prompt="a blue box falls"), kinema.Card(second=1.5, image="two.png"))
    )
    made = _make(pipe, folder, board, frames=17)
    alone = pipe(VideoSpec(prompt=PROMPT, frames=9, steps=2)).frames
    assert len(made) == 17
    assert np.array_equal(made[:9], alone)
    other = _make(pipe, folder, dataclasses.replace(board, cards=board.cards[1:]), frames=17)
    assert _differs(made[9:], other[9:])


def test_parts_of_videos_are_joined_as_they_are(pipe: Pipeline, folder: Path) -> None:
    edit = kinema.Join(cuts=(Cut(video="a.mp4", start=0.25, end=1.0), Cut(video="b.mp4"), Cut(video="a.mp4", end=0.5)))
    places = {name: str(folder / name) for name in ("a.mp4", "b.mp4")}
    made = pipe(VideoSpec(prompt="", edit=kinema.spec.with_files(edit, places)))
    one, other = _read(folder, "a.mp4"), _read(folder, "b.mp4")
    assert np.array_equal(made.frames, np.concatenate([one[2:8], other, one[:4]]))
    assert made.spec.frames == 23


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_video_of_other_proportions_is_fitted_as_asked(pipe: Pipeline, folder: Path, fit: Any) -> None:
    made = _make(pipe, folder, kinema.Extend(video="wide.mp4", seconds=0.5), fit=fit)
    source = _read(folder, "wide.mp4")
    assert made.shape == (17, 32, 32, 3)
    if fit == "crop":
        assert np.abs(made[:13].astype(int) - source[:, :, 16:48]).max() <= 1
    elif fit == "pad":
        assert not made[:13, :8].any()
        assert not made[:13, 24:].any()
        assert made[:13, 8:24].mean() > 50
    else:
        assert np.abs(made[:13].mean(axis=(1, 2)) - source.mean(axis=(1, 2))).max() < 2


def test_an_edit_is_recorded_with_its_files_and_made_again(pipe: Pipeline, folder: Path) -> None:
    edit = kinema.Extend(video=str(folder / "a.mp4"), seconds=0.5)
    once = pipe(VideoSpec(prompt=PROMPT, edit=edit, steps=2))
    record = pipe.record(once.spec)
    assert len(record.files_sha256) == 1
    assert VideoSpec.from_json(once.spec.to_json()) == once.spec
    assert np.array_equal(pipe(once.spec).frames, once.frames)


def test_the_number_of_its_stages_is_reported(pipe: Pipeline, folder: Path) -> None:
    reports: list[Any] = []
    edit = kinema.Remix(video=str(folder / "b.mp4"), strength=0.5)
    pipe(VideoSpec(prompt=PROMPT, edit=edit, steps=10), reports.append)
    last = {report.stage: report for report in reports}
    assert list(last) == ["text", "image", "denoise", "decode"]
    assert all(report.step == report.total for report in last.values())
    assert 1 < last["denoise"].total < 10


BAD: list[tuple[Edit, dict[str, Any], str]] = [
    (kinema.Extend(video="a.mp4", seconds=0.7), {}, "at 8 frames per second.* use 0.5 or 1 s"),
    (kinema.Extend(video="one.png", seconds=1.0), {}, "single picture"),
    (kinema.Extend(video="missing.mp4", seconds=1.0), {}, "missing.mp4 does not exist"),
    (kinema.Extend(video="broken.mp4", seconds=1.0), {}, "broken.mp4 .*cannot be read"),
    (kinema.Extend(video="wide.mp4", seconds=1.0), {}, r"other proportions.*fit: crop, pad or stretch"),
    (kinema.Extend(video="a.mp4", seconds=1.0), {"fps": 24.0}, "a.mp4 has 8 frames per second; drop fps"),
    (kinema.Extend(video="a.mp4", seconds=1.0), {"frames": 21}, "takes its length from the video"),
    (kinema.Remix(video="a.mp4"), {}, r"a.mp4 has 14 frames.*13 \(1.625 s\) or 17"),
    (kinema.Remix(video="a.mp4"), {"width": 40}, "width=40 does not fit"),
    (kinema.Replace(video="a.mp4", start=0.8), {}, "between two frames; use 0.75 or 0.875"),
    (kinema.Replace(video="a.mp4", start=3.0), {}, "beyond .*a.mp4, which has 14 frames"),
    (kinema.Replace(video="a.mp4", box=(0, 0, 40, 8), end=1.0), {}, "reaches out of the video, which is 32x32"),
    (kinema.Replace(video="a.mp4", box=(0, 0, 8, 8)), {}, "such as 13 or 17"),
    (kinema.Replace(video="a.mp4", mask="mask.gif", end=1.0), {}, "has 5 frames, but the video 14"),
    (kinema.Replace(video="a.mp4", mask="wide.mp4", end=1.0), {}, "make the mask at the video's size"),
    (kinema.Replace(video="a.mp4", mask="black.png", end=1.0), {}, "marks nothing"),
    (kinema.Blend(video="a.mp4", other="b.mp4", seconds=2.0), {}, "use up to 1.5 s"),
    (_keys(("one.png", 5.0)), {"frames": 17}, "the video ends at 2 s"),
    (
        _keys(("one.png", 0.5), ("two.png", 0.625), ("one.png", 0.75)),
        {"frames": 17},
        "within one latent frame; let 0.5",
    ),
    (_keys(("one.png", 0.51)), {"frames": 17}, "between two frames"),
    (_keys(("one.png", 0.0), ("two.png", 0.5)), {"frames": 5}, "nothing to make"),
    (kinema.Storyboard(cards=(kinema.Card(second=0.6, prompt="x"),)), {"frames": 17}, "use 0.5 or 1 s"),
    (kinema.Storyboard(cards=(kinema.Card(second=2.0, prompt="x"),)), {"frames": 17}, "comes too late"),
    (kinema.Join(cuts=(Cut(video="a.mp4", end=9.0),)), {}, "which has 14 frames"),
]


@pytest.mark.parametrize(("edit", "more", "message"), BAD)
def test_what_cannot_be_is_refused_before_any_work(
    pipe: Pipeline, folder: Path, monkeypatch: pytest.MonkeyPatch, edit: Edit, more: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises((SpecError, MediaError), match=message):
        pipe.resolve(VideoSpec(prompt=PROMPT, edit=edit, **more))


def test_videos_of_two_rates_are_not_mixed(pipe: Pipeline, folder: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "fast.mp4", [_read(folder, "b.mp4")], 12)
    one, other = str(folder / "a.mp4"), str(tmp_path / "fast.mp4")
    for edit in (
        kinema.Blend(video=one, other=other, seconds=1.0),
        kinema.Join(cuts=(Cut(video=one), Cut(video=other))),
    ):
        with pytest.raises(SpecError, match="of one rate"):
            pipe.resolve(VideoSpec(prompt=PROMPT, edit=edit))


def test_a_model_that_cannot_make_an_edit_says_which_can(tiny_model: Path, folder: Path) -> None:
    pipe = Pipeline.load(str(tiny_model), "cpu", "float32")
    pipe.model.reads_frames = False
    with pytest.raises(SpecError, match=r"cannot extend a video; use mini or wan2\.2-5b"):
        pipe.resolve(VideoSpec(prompt=PROMPT, edit=kinema.Extend(video=str(folder / "a.mp4"), seconds=1.0)))
    pipe.resolve(VideoSpec(prompt=PROMPT, edit=kinema.Remix(video=str(folder / "b.mp4"))))


def test_a_model_that_never_saw_clean_frames_is_shown_what_is_known_on_its_way(
    tiny_model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = Pipeline.load(str(tiny_model), "cpu", "float32")
    pipe.model.reads_frames = False
    seen = []
    forward = pipe.model.dit.forward

    def watched(latent: Any, times: Any, *rest: Any, **named: Any) -> Any:
        seen.append(times.unique().tolist())
        return forward(latent, times, *rest, **named)

    monkeypatch.setattr(pipe.model.dit, "forward", watched)
    made = _make(pipe, folder, kinema.Replace(video="a.mp4", start=0.75, end=1.25))
    assert all(len(times) == 1 and times[0] > 0 for times in seen)
    assert np.array_equal(made[:6], _read(folder, "a.mp4")[:6])
