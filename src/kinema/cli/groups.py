"""Flags that several commands take, written once: how a model computes, how it samples, what becomes of the file."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import tyro

from kinema.cli import flags

if TYPE_CHECKING:
    from kinema.generate.prepare import LoadOptions
    from kinema.generate.record import Record

T = TypeVar("T")
TimedTexts = Annotated[
    tuple[tuple[Annotated[float, flags.number("S")], Annotated[str, flags.text("TEXT")]], ...],
    tyro.conf.UseAppendAction,
    flags.hint(),
]
"""A flag that takes a second and what to show from then on, and may be repeated."""

MODELS = flags.hint("the model's")
Shared = Annotated[T, tyro.conf.OmitArgPrefixes]
"""A field of a command's options whose flags stand among those of the command."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a model computes."""

    device: Annotated[str | None, flags.text("D"), flags.hint("a GPU if there is one, else cpu")] = None
    """Where to compute: cpu, cuda, cuda:1."""
    dtype: Annotated[str | None, flags.text("D"), flags.hint("the fastest that the device has")] = None
    """Number type of the networks: float32, bfloat16 or float16."""


@dataclass(frozen=True, kw_only=True)
class Compute(Place):
    """Where and how the model computes."""

    memory: Annotated[str | None, flags.text("AMOUNT"), flags.hint("whatever it takes")] = None
    """Keep to this much memory, such as 8GB: of the GPU, or on a CPU of the process; slower where it is little."""
    attention: Annotated[str | None, flags.text("NAME"), flags.hint("auto")] = None
    """What computes attention: auto, cudnn, flash, efficient, math, products, or a package: flash3, flash2, sage."""
    quantize: Annotated[str | None, flags.text("KIND"), flags.hint("off")] = None
    """Less memory, and not quite the same: weights of eight bits in the transformer, int8 or on newer GPUs fp8."""

    def chosen(self, before: "Record | None" = None, causal: str | None = None) -> "LoadOptions":
        """How to load the model; number type, attention and bits are those of `before` where no flag says others."""
        from kinema.generate.prepare import LoadOptions

        return LoadOptions(
            device=self.device,
            dtype=self.dtype or (before.dtype if before else None),
            causal=causal,
            memory=self.memory,
            attention=self.attention or (before.attention if before else "auto"),
            quantize=self.quantize or (before.quantize if before else None),
        )


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the video is sampled."""

    size: Annotated[str | None, flags.text("WxH"), MODELS] = None
    """Width and height in pixels, such as 96x64."""
    seed: Annotated[int | None, flags.whole("N"), flags.hint("0")] = None
    """Another seed is another take; the same seed makes the same video again."""
    steps: Annotated[int | None, flags.whole("N"), MODELS] = None
    """Steps of the solver, in a stream for each block; more is slower and usually better."""
    guidance: Annotated[float | None, flags.number("G"), MODELS] = None
    """How strongly to follow the prompt; 1 turns guidance off and is twice as fast."""

    def given(self) -> dict[str, Any]:
        """The fields of a request that the flags name."""
        found = given(self, *(field.name for field in dataclasses.fields(self) if field.name != "size"))
        if self.size is not None:
            found["width"], found["height"] = flags.parse_size(self.size)
        return found


@dataclass(frozen=True, kw_only=True)
class FineSampling(Sampling):
    """How the video is sampled."""

    guidance_low: Annotated[float | None, flags.number("G"), MODELS] = None
    """The guidance of the second expert, which finishes the video, in models of two such as wan2.2-a14b."""
    negative: Annotated[str | None, flags.text("TEXT"), MODELS] = None
    """What to lead away from; works with guidance above 1."""
    step_cache: Annotated[float | None, flags.number("X"), flags.hint("off")] = None
    """Faster, and not quite the same: leave out most of a step that begins nearly as the last one did, such as 0.1."""
    solver: Annotated[str | None, flags.text("S"), MODELS] = None
    """How steps are taken: unipc, euler or heun."""
    shift: Annotated[float | None, flags.number("S"), MODELS] = None
    """Above 1 spends more of the steps on layout and motion, below 1 more on detail."""


@dataclass(frozen=True, kw_only=True)
class Writing:
    """What is written, and what is said."""

    label: Annotated[str | None, flags.text("eu|cn"), flags.hint("none")] = None
    """Put a label that people see into every frame: eu writes AI, cn writes AI生成."""
    no_marks: Annotated[bool, flags.hint()] = False
    """Leave out the marks of origin: the invisible watermark, the AIGC key, and the signature (streams have none)."""
    as_json: Annotated[bool, flags.hint(name="json")] = False
    """Print the result as one JSON object."""
    dry_run: Annotated[bool, flags.hint()] = False
    """Check everything and print the resolved request and its cost, without making anything."""
    force: Annotated[bool, flags.hint()] = False
    """Replace the output if it exists."""


def given(options: object, *names: str) -> dict[str, Any]:
    """The options of these names that were given, paths as text."""
    found = {name: getattr(options, name) for name in names}
    return {name: str(each) if isinstance(each, Path) else each for name, each in found.items() if each is not None}
