"""What models that look back, and models that start from a picture, make of edits; the toys know nothing."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import kinema
from kinema.errors import SpecError
from kinema.generate.ability import edit_kinds
from kinema.generate.condition import nature_of
from kinema.generate.pipeline import Pipeline
from kinema.generate.plan import make_plan
from kinema.generate.prepare import LoadOptions
from kinema.media import read_video, write_video
from kinema.model import (
    PRESETS,
    CausalConfig,
    DiT,
    ImageEncoder,
    ImageEncoderConfig,
    Model,
    load_model,
    save_model,
)
from kinema.spec import Card, Edit, Storyboard, VideoSpec

PROMPT = "a red ball rolls"
CLIP = ImageEncoderConfig(width=32, num_layers=2, num_heads=2, ffn_dim=64, image_size=28, patch_size=14)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.mp4 of 14 and b.mp4 of 13 frames, 32x32, at 8 frames per second; one.png."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    for name, count in (("a", 14), ("b", 13)):
        coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 4, 4, 4))).float()
        smooth = torch.nn.functional.interpolate(coarse, (count, 32, 32), mode="trilinear")[0]
        write_video(folder / f"{name}.mp4", [smooth.permute(1, 2, 3, 0).byte().numpy()], 8)
    write_video(folder / "one.png", [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)], 1)
    return folder


def _causal(tiny_model: Path, block: int, window: int | None, *, reads_frames: bool = True) -> Pipeline:
    model = load_model(tiny_model)
    model.causal = CausalConfig(block=block, window=window)
    model.reads_frames = reads_frames
    model.defaults = dataclasses.replace(model.defaults, guidance=1.0, solver="consistency", shift=5.0)
    return Pipeline(model, name="toy")


def _from_pictures(tiny_model: Path, kind: str) -> Model:
    """A toy of the kind of Wan2.1's I2V (a picture, seen by CLIP), FLF2V (two of them), or Wan2.2's I2V (no CLIP)."""
    model, preset = load_model(tiny_model), PRESETS["tiny"].dit
    torch.manual_seed(0)
    seen: dict[str, Any] = {} if kind == "wan2.2" else {"image_dim": CLIP.width}
    if kind == "flf2v":
        seen["image_positions"] = 2 * CLIP.num_tokens
    model.dit = DiT(dataclasses.replace(preset, in_channels=2 * preset.in_channels + 4, **seen))
    for layer in (model.dit.time_proj, model.dit.proj_out):
        torch.nn.init.normal_(layer.weight, std=0.1)
    model.image = None if kind == "wan2.2" else ImageEncoder(CLIP).eval()
    model.reads_frames = False
    return model


@pytest.fixture(scope="module")
def pipes(tiny_model: Path) -> Callable[[str], Pipeline]:
    made: dict[str, Pipeline] = {}

    def pipe(kind: str) -> Pipeline:
        if kind not in made:
            made[kind] = Pipeline(_from_pictures(tiny_model, kind), name="toy")
        return made[kind]

    return pipe


def _make(pipe: Pipeline, clips: Path, edit: Edit, **more: Any) -> np.ndarray:
    edit = kinema.spec.with_files(edit, {path: str(clips / path) for path in kinema.spec.edit_files(edit)})
    frames: np.ndarray = pipe(VideoSpec(prompt=PROMPT, edit=edit, steps=2, **more)).frames
    return frames


def _read(clips: Path, name: str) -> np.ndarray:
    return read_video(clips / name).frames


def _differs(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.abs(one.astype(int) - other).mean() > 3)


@pytest.mark.parametrize(("block", "window"), [(1, 3), (2, 6), (3, None), (5, None)])
@pytest.mark.parametrize("reads_frames", [True, False], ids=["clean", "on its way"])
def test_a_causal_model_goes_on_from_what_it_remembers_of_a_video(
    tiny_model: Path, clips: Path, block: int, window: int | None, reads_frames: bool
) -> None:
    pipe = _causal(tiny_model, block, window, reads_frames=reads_frames)
    lengths = []
    pipe.model.dit.register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape[2]))
    made = _make(pipe, clips, kinema.Extend(video="a.mp4", seconds=1.5))
    assert len(made) == 14 + 12
    assert np.array_equal(made[:14], _read(clips, "a.mp4"))
    other = _make(pipe, clips, kinema.Extend(video="b.mp4", seconds=1.5))
    assert _differs(made[14:], other[13:])
    assert lengths[0] == block if block < 5 else 4  # whole blocks are remembered before anything is made


def test_what_a_causal_model_goes_on_from_is_remembered_and_not_made(tiny_model: Path, clips: Path) -> None:
    pipe = _causal(tiny_model, 1, 3)
    times: list[float] = []
    pipe.model.dit.register_forward_pre_hook(lambda _, inputs: times.append(inputs[1].max().item()))
    _make(pipe, clips, kinema.Extend(video="a.mp4", seconds=0.5))
    assert times[:2] == [0, 0]  # two latent frames of the video, clean
    assert all(time > 0 for time in times[2:])  # the new one, in two steps


@pytest.mark.parametrize("solver", ["consistency", "euler", "unipc"])
@pytest.mark.parametrize("reads_frames", [True, False], ids=["clean", "on its way"])
def test_a_causal_model_changes_nothing_outside_of_a_region(
    tiny_model: Path, clips: Path, solver: str, reads_frames: bool
) -> None:
    pipe = _causal(tiny_model, 2, 6, reads_frames=reads_frames)
    edit = kinema.Replace(video="b.mp4", box=(0, 8, 16, 24), start=0.5)
    made, source = _make(pipe, clips, edit, solver=solver), _read(clips, "b.mp4")
    inside = np.zeros((13, 32, 32), bool)
    inside[4:, 8:24, :16] = True
    assert np.array_equal(made[~inside], source[~inside])
    assert _differs(made[inside], source[inside])


def test_a_causal_model_remixes_more_the_stronger_it_is_told(tiny_model: Path, clips: Path) -> None:
    pipe = _causal(tiny_model, 2, 6)
    with torch.inference_mode():
        source = torch.from_numpy(_read(clips, "b.mp4")).float()[None] / 127.5 - 1
        seen = ((pipe.model.vae.decode(pipe.model.vae.encode(source))[0] + 1) * 127.5).numpy()
    errors = [
        np.abs(_make(pipe, clips, kinema.Remix(video="b.mp4", strength=strength)) - seen).mean()
        for strength in (0.01, 1.0)
    ]
    assert errors[0] < 2 < errors[1]
    plain = pipe(VideoSpec(prompt=PROMPT, frames=13, steps=2)).frames.astype(int)
    anew = _make(pipe, clips, kinema.Remix(video="b.mp4", strength=1.0))
    assert np.abs(anew - plain).max() <= 1  # with several threads a sum may come out in another order


def test_a_causal_model_hears_the_words_of_a_storyboard_one_after_the_other(tiny_model: Path, clips: Path) -> None:
    pipe = _causal(tiny_model, 1, 3)
    board = Storyboard(cards=(Card(second=1.0, prompt="a blue box falls"),))
    timed = VideoSpec(prompt=PROMPT, frames=17, steps=2, changes=((1.0, "a blue box falls"),))
    assert np.array_equal(_make(pipe, clips, board, frames=17), pipe(timed).frames)


@pytest.mark.parametrize(("kind", "edit", "kept", "made"), [
    ("i2v", kinema.Extend(video="a.mp4", seconds=1.0), slice(0, 14), slice(14, 22)),
    ("wan2.2", kinema.Extend(video="a.mp4", seconds=1.0), slice(0, 14), slice(14, 22)),
    ("wan2.2", kinema.Loop(video="a.mp4", seconds=0.5), slice(0, 14), slice(14, 18)),
    ("flf2v", kinema.Loop(video="a.mp4", seconds=0.5), slice(0, 14), slice(14, 18)),
    ("flf2v", kinema.Replace(video="a.mp4", start=0.75, end=1.25), slice(0, 6), slice(6, 10)),
    ("flf2v", kinema.Blend(video="a.mp4", other="b.mp4", seconds=1.0), slice(0, 6), slice(6, 14)),
], ids=lambda value: getattr(value, "kind", None))  # fmt: skip
def test_a_model_that_starts_from_a_picture_leaves_what_is_given_and_is_shown_it(
    pipes: Callable[[str], Pipeline], clips: Path, kind: str, edit: Edit, kept: slice, made: slice
) -> None:
    pipe, shown = pipes(kind), []
    hook = pipe.model.dit.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0][0, 4:8, :, 0, 0]))
    frames = _make(pipe, clips, edit)
    hook.remove()
    assert np.array_equal(frames[kept], _read(clips, "a.mp4")[kept])
    again = _make(pipe, clips, edit, seed=1)
    assert not np.array_equal(frames[made], again[made])
    flags = shown[0].T.flatten().tolist()  # of the first latent frame four times, then of every frame
    ends_too = edit.kind != "extend"
    assert flags == [1.0] * 4 + [0.0] * (len(flags) - 5) + [1.0 if ends_too else 0.0]


def test_a_model_that_starts_from_a_picture_varies_a_video_from_its_first_frame(
    pipes: Callable[[str], Pipeline], clips: Path
) -> None:
    one, two = (_make(pipes("i2v"), clips, kinema.Vary(video="b.mp4"), seed=seed) for seed in (1, 2))
    assert one.shape == two.shape == (13, 32, 32, 3)
    assert not np.array_equal(one, two)


def test_a_storyboard_begins_with_the_picture_that_it_starts_from(
    pipes: Callable[[str], Pipeline], clips: Path
) -> None:
    board = Storyboard(cards=(Card(second=1.0, prompt="a blue box falls"),))
    pipe, image = pipes("i2v"), str(clips / "one.png")
    made = _make(pipe, clips, board, frames=17, image=image)
    assert len(made) == 17
    with torch.inference_mode():
        seen = pipe.model.vae.decode(
            pipe.model.vae.encode(torch.from_numpy(_read(clips, "one.png"))[None].float() / 127.5 - 1)
        )
    error = made[0].astype(float) - ((seen[0, 0] + 1) * 127.5).clamp(0, 255).numpy()
    assert np.abs(error).mean() < 4
    with pytest.raises(SpecError, match="starts from a picture; give image"):
        pipe.resolve(VideoSpec(prompt=PROMPT, frames=17, edit=board))


def test_a_plan_of_an_edit_counts_what_the_model_is_shown(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    save_model(_from_pictures(tiny_model, "i2v"), tmp_path)
    request = VideoSpec(prompt=PROMPT, model=str(tmp_path), edit=kinema.Extend(video=str(clips / "a.mp4"), seconds=1.0))
    stages = [each.stage for each in make_plan(request, LoadOptions(device="cpu")).works()]
    assert stages == ["text", "image", "denoise", "decode"]


REFUSED: list[tuple[str, Edit, str]] = [
    ("causal", kinema.Loop(video="a.mp4", seconds=0.5), "block by block and cannot close a loop; use mini or wan2.2"),
    ("causal", kinema.Extend(video="a.mp4", seconds=0.5, direction="backward"), "cannot begin before a video does"),
    ("causal", kinema.Replace(video="a.mp4", start=0.75, end=1.25), "cannot meet what comes after.*no end"),
    ("causal", Storyboard(cards=(Card(second=1.0, image="one.png"),)), "cannot end on a picture; use mini"),
    ("i2v", kinema.Loop(video="a.mp4", seconds=0.5), "starts from a picture and cannot close a loop; .*flf2v-14b"),
    ("i2v", kinema.Extend(video="a.mp4", seconds=0.5, direction="backward"), "cannot begin before a video does"),
    (
        "i2v",
        kinema.KeyFrames(frames=(kinema.KeyFrame(image="one.png", second=0.0),)),
        r"cannot meet key frames; give its first picture \(image\), or use mini",
    ),
    ("wan2.2", kinema.Replace(video="a.mp4", box=(0, 0, 8, 8)), "cannot replace a region; use mini.*wan2.1-1.3b"),
    ("wan2.2", kinema.Replace(video="a.mp4", end=0.5), "the first frame is to be made; begin later"),
    ("flf2v", kinema.Replace(video="a.mp4", start=0.75), "the last frame is to be made; end earlier"),
    ("flf2v", kinema.Extend(video="a.mp4", seconds=0.5), "from one picture to another and cannot extend a video"),
]


@pytest.mark.parametrize(("kind", "edit", "message"), REFUSED)
def test_an_edit_that_a_model_cannot_make_names_models_that_can(
    pipes: Callable[[str], Pipeline], tiny_model: Path, clips: Path, kind: str, edit: Edit, message: str
) -> None:
    pipe = _causal(tiny_model, 1, 3) if kind == "causal" else pipes(kind)
    edit = kinema.spec.with_files(edit, {path: str(clips / path) for path in kinema.spec.edit_files(edit)})
    is_board, image = isinstance(edit, Storyboard), str(clips / "one.png")
    more: dict[str, Any] = {"frames": 17, "image": image} if is_board else {}
    with pytest.raises(SpecError, match=message):
        pipe.resolve(VideoSpec(prompt=PROMPT, edit=edit, **more))


def test_the_edits_of_a_model_are_listed(pipes: Callable[[str], Pipeline], tiny_model: Path) -> None:
    everything = edit_kinds(nature_of(load_model(tiny_model, "meta")))
    assert len(everything) == 9
    causal = edit_kinds(nature_of(_causal(tiny_model, 1, 3).model))
    assert causal == ("extend", "remix", "vary", "replace", "storyboard", "join")
    assert edit_kinds(nature_of(pipes("i2v").model)) == ("extend", "remix", "vary", "storyboard", "join")
    assert edit_kinds(nature_of(pipes("flf2v").model)) == ("loop", "remix", "vary", "replace", "blend", "join")
    assert set(edit_kinds(nature_of(pipes("wan2.2").model))) == set(everything) - {"key_frames"}


@pytest.mark.parametrize("reads_frames", [True, False], ids=["clean", "on its way"])
def test_a_first_picture_comes_back_as_the_autoencoder_gives_it_back(
    tiny_model: Path, clips: Path, reads_frames: bool
) -> None:
    pipe = _causal(tiny_model, 3, 6, reads_frames=reads_frames)
    made = pipe(VideoSpec(prompt=PROMPT, frames=9, steps=2, image=str(clips / "one.png"))).frames
    picture = _read(clips, "one.png")[:1]
    with torch.inference_mode():
        own = pipe.model.vae.decode(pipe.model.vae.encode(torch.from_numpy(picture).float()[None] / 127.5 - 1))
    own_frame = ((own[0] + 1) * 127.5).clamp(0, 255).numpy()
    ours, theirs = (
        10 * np.log10(255**2 / np.mean((each - picture) ** 2.0)) for each in (made[:1].astype(float), own_frame)
    )
    assert abs(ours - theirs) < 1
