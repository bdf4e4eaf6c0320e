"""Several processes make the video that one makes: halves of guidance, exchanged heads, and rings."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kinema.media import read_video

RANKS = Path(__file__).parent / "parallel_ranks.py"


@pytest.mark.parametrize(
    ("processes", "guidance", "mesh"),
    [
        (2, 1.0, "1x2"),  # heads for tokens
        (2, 3.0, "2x1"),  # halves of guidance
        (4, 3.0, "2x2"),  # both
        (4, 1.0, "1x4"),  # two heads do not divide by four: a ring
    ],
)
def test_shared_work_gives_the_video_of_one_process(tiny_model, processes, guidance, mesh):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    result = subprocess.run(
        [*command, str(RANKS), str(tiny_model), str(guidance)], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr[-2000:]
    lines = re.findall(r"rank \d mesh (\S+) error (\S+) scale (\S+) (.*)", result.stdout)
    assert len(lines) == processes
    for found, error, scale, refused in lines:
        assert found == mesh
        assert float(error) < 1e-4 < float(scale)
        assert ("1 tokens per frame do not divide" in refused) == (mesh != "2x1")  # of the smallest size


def test_the_command_line_writes_one_file_that_is_the_same(tiny_model, tmp_path):
    words = [
        "-m",
        "kinema",
        "generate",
        "a red ball",
        "--model",
        str(tiny_model),
        "--device",
        "cpu",
        "--dtype",
        "float32",
    ]
    one, two = tmp_path / "one.webp", tmp_path / "two.webp"
    subprocess.run([sys.executable, *words, "--no-marks", "--out", str(one)], check=True, capture_output=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, *words, "--no-marks", "--out", str(two)], capture_output=True, text=True, check=True
    )
    assert done.stderr.count("made in") + done.stdout.count("made in") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.webp", "two.webp"]
    first, second = (read_video(path).frames.astype(int) for path in (one, two))
    assert abs(first - second).max() <= 2
