"""A request checked against its model, and what it will cost, before any weight is read."""

import dataclasses
import functools
from dataclasses import dataclass

import torch

from kinema.generate.device import DTYPES, choose_device, choose_dtype, dtype_name, explained
from kinema.generate.edit import edit_warnings
from kinema.generate.estimate import EFFICIENCY, Estimate, matrix_rate
from kinema.generate.experts import looking_back
from kinema.generate.fit import Fitter
from kinema.generate.means import Means, companions, weight_bytes
from kinema.generate.pipeline import Pipeline
from kinema.generate.record import Record
from kinema.generate.vocabulary import Vocabulary
from kinema.generate.works import StageWork
from kinema.model import load_model
from kinema.model.attention import choose_attention
from kinema.model.quantize import check_quantize
from kinema.spec import VideoSpec, parse_memory

_META = torch.device("meta")


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
    memory: int | None = None
    """What to keep to, in bytes; None = whatever it takes."""
    attention: str = "auto"
    """What computes attention, by a name of KERNELS, or auto."""
    quantize: str | None = None
    """Which eight bits the transformers' weights get; None = none."""

    def load(self) -> Pipeline:
        """Load the model for real. Raises CheckpointError for a damaged folder."""
        return Pipeline.load(
            self.spec.model, str(self.device), self.dtype, self.causal, self.memory, self.attention, self.quantize
        )

    @functools.cached_property
    def fitter(self) -> Fitter:
        """What counts the work, and finds how to keep to the memory."""
        return Fitter(self.outline, self.device, self.memory, self.quantize)

    @functools.cached_property
    def means(self) -> Means:
        """How it keeps to the memory. Raises DeviceMemoryError where nothing would do."""
        with explained(self.spec):
            return self.fitter.means(self.spec)

    def record(self) -> Record:
        """What will be written into the file."""
        return dataclasses.replace(
            self.outline.record(self.spec),
            device=self.device.type,
            attention=self.attention,
            quantize=self.quantize,
        )

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
        everything = companions(model, Means(), model.dit)
        rate = EFFICIENCY * matrix_rate(self.device, DTYPES[self.dtype])
        return Estimate(
            flops=flops,
            seconds=flops / rate,
            weight_bytes=sum(weight_bytes(each, Means(quantize=self.quantize)) for each in everything),
            memory_bytes=max(self.fitter.peaks(self.spec, self.means).values()),
        )

    def works(self) -> list[StageWork]:
        """The parts of the computation, and how often each is done."""
        return self.fitter.works(self.spec)


def make_plan(
    request: VideoSpec,
    *,
    device: str | None = None,
    dtype: str | None = None,
    causal: str | None = None,
    memory: str | int | None = None,
    attention: str = "auto",
    quantize: str | None = None,
) -> Plan:
    """Check a request against its model and resolve it; of the weights no number is read, only what files hold them.

    Raises what `Pipeline.load` and `Pipeline.resolve` raise, but for damaged numbers, and DeviceMemoryError where the
    request does not fit into `memory`, such as "8GB".
    """
    amount = None if memory is None else parse_memory(memory)
    chosen = choose_device(device)
    number_type = choose_dtype(dtype, chosen)
    if quantize is not None:
        check_quantize(quantize, chosen)
    model = load_model(request.model, _META, number_type)
    model.check_files()
    vocabulary = Vocabulary.load(model.folder) if model.folder else None
    if causal is not None:
        model = looking_back(model, causal)
    choose_attention(attention, chosen, number_type, model.dit.config.head_dim)  # refuses what does not run here
    outline = Pipeline(model, name=request.model, vocabulary=vocabulary)
    plan = Plan(
        spec=outline.resolve(request),
        device=chosen,
        dtype=dtype_name(number_type),
        outline=outline,
        causal=causal,
        memory=amount,
        attention=attention,
        quantize=quantize,
    )
    if amount is not None:
        _ = plan.means  # refuses what does not fit
    return plan
