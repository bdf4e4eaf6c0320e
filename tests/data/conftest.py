"""Small clips of moving texture, made once: every test of the room reads them."""

from collections.abc import Callable
from pathlib import Path

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
