"""A request checked against its model, and what it will cost, before any weight is read."""

import dataclasses
import functools
from dataclasses import dataclass

from kinema.generate.device import explained
from kinema.generate.edit import edit_warnings
from kinema.generate.estimate import EFFICIENCY, Estimate, matrix_rate
from kinema.generate.fit import Fitter
from kinema.generate.means import Means, companions, weight_bytes
from kinema.generate.pipeline import Pipeline
from kinema.generate.prepare import LoadOptions, Prepared, prepare
from kinema.generate.record import Record
from kinema.generate.works import StageWork
from kinema.spec import VideoSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A resolved request and the outline of the model that will make it; `load` brings the weights."""

    spec: VideoSpec
    """The request, with every default filled in."""
    prepared: Prepared
    """The model without its weights, and how it will be computed."""
    outline: Pipeline
    """The same as a pipeline, which makes nothing."""

    def load(self) -> Pipeline:
        """Load the model for real. Raises CheckpointError for damaged numbers."""
        return Pipeline.of(self.prepared, self.fitter)

    @functools.cached_property
    def fitter(self) -> Fitter:
        """What counts the work, and finds how to keep to the memory."""
        return Fitter(self.outline, self.prepared.device, self.prepared.memory, self.prepared.quantize)

    @functools.cached_property
    def means(self) -> Means:
        """How it keeps to the memory. Raises DeviceMemoryError where nothing would do."""
        with explained(self.spec):
            return self.fitter.means(self.spec)

    def record(self) -> Record:
        """What will be written into the file."""
        return dataclasses.replace(self.outline.record(self.spec), device=self.prepared.device.type)

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
        rate = EFFICIENCY * matrix_rate(self.prepared.device, self.prepared.dtype)
        return Estimate(
            flops=flops,
            seconds=flops / rate,
            weight_bytes=sum(weight_bytes(each, Means(quantize=self.prepared.quantize)) for each in everything),
            memory_bytes=max(self.fitter.peaks(self.spec, self.means).values()),
        )

    def works(self) -> list[StageWork]:
        """The parts of the computation, and how often each is done."""
        return self.fitter.works(self.spec)


def make_plan(request: VideoSpec, options: LoadOptions) -> Plan:
    """Check a request against its model and resolve it; of the weights no number is read, only what files hold them.

    Raises what `Pipeline.load` and `Pipeline.resolve` raise, but for damaged numbers, and DeviceMemoryError where the
    request does not fit into the memory that the options give.
    """
    prepared = prepare(request.model, options)
    outline = Pipeline(prepared.outline, prepared=prepared)
    plan = Plan(spec=outline.resolve(request), prepared=prepared, outline=outline)
    if prepared.memory is not None:
        _ = plan.means  # refuses what does not fit
    return plan
