"""The benchmark that kills curation, with fewer kills, and what it would see if something were wrong."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.benchmarks import FOLDER, load_benchmark

from kinema.data.store import Store


@pytest.fixture(scope="module")
def data_storm() -> Any:
    return load_benchmark("data_storm")


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_where_a_clean_one_does(footage: Path) -> None:
    words = ["data_storm.py", str(footage), "--kills", "3", "--workers", "1"]
    done = subprocess.run([sys.executable, *words], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("unreadable", "different", "orphans", "left over", "stuck"):
        assert f"| **{name}** | 0 |" in done.stdout
    kills = [int(line.split("|")[2]) for line in done.stdout.splitlines() if line.startswith("| kills of")]
    assert sum(kills) == 3


def test_a_row_that_differs_and_a_file_that_nobody_names_are_seen(
    data_storm: Any, split_once: Path, tmp_path: Path
) -> None:
    out = tmp_path / split_once.name
    shutil.copytree(split_once, out)
    truth = data_storm.tables(split_once)
    assert list(data_storm.differences(truth, data_storm.tables(out))) == []
    assert list(data_storm.strays(out)) == []
    Store(out).delete("clips", "num_frames = 24")
    gone = [row["clip_id"] for row in Store(split_once).read("clips") if row["num_frames"] == 24]
    assert list(data_storm.differences(truth, data_storm.tables(out))) == [f"clips {gone[0]}: only in one"]
    assert "clips.lance: 2 versions" in set(data_storm.strays(out))
    (out / ".work").mkdir()
    (out / "videos.lance" / "data" / "lost.lance").touch()
    assert {".work", "videos.lance/data/lost.lance"} <= set(data_storm.strays(out))
