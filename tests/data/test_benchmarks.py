"""The films that the benchmarks of speed and memory are about."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.benchmarks import load_benchmark

from kinema.data.frames import iter_pictures


@pytest.fixture(scope="module")
def data_memory() -> Any:
    return load_benchmark("data_memory")


def test_a_film_of_parts_repeats_without_a_gap(data_memory: Any, footage: Path, tmp_path: Path) -> None:
    part, film = tmp_path / "part.mp4", tmp_path / "film.mp4"
    data_memory.make_film(footage, part, 8.0, (64, 36), 5)
    pictures = [picture.rgb().tobytes() for picture in iter_pictures(part)]
    assert len(pictures) >= 40
    data_memory.repeat(part, film, minutes=3 * len(pictures) / 5 / 60)
    found = list(iter_pictures(film))
    assert [picture.rgb().tobytes() for picture in found] == 3 * pictures
    np.testing.assert_allclose(np.diff([picture.time_s for picture in found]), 0.2)
    with pytest.raises(SystemExit, match="not 60; name another"):
        data_memory.make_film(footage, part, 60.0, (64, 36), 5)


def test_tiny_inputs_are_videos_of_which_no_two_are_alike(data_memory: Any, tmp_path: Path) -> None:
    data_memory.draw_inputs(tmp_path / "tiny", 3)
    paths = sorted((tmp_path / "tiny").iterdir())
    assert len({path.read_bytes() for path in paths}) == len(paths) == 3
    assert all(len(list(iter_pictures(path))) == data_memory.TINY_FRAMES for path in paths)
