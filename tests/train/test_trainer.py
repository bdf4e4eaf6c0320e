import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from kinema.errors import DataError
from kinema.train import checkpoints
from kinema.train.config import OptimConfig, StageConfig
from kinema.train.trainer import train

CONFIG = StageConfig(
    clips=400,
    batch_size=4,
    optim=OptimConfig(learning_rate=1e-2, warmup_clips=20),
    precision="float32",
    validate_every=100,
    sample_every=200,
    checkpoint_every=40,
)


class LineTask:
    """Fits a line to noisy points; slow enough, on request, to be killed in the middle."""

    def __init__(self, pause_s: float = 0.0) -> None:
        torch.manual_seed(0)
        self.networks = nn.ModuleDict({"line": nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 1))})
        self.pause_s = pause_s

    def loss(self, clips_seen, generator):
        time.sleep(self.pause_s)
        points = torch.randn(4, 3, generator=generator)
        loss = (self.networks["line"](points).squeeze(1) - points.sum(dim=1)).square().mean()
        return loss, {"offset": self.networks["line"][2].bias.abs().mean()}

    def validate(self, averaged):
        with torch.no_grad():
            return {"at_zero": averaged["line"](torch.zeros(1, 3)).item()}

    def sample(self, averaged, path):
        path.write_bytes(b"a picture")
        return {}


def run(folder, pause_s=0.0, config=CONFIG):
    averaged = LineTask().networks
    task = LineTask(pause_s)
    train(task, config, folder, averaged)
    return task.networks, averaged


def final_state(folder):
    state = checkpoints.load_latest(folder)
    assert state is not None
    return state


def assert_same(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def test_the_loop_learns_and_records(tmp_path):
    run(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < 0.5 * losses[0]
    assert [line["clips"] for line in lines if "at_zero" in line] == [100, 200, 300, 400]
    assert (tmp_path / "samples_000000200.png").exists()


def test_running_again_after_the_end_changes_nothing(tmp_path):
    run(tmp_path)
    before = final_state(tmp_path)
    networks, averaged = run(tmp_path)
    assert_same(before, final_state(tmp_path))
    assert_same(before["networks"], dict(networks.named_parameters()))
    assert_same(before["ema"], dict(averaged.named_parameters()))


@pytest.mark.parametrize("checkpoints_before_kill", [1, 3])
def test_a_run_killed_and_started_again_equals_the_unbroken_run_bit_for_bit(tmp_path, checkpoints_before_kill):
    run(tmp_path / "whole")
    folder = tmp_path / "killed"
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_trainer, pathlib; "
    script += f"test_trainer.run(pathlib.Path({str(folder)!r}), pause_s=0.02)"
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 120
    wanted = f"clips_{40 * checkpoints_before_kill:09d}"
    while not (folder / wanted).exists():
        assert time.monotonic() < deadline, "the run never wrote its checkpoint"
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert final_state(folder)["clips_seen"] < CONFIG.clips
    run(folder)
    assert_same(final_state(tmp_path / "whole"), final_state(folder))


def test_metrics_beyond_the_checkpoint_are_not_written_twice(tmp_path):
    run(tmp_path)
    newest = max(tmp_path.glob("clips_*"))
    (newest / "state.pt").write_bytes(b"cut short")
    run(tmp_path)
    clips = [
        json.loads(line)["clips"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines() if "at_zero" in line
    ]
    assert clips == [100, 200, 300, 400]


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path):
    class Broken(LineTask):
        def loss(self, clips_seen, generator):
            loss, parts = super().loss(clips_seen, generator)
            return loss * float("nan"), parts

    with pytest.raises(DataError, match="lower learning_rate"):
        train(Broken(), CONFIG, tmp_path, LineTask().networks)


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    run(tmp_path)

    class Wider(LineTask):
        def __init__(self):
            super().__init__()
            self.networks = nn.ModuleDict({"line": nn.Linear(3, 1)})

    with pytest.raises(DataError, match="another architecture"):
        train(Wider(), CONFIG, tmp_path, Wider().networks)
