"""How the causal transformer becomes fast: what it predicts must not change along the teacher's path to the data."""

from pathlib import Path

import torch
from torch import Tensor, nn

from kinema.diffusion.objective import data_from_velocity, interpolate
from kinema.diffusion.schedule import shifted_times
from kinema.model.dit import DiT
from kinema.train.config import ConsistencyStage
from kinema.train.flow import Sampler
from kinema.train.forcing import Forcing, Network
from kinema.train.precision import autocast, device_of


class ConsistencyTask:
    """Trains `networks["dit"]`, the student, against one guided step of a frozen causal teacher.

    Latent consistency distillation (Luo et al. 2023, arXiv 2310.04378) in teacher forcing's layout, as Causal-Forcing
    proposes; the target is the student itself, without gradient or average (Song and Dhariwal 2023, arXiv 2310.14189).
    """

    def __init__(
        self, student: DiT, teacher: DiT, forcing: Forcing, config: ConsistencyStage, sampler: Sampler
    ) -> None:
        self.networks = nn.ModuleDict({"dit": student})
        self._teacher = teacher
        self._forcing = forcing
        self._config = config
        self._sampler = sampler
        self._grid = torch.tensor(shifted_times(config.grid_steps, config.shift))

    def loss(self, clips_seen: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Pseudo-Huber distance between predictions of the data at both ends of one step of the teacher's path."""
        data, text, given = self._forcing.batch(clips_seen)
        num_blocks = self._forcing.num_blocks(data.shape[2])
        steps = torch.randint(self._config.grid_steps, (len(data), num_blocks), generator=generator, device=data.device)
        noise = torch.randn(data.shape, generator=generator, device=data.device)
        return self._distance(self.networks["dit"], data, text, noise, steps, given), {}

    @torch.no_grad()
    def validate(self, averaged: nn.ModuleDict) -> dict[str, float]:
        """The same distance on fixed clips and noise, at every eighth of the path."""
        total = []
        with autocast(device_of(averaged), self._config.precision):
            data, text, noise = self._forcing.validation(16)
            blocks = (len(data), self._forcing.num_blocks(data.shape[2]))
            for step in range(0, self._config.grid_steps, max(1, self._config.grid_steps // 8)):
                steps = torch.full(blocks, step, device=data.device)
                total.append(self._distance(averaged["dit"], data, text, noise, steps).item())
        return {"validation_loss": sum(total) / len(total)}

    def sample(self, averaged: nn.ModuleDict, path: Path) -> dict[str, float]:
        """Generate block by block from validation prompts, in few steps; what comes back is the sampler's score."""
        return self._sampler(averaged, path)

    def _distance(
        self,
        student: Network,
        data: Tensor,
        text: Tensor,
        noise: Tensor,
        steps: Tensor,
        given: Tensor | None = None,
    ) -> Tensor:
        frames = data.shape[2]
        grid = self._grid.to(data.device)
        high, low = (self._forcing.spread(grid[steps + i], frames) for i in (0, 1))
        behind, noisy = self._forcing.behind(data, noise), interpolate(data, noise, high)
        with torch.no_grad():
            velocity = self._guided(behind, noisy, high, text)
            nearer = noisy + (low - high)[:, None, :, None, None] * velocity
            target = self._predict(student, behind, nearer, low, text)
        difference = self._predict(student, behind, noisy, high, text) - target
        width = self._config.huber
        distances = (difference.square().mean(dim=(1, 3, 4)) + width**2).sqrt() - width
        return distances.mean() if given is None else distances[~given].mean()

    def _predict(self, student: Network, behind: Tensor, noisy: Tensor, times: Tensor, text: Tensor) -> Tensor:
        velocity = self._forcing.velocity(student, behind, noisy, times, text).float()
        return data_from_velocity(noisy, velocity, times)

    def _guided(self, behind: Tensor, noisy: Tensor, times: Tensor, text: Tensor) -> Tensor:
        """The teacher's velocity under guidance, both halves in one batch."""
        empty = self._forcing.empty.expand_as(text)
        behind, noisy, times = (torch.cat([part, part]) for part in (behind, noisy, times))
        both = self._forcing.velocity(self._teacher, behind, noisy, times, torch.cat([text, empty]))
        prompt, negative = both.float().chunk(2)
        return negative + self._config.guidance * (prompt - negative)
