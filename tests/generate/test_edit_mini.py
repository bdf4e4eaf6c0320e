"""The edits with the shipped model: what is given comes back as the autoencoder gives it back, and seams are small."""

from pathlib import Path

import numpy as np
import pytest
import torch

import kinema
from kinema.generate.pipeline import Pipeline
from kinema.media import read_video, write_video
from kinema.model.files import SHIPPED

PROMPT = "a red ball rolls to the right"

pytestmark = pytest.mark.skipif(not (SHIPPED / "mini").exists(), reason="mini is not in this checkout")


@pytest.fixture(scope="module")
def pipe() -> Pipeline:
    return Pipeline.load("mini", "cpu")


@pytest.fixture(scope="module")
def clip(pipe: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mini") / "ball.mp4"
    pipe(kinema.VideoSpec(prompt=PROMPT, steps=6, seed=3)).save(path)
    return path


def _psnr_db(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def _reconstructed(pipe: Pipeline, frames: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        given = (torch.from_numpy(frames).float() / 127.5 - 1)[None].to(pipe.dtype)
        seen = pipe.model.vae.decode(pipe.model.vae.encode(given))[0].float()
    return ((seen + 1) * 127.5).round().numpy()


def test_given_pictures_come_back_as_the_autoencoder_gives_them_back(pipe: Pipeline, clip: Path) -> None:
    frames = read_video(clip).frames
    pictures = {0: frames[0], 8: frames[8], 16: frames[16]}
    keys = []
    for place, picture in pictures.items():
        path = clip.with_name(f"{place}.png")
        write_video(path, [picture], 1)
        keys.append(kinema.KeyFrame(image=str(path), second=place / 8))
    spec = kinema.VideoSpec(prompt=PROMPT, edit=kinema.KeyFrames(frames=tuple(keys)), steps=6)
    made = pipe(spec).frames
    for place, picture in pictures.items():
        own = _psnr_db(_reconstructed(pipe, picture[None])[0], picture)
        assert _psnr_db(made[place], picture) >= own - 1, place
    jumps = np.abs(np.diff(made.astype(float), axis=0)).mean(axis=(1, 2, 3))
    assert max(jumps[7], jumps[8]) <= 2 * max(np.delete(jumps, [7, 8]))  # the picture stands amid what leads to it


def test_a_video_goes_on_where_it_ended(pipe: Pipeline, clip: Path) -> None:
    made = pipe(
        kinema.VideoSpec(prompt=PROMPT, edit=kinema.Extend(video=str(clip), seconds=1.0), steps=6)
    ).frames.astype(float)
    source = read_video(clip).frames
    assert np.array_equal(made[:17], source)
    jumps = np.abs(np.diff(made, axis=0)).mean(axis=(1, 2, 3))
    loss = np.abs(_reconstructed(pipe, source) - source).mean()  # the seam is also one from footage to pictures decoded
    assert jumps[16] <= max(np.delete(jumps, 16)) + loss


def test_the_seam_of_a_loop_is_no_larger_than_its_other_steps(pipe: Pipeline, clip: Path) -> None:
    made = pipe(kinema.VideoSpec(prompt=PROMPT, edit=kinema.Loop(video=str(clip), seconds=1), steps=6)).frames.astype(
        float
    )
    jumps = np.abs(np.diff(np.concatenate([made, made[:1]]), axis=0)).mean(axis=(1, 2, 3))
    loss = np.abs(_reconstructed(pipe, made[:17].astype(np.uint8)) - made[:17]).mean()
    assert jumps[-1] <= max(jumps[:-1]) + loss


def test_the_edits_of_the_documentation_are_made(pipe: Pipeline, clip: Path) -> None:
    video = str(clip)
    lengths = {
        kinema.Remix(video=video): 17,
        kinema.Vary(video=video): 17,
        kinema.Replace(video=video, start=0.5, end=1.5): 17,
        kinema.Replace(video=video, box=(0, 0, 32, 32)): 17,
        kinema.Blend(video=video, other=video, seconds=1): 26,
        kinema.Extend(video=video, seconds=1, direction="backward"): 25,
        kinema.Join(cuts=(kinema.Cut(video=video, end=1), kinema.Cut(video=video))): 25,
    }
    for edit, frames in lengths.items():
        assert len(pipe(kinema.VideoSpec(prompt=PROMPT, edit=edit, steps=2)).frames) == frames
    board = kinema.Storyboard(cards=(kinema.Card(second=1, prompt="the ball stops"),))
    assert len(pipe(kinema.VideoSpec(prompt=PROMPT, edit=board, steps=2, seconds=2)).frames) == 17
