"""Denoising that survives its process: every answer of the network is kept, and given again instead of computed.

A solver is a function of the answers it gets, so one that is given the first k answers again stands exactly where the
dead one stood, whatever it remembers of earlier steps; the video comes out bit for bit as if nothing had happened.
"""

import hashlib
import json
import logging
import time

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from kinema.config import to_dict
from kinema.generate.canvas import Canvas
from kinema.generate.pipeline import Pipeline
from kinema.generate.record import Record
from kinema.generate.state import FrameVelocity
from kinema.serve.artefacts import Artefacts
from kinema.serve.preview import Previewer
from kinema.spec import VideoSpec

logger = logging.getLogger(__name__)


def steps_folder(job_id: str, record: Record) -> str:
    """Where the answers of a job are kept: elsewhere for other weights, another device, number type or version."""
    text = json.dumps(to_dict(record), sort_keys=True)
    return f"jobs/{job_id}/steps-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


class StepLog:
    """The answers of the network for one job, in a folder of the artefact store, flushed every `every_s` seconds."""

    def __init__(self, artefacts: Artefacts, folder: str, every_s: float = 1.0) -> None:
        self._artefacts, self._folder, self._every_s = artefacts, folder, every_s
        self._known = self._read()
        self.num_replayed = len(self._known)
        """Answers that an earlier attempt left."""
        self._stored = self.num_replayed
        self._fresh: list[Tensor] = []
        self._calls = 0
        self._flushed_at = time.monotonic()

    def kept(self, velocity: FrameVelocity) -> FrameVelocity:
        """The same velocity, but for the answers that are known already."""

        def answer(latent: Tensor, times: Tensor) -> Tensor:
            self._calls += 1  # over all runs of the network: a storyboard has one for each span
            if self._calls <= self.num_replayed:
                return self._known[self._calls - 1].to(latent.device)
            fresh = velocity(latent, times)
            self._append(fresh)
            return fresh

        return answer

    def flush(self) -> None:
        """Store the answers that are not stored yet."""
        if not self._fresh:
            return
        start = self._stored
        tensors = {f"{start + i:06d}": each for i, each in enumerate(self._fresh)}
        self._artefacts.write(f"{self._folder}/{start:06d}.safetensors", save(tensors))
        self._stored += len(self._fresh)
        self._fresh = []
        self._flushed_at = time.monotonic()

    def _append(self, answer: Tensor) -> None:
        self._fresh.append(answer.detach().to("cpu", copy=True).contiguous())
        if time.monotonic() - self._flushed_at >= self._every_s:
            self.flush()

    def _read(self) -> list[Tensor]:
        known: list[Tensor] = []
        for name in self._artefacts.names(self._folder):
            try:
                tensors = load(self._artefacts.read(name))
            except (SafetensorError, FileNotFoundError) as error:
                logger.warning("%s cannot be read (%s); what follows is computed again", name, error)
                break
            if sorted(tensors) != [f"{len(known) + i:06d}" for i in range(len(tensors))]:
                break
            known += [tensors[key] for key in sorted(tensors)]
        return known


class ResumablePipeline(Pipeline):
    """A pipeline that goes on where another process stopped, when `steps` is set.

    A causal model starts again: what it remembers is not only the answers of its network.
    """

    steps: StepLog | None = None
    previewer: Previewer | None = None

    def network(self, spec: VideoSpec, canvas: Canvas | None = None) -> FrameVelocity:
        """The network under text and guidance, with its earlier answers, watched by the previewer."""
        network = super().network(spec, canvas)
        if self.steps is not None:
            network = self.steps.kept(network)
        return network if self.previewer is None else self.previewer.watched(network)
