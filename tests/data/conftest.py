"""Small clips of moving texture, made once: every test of the room reads them."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kinema.data import DataRecipe, run_recipe
from kinema.data.ingest import Source
from kinema.data.pool import Limits
from kinema.data.split import SplitConfig
from kinema.media import write_video

FPS = 12
Frames = NDArray[np.uint8]


def texture(seed: int, height: int, width: int, grain: int = 8) -> Frames:
    """Smooth random colours, different for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // grain, width // grain, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def shot(seed: int, frames: int, height: int = 72, width: int = 128, speed: int = 2, grain: int = 8) -> Frames:
    """A camera that moves evenly over one texture."""
    wide = texture(seed, height, width + speed * frames, grain)
    return np.stack([wide[:, speed * k : speed * k + width] for k in range(frames)])


@pytest.fixture(scope="session")
def make_shot() -> Callable[..., Frames]:
    return shot


def write_anamorphic(path: Path, frames: Frames, aspect: Fraction, turns: int = 0) -> Path:
    """Frames as shown, of which the file holds pixels of that width over height, and lies on its side by some turns."""
    frames = np.rot90(frames, -turns, axes=(1, 2))
    height, width = frames.shape[1], round(frames.shape[2] / aspect)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=FPS, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        stream.set_display_rotation(90 * turns)
        for frame in frames:
            coded = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(coded, "rgb24")))
        file.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session", name="write_anamorphic")
def _write_anamorphic() -> Callable[..., Path]:
    return write_anamorphic


def save_classifier(path: Path, labels: tuple[str, ...], seed: int = 0) -> Path:
    """An image classifier of a few thousand random weights, whose verdicts differ from picture to picture."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    network = ViTForImageClassification(
        ViTConfig(**sizes, image_size=16, patch_size=8, id2label=dict(enumerate(labels)))
    )
    with torch.no_grad():
        network.classifier.weight.mul_(30.0)
    network.save_pretrained(path)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(path)
    return path


@pytest.fixture(scope="session", name="save_classifier")
def _save_classifier() -> Callable[..., Path]:
    return save_classifier


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classifier(tmp_path_factory.mktemp("nsfw"), ("normal", "nsfw"))


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files to read, a copy, and three that are no video; read it only."""
    folder = tmp_path_factory.mktemp("footage")
    write_video(folder / "two shots.mp4", np.concatenate([shot(1, 18), shot(2, 18)]), FPS)
    write_video(folder / "it's one.mp4", shot(3, 24), FPS)
    (folder / "z copy.mp4").write_bytes((folder / "it's one.mp4").read_bytes())
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is no video")
    (folder / "cut off.mp4").write_bytes((folder / "it's one.mp4").read_bytes()[-900:])
    (folder / "notes.txt").write_text("beside the videos")
    return folder


@pytest.fixture(scope="session")
def split_once(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set of that footage after ingest and split; read it only."""
    out = tmp_path_factory.mktemp("sets") / "split"
    recipe = DataRecipe(
        sources=(Source(path=str(footage), license="CC0-1.0"),), out=out, split=SplitConfig(min_s=0.5),
        limits=Limits(workers=0), max_failures=0.6,
    )  # fmt: skip
    run_recipe(recipe, ("ingest", "split"))
    return out
