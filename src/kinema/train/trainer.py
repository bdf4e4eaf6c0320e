"""The training loop: one for every kind of network.

Progress is counted in clips. Every step draws its batch and its noise from (seed, clips seen) alone, and a checkpoint
holds all other state, so that running the same command again continues as if nothing had happened, bit for bit.
"""

import logging
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor, nn

from kinema.errors import DataError
from kinema.generate.interrupt import Interrupt
from kinema.train import checkpoints
from kinema.train.blocks import compile_parts, recompute_blocks
from kinema.train.config import StageConfig
from kinema.train.ema import EMA
from kinema.train.journal import Journal
from kinema.train.optim import build_optimizers, learning_rate_share, set_learning_rate
from kinema.train.order import step_seed
from kinema.train.precision import autocast, device_of
from kinema.train.watch import Report, unwatched

logger = logging.getLogger(__name__)

LOG_EVERY_STEPS = 20


class Task(Protocol):
    """What is trained: networks, the loss of a batch, and how to look at the result."""

    networks: nn.ModuleDict
    """All weights that move."""

    def loss(self, clips_seen: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the loss of that step, and parts of it to record."""

    def validate(self, averaged: nn.ModuleDict) -> dict[str, float]:
        """Measure the averaged weights on clips never trained on, with fixed noise."""

    def sample(self, averaged: nn.ModuleDict, path: Path) -> dict[str, float]:
        """Draw a sheet of results into `path` (PNG), and score them where a score exists."""


def train(task: Task, config: StageConfig, folder: Path, averaged: nn.ModuleDict, report: Report = unwatched) -> None:
    """Train `task` for `config.clips`, continuing from the newest checkpoint in `folder`; end with `averaged` filled.

    `averaged` is a copy of `task.networks` that receives the moving average. Raises DataError when the gradient is not
    finite. Ctrl-C, SIGTERM and SIGHUP let the step end and leave a checkpoint, then raise KeyboardInterrupt, or
    SystemExit with the code of a terminated process; a second one does not wait.
    """
    device = device_of(task.networks)
    named = dict(task.networks.named_parameters())
    if config.compile:
        compile_parts(task.networks)
    if config.recompute:
        recompute_blocks(task.networks)
    optimizers = build_optimizers(named.items(), config.optim)
    ema = EMA(named, config.optim.ema_decay)
    clips_seen = _resume(folder, task.networks, optimizers, ema)
    journal = Journal(folder, clips_seen)
    started, logged = time.monotonic(), clips_seen
    step = 0
    logs: dict[str, Tensor] = {}
    report(clips_seen, config.clips)
    with Interrupt() as interrupt:
        while clips_seen < config.clips:
            # Forward and backward: everything random comes from the seed of this step.
            generator = torch.Generator(device).manual_seed(step_seed(config.seed, "step", clips_seen))
            batch_size = config.size_at(clips_seen)
            with autocast(device, config.precision):
                loss, parts = task.loss(clips_seen, generator)
            torch.autograd.backward(loss)

            # Update.
            norm = nn.utils.clip_grad_norm_(named.values(), config.optim.clip_norm)
            if not torch.isfinite(norm):
                raise DataError(
                    f"the gradient is {norm.item()} after {clips_seen} clips; lower learning_rate and run again"
                )
            set_learning_rate(optimizers, learning_rate_share(config.optim, clips_seen, config.clips))
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            ema.update(named)

            # Bookkeeping.
            before, clips_seen, step = clips_seen, clips_seen + batch_size, step + 1
            for name, value in {"loss": loss, "gradient_norm": norm, **parts}.items():
                logs[name] = logs.get(name, torch.zeros((), device=device)) + value.detach() / LOG_EVERY_STEPS
            if step % LOG_EVERY_STEPS == 0:
                rate = (clips_seen - logged) / (time.monotonic() - started)
                numbers = {name: value.item() for name, value in logs.items()}
                journal.write(clips_seen, {**numbers, "clips_per_second": rate})
                report(clips_seen, config.clips, numbers)
                logs, started, logged = {}, time.monotonic(), clips_seen
            if _passes(before, clips_seen, config.validate_every) or clips_seen >= config.clips:
                _fill(averaged, ema)
                numbers = task.validate(averaged)
                journal.write(clips_seen, numbers)
                report(clips_seen, config.clips, numbers)
                started, logged = time.monotonic(), clips_seen
            if _passes(before, clips_seen, config.sample_every) or clips_seen >= config.clips:
                _fill(averaged, ema)
                journal.write(clips_seen, task.sample(averaged, folder / f"samples_{clips_seen:09d}.png"))
                started, logged = time.monotonic(), clips_seen
            is_stopped = interrupt()
            if _passes(before, clips_seen, config.checkpoint_every) or clips_seen >= config.clips or is_stopped:
                checkpoints.save(folder, clips_seen, _state(task.networks, optimizers, ema, clips_seen))
            if is_stopped:
                journal.close()
                _stop(interrupt, clips_seen)
    _fill(averaged, ema)
    journal.close()


def _stop(interrupt: Interrupt, clips_seen: int) -> NoReturn:
    message = f"stopped after {clips_seen} clips of this stage; the same command goes on from there"
    if interrupt.number != signal.SIGINT:
        logger.warning(message)
        assert interrupt.number is not None
        raise SystemExit(128 + interrupt.number)
    raise KeyboardInterrupt(message)


def _passes(before: int, after: int, every: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]."""
    return after // every > before // every


def _fill(averaged: nn.ModuleDict, ema: EMA) -> None:
    with torch.no_grad():
        for name, parameter in averaged.named_parameters():
            parameter.copy_(ema.tensors[name])


def _state(networks: nn.Module, optimizers: list[torch.optim.Optimizer], ema: EMA, clips_seen: int) -> dict[str, Any]:
    return {
        "clips_seen": clips_seen,
        "networks": dict(networks.named_parameters()),
        "ema": ema.tensors,
        "ema_updates": ema.num_updates,
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }


def _resume(folder: Path, networks: nn.Module, optimizers: list[torch.optim.Optimizer], ema: EMA) -> int:
    state = checkpoints.load_latest(folder)
    if state is None:
        return 0
    _copy(dict(networks.named_parameters()), state["networks"])
    _copy(ema.tensors, state["ema"])
    ema.num_updates = state["ema_updates"]
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    logger.info("continuing after %d clips", state["clips_seen"])
    return int(state["clips_seen"])


@torch.no_grad()
def _copy(target: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
    if target.keys() != source.keys():
        odd = sorted(target.keys() ^ source.keys())[0]
        raise DataError(f"the checkpoint is of another architecture (first difference: {odd}); choose another --out")
    for name, tensor in target.items():
        if tensor.shape != source[name].shape:
            raise DataError(f"the checkpoint is of another architecture ({name} differs); choose another --out")
        tensor.copy_(source[name])
