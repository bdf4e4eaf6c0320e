import itertools
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


@pytest.mark.parametrize(
    ("number", "ending"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit), (signal.SIGHUP, SystemExit)],
    ids=["ctrl-c", "terminate", "hang up"],
)
def test_a_run_asked_to_stop_ends_its_step_and_goes_on_from_there(tmp_path, number, ending):
    class Interrupted(LineTask):
        def loss(self, clips_seen, generator):
            if clips_seen == 148:
                signal.raise_signal(number)
            return super().loss(clips_seen, generator)

    before = signal.getsignal(number)
    run(tmp_path / "whole")
    with pytest.raises(ending) as stop:
        train(Interrupted(), CONFIG, tmp_path / "stopped", LineTask().networks)
    assert signal.getsignal(number) is before
    assert final_state(tmp_path / "stopped")["clips_seen"] == 152
    assert ("152 clips" in str(stop.value)) == (ending is KeyboardInterrupt)
    assert getattr(stop.value, "code", 128 + number) == 128 + number
    run(tmp_path / "stopped")
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "stopped"))


def test_a_second_ctrl_c_does_not_wait_for_the_step(tmp_path):
    class Impatient(LineTask):
        def loss(self, clips_seen, generator):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("the step went on")

    with pytest.raises(KeyboardInterrupt):
        train(Impatient(), CONFIG, tmp_path, LineTask().networks)
    assert checkpoints.load_latest(tmp_path) is None


def test_who_watches_hears_of_every_part_and_what_was_measured(tmp_path):
    heard = []
    train(LineTask(), CONFIG, tmp_path, LineTask().networks, lambda *report: heard.append(report))
    assert heard[0] == (0, 400)
    assert [done for done, _, numbers in heard[1:] if "loss" in numbers] == [80, 160, 240, 320, 400]
    assert [done for done, _, numbers in heard[1:] if "at_zero" in numbers] == [100, 200, 300, 400]


def test_the_rate_counts_clips_whatever_the_size_of_a_step(tmp_path, monkeypatch):
    class Mixed(StageConfig):
        def size_at(self, clips_seen):
            return 4 if clips_seen % 16 == 0 else 12

    seconds = itertools.count()
    monkeypatch.setattr("kinema.train.trainer.time.monotonic", lambda: float(next(seconds)))
    train(LineTask(), Mixed(**dict(vars(CONFIG), validate_every=400)), tmp_path, LineTask().networks)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    rates = [line["clips_per_second"] for line in lines if "clips_per_second" in line]
    assert len(rates) == 2
    assert rates[0] == pytest.approx(160.0, rel=0.7)  # twenty steps of 8 on average, a second or two apart


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
