"""A request checked against its model, and what it will cost, before any weight is read."""

import functools
from dataclasses import dataclass

import torch

from kinema.generate.device import DTYPES, choose_device, choose_dtype, dtype_name, explained
from kinema.generate.edit import edit_warnings
from kinema.generate.estimate import EFFICIENCY, Estimate, Work, count_work, matrix_rate
from kinema.generate.experts import looking_back
from kinema.generate.pipeline import Pipeline
from kinema.generate.record import Record
from kinema.generate.vocabulary import Vocabulary
from kinema.model import CausalConfig, load_model
from kinema.spec import VideoSpec

_META = torch.device("meta")


@dataclass(frozen=True, kw_only=True)
class StageWork:
    """One stage of a generation."""

    stage: str
    """text, denoise or decode."""
    work: Work
    """What one call of it does."""
    times: int
    """How often it is called."""
    weight_bytes: int
    """Weights that each call reads."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A resolved request and the outline of the model that will make it; `load` brings the weights."""

    spec: VideoSpec
    """The request, with every default filled in."""
    device: torch.device
    """Where it will be computed."""
    dtype: str
    """Number type of the networks."""
    outline: Pipeline
    """The model without its weights."""
    causal: str | None = None
    """How it looks back, by a name of CAUSAL_PRESETS; None = as its folder says."""

    def load(self) -> Pipeline:
        """Load the model for real. Raises CheckpointError for a damaged folder."""
        return Pipeline.load(self.spec.model, str(self.device), self.dtype, self.causal)

    def record(self) -> Record:
        """What will be written into the file."""
        return Record.of(self.spec, folder=self.outline.model.folder, device=self.device.type, dtype=self.dtype)

    def warnings(self) -> tuple[str, ...]:
        """What the person may want to know before the work begins."""
        vocabulary = self.outline.vocabulary
        warning = vocabulary.warning(self.spec.prompt) if vocabulary else None
        unused = "negative has no effect with guidance 1" if self.spec.guidance == 1 and self.spec.negative else None
        pace = edit_warnings(self.spec.edit, self.spec, self.outline.model.defaults)
        return tuple(text for text in (warning, unused, *pace) if text is not None)

    @functools.cached_property
    def estimate(self) -> Estimate:
        """What making it will cost, counted operation by operation and timed by a short probe of the device."""
        with explained(self.spec):
            works = self.works()
        flops = sum(each.work.flops * each.times for each in works)
        model = self.outline.model
        parts = [*model.experts, model.vae, model.text, *([model.image] if model.image is not None else [])]
        weight_bytes = sum(map(_weight_bytes, parts))
        rate = EFFICIENCY * matrix_rate(self.device, DTYPES[self.dtype])
        return Estimate(
            flops=flops,
            seconds=flops / rate,
            weight_bytes=weight_bytes,
            memory_bytes=weight_bytes + max(each.work.peak_bytes for each in works),
        )

    def works(self) -> list[StageWork]:
        """The parts of the computation, and how often each is done."""
        assert self.spec.steps is not None
        model = self.outline.model
        if model.causal is not None:
            counted = self._causal_works(model.causal)
        else:
            network = self.outline.network(self.spec)
            latent = self._noise()
            times = torch.ones(latent.shape[0], latent.shape[2], device=_META)
            evaluations = 2 * self.spec.steps - 1 if self.spec.solver == "heun" else self.spec.steps
            counted = [
                (count_work(lambda: self.outline.network(self.spec)), 1),
                (count_work(lambda: network(latent, times)), evaluations),
                (count_work(lambda: list(self.outline.decode(latent, self.spec))), 1),
            ]
        weights = (model.text, model.dit, model.vae.decoder)
        return [
            StageWork(stage=stage, work=work, times=times, weight_bytes=_weight_bytes(part))
            for stage, (work, times), part in zip(("text", "denoise", "decode"), counted, weights, strict=True)
        ]

    def _noise(self) -> torch.Tensor:
        """What the noise looks like, "1 c t y x", without its numbers: for a large video they would fill the memory."""
        vae = self.outline.model.vae
        shape = self.spec.shape.to_latent(vae.stride)
        return torch.empty(1, vae.config.z_dim, shape.frames, shape.height, shape.width, device=_META)

    def _causal_works(self, causal: CausalConfig) -> list[tuple[Work, int]]:
        """The text, one block, and what it decodes to; the first block looks back on nothing: a little low."""
        noise = self._noise()
        rollout = self.outline.rollout(self.spec, causal)
        length = min(causal.block, noise.shape[2])

        def block() -> None:
            rollout.generate(lambda start, frames, _: noise[:, :, start : start + frames], length)
            rollout.finalize(lambda start, frames, _: noise[:, :, start : start + frames])

        times = -(-noise.shape[2] // causal.block)
        latent = noise[:, :, :length]
        return [
            (count_work(lambda: self.outline.network(self.spec)), 1),
            (count_work(block), times),
            (count_work(lambda: list(self.outline.decode(latent, self.spec))), times),
        ]


def _weight_bytes(network: torch.nn.Module) -> int:
    return sum(weight.numel() * weight.element_size() for weight in network.parameters())


def make_plan(
    request: VideoSpec, *, device: str | None = None, dtype: str | None = None, causal: str | None = None
) -> Plan:
    """Check a request against its model and resolve it, reading the model's configuration and tokenizer only.

    Raises what `Pipeline.load` and `Pipeline.resolve` raise, but for damaged weights.
    """
    chosen = choose_device(device)
    number_type = choose_dtype(dtype, chosen)
    model = load_model(request.model, _META, number_type)
    vocabulary = Vocabulary.load(model.folder) if model.folder else None
    if causal is not None:
        model = looking_back(model, causal)
    outline = Pipeline(model, name=request.model, vocabulary=vocabulary)
    return Plan(
        spec=outline.resolve(request), device=chosen, dtype=dtype_name(number_type), outline=outline, causal=causal
    )
