from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from kinema.data.buckets import Bucket, EncodeConfig, choose_bucket
from kinema.data.encode import encode_clips, model_fingerprint, read_clip
from kinema.data.reader import unpack
from kinema.data.scores import Crop
from kinema.errors import DataError, SpecError
from kinema.media import Frame, write_video
from kinema.model import load_model

SMALL = Bucket(width=32, height=32, frames=5, fps=8.0)


@pytest.fixture(scope="session")
def counting(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A clip of 12 pictures a second, 64x48, whose brightness is 8 times the number of the picture."""
    path = tmp_path_factory.mktemp("counting") / "a.mp4"
    write_video(path, np.stack([np.full((48, 64, 3), 8 * k, np.uint8) for k in range(24)]), 12)
    return path.read_bytes()


def test_a_bucket_takes_the_picture_that_is_shown_at_each_of_its_times(counting: bytes) -> None:
    frames = read_clip(counting, Crop(), Bucket(width=32, height=32, frames=9, fps=6.0))
    assert frames.shape == (9, 32, 32, 3)
    numbers = np.round(frames.mean(axis=(1, 2, 3)) / 8)
    assert np.array_equal(np.diff(numbers), np.full(8, 2))  # every second picture
    assert numbers[0] in (3, 4)  # from the middle: 16 of 24 pictures
    with pytest.raises(DataError, match=r"2\.00 s long"):
        read_clip(counting, Crop(), Bucket(width=32, height=32, frames=33, fps=8.0))


def test_bars_are_cut_before_scaling(make_shot: Callable[..., Frame], tmp_path: Path) -> None:
    frames = np.maximum(make_shot(1, 6, height=64, width=64), 60)
    frames[:, :16] = frames[:, -16:] = 0
    write_video(tmp_path / "a.mp4", frames, 8)
    read = read_clip((tmp_path / "a.mp4").read_bytes(), Crop(top=0.27, bottom=0.27), SMALL)
    assert read.min() > 20


def test_the_bucket_is_chosen_by_aspect_then_size_then_length() -> None:
    wide = Bucket(width=96, height=64, frames=17, fps=8.0)
    tall = Bucket(width=64, height=96, frames=17, fps=8.0)
    long = Bucket(width=96, height=64, frames=33, fps=8.0)
    large = Bucket(width=960, height=640, frames=17, fps=8.0)
    buckets = (wide, tall, long, large)
    assert choose_bucket(buckets, 100, 200, 3) == tall
    assert choose_bucket(buckets, 300, 200, 3) == wide
    assert choose_bucket(buckets, 300, 200, 5) == long
    assert choose_bucket(buckets, 1920, 1280, 5) == large
    assert choose_bucket(buckets, 300, 200, 1) is None
    with pytest.raises(SpecError, match="one bucket or more"):
        EncodeConfig(buckets=())


def test_latents_and_texts_are_those_of_the_model(tiny_model: Path, counting: bytes) -> None:
    model = load_model(tiny_model)
    name = model_fingerprint(model)
    clips = [{"clip_id": "a", "caption": "a ball"}, {"clip_id": "b", "caption": None}]
    rows = list(encode_clips(model, name, clips, [counting, counting], SMALL))
    assert [row["latent_id"] for row in rows] == ["a-32x32x5@8", "b-32x32x5@8"]
    pixels = torch.from_numpy(read_clip(counting, Crop(), SMALL))[None] / 127.5 - 1
    with torch.no_grad():
        latent = model.vae.encode(pixels)[0].numpy()
        ids, mask = model.tokenizer.encode(["a ball"])
        text = model.text(ids, mask)[0, : int(mask.sum())].numpy()
    assert np.abs(unpack(rows[0], "latent") - latent).max() < 0.01
    assert unpack(rows[0], "text") == pytest.approx(text, abs=0.01)
    assert len(unpack(rows[1], "text")) < len(text)


def test_another_weight_is_another_fingerprint(tiny_model: Path) -> None:
    model = load_model(tiny_model)
    before = model_fingerprint(model)
    assert before == model_fingerprint(load_model(tiny_model))
    with torch.no_grad():
        next(model.vae.parameters()).mul_(1.5)
    assert model_fingerprint(model) != before
