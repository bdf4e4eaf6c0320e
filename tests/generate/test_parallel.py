"""Several processes make the video that one makes: halves of guidance, exchanged heads, and rings."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kinema.cli.main import main
from kinema.media import read_video

RANKS = Path(__file__).parent / "parallel_ranks.py"


@pytest.fixture(scope="module")
def shared(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the processes of all cases said, which begin as copies of one process."""
    words = [str(RANKS), str(tiny_model), str(tmp_path_factory.mktemp("meeting")), *CASES]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


CASES = {
    "2x1.0": "1x2",  # heads for tokens
    "2x3.0": "2x1",  # halves of guidance
    "4x3.0": "2x2",  # both
    "4x1.0": "1x4",  # two heads do not divide by four: a ring
}
"""Processes and guidance, and how the work is shared: guidance, and tokens."""


@pytest.mark.parametrize(("case", "mesh"), CASES.items())
def test_shared_work_gives_the_video_of_one_process(shared: str, case: str, mesh: str) -> None:
    lines = re.findall(rf"{case} mesh (\S+) error (\S+) scale (\S+) (.*)", shared)
    assert len(lines) == int(case[0])
    for found, error, scale, refused in lines:
        assert found == mesh
        assert float(error) < 1e-4 < float(scale)
        assert ("1 tokens per frame do not divide" in refused) == (mesh != "2x1")  # of the smallest size


def test_the_command_line_writes_one_file_that_is_the_same(tiny_model: Path, tmp_path: Path) -> None:
    words = ["generate", "a red ball", "--model", str(tiny_model), "--device", "cpu", "--dtype", "float32"]
    one, two = tmp_path / "one.webp", tmp_path / "two.webp"
    assert main([*words, "--no-marks", "--out", str(one)]) == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "kinema"]
    done = subprocess.run(
        [*command, *words, "--no-marks", "--out", str(two)], capture_output=True, text=True, check=True
    )
    assert done.stderr.count("made in") + done.stdout.count("made in") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.webp", "two.webp"]
    first, second = (read_video(path).frames.astype(int) for path in (one, two))
    assert abs(first - second).max() <= 2
