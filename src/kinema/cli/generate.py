"""`kinema generate`: a prompt on the command line becomes a video file."""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from kinema.cli import flags, making
from kinema.media import ENDINGS, read_metadata
from kinema.spec import VideoSpec

if TYPE_CHECKING:
    from kinema.generate.record import Record
    from kinema.provenance.mark import Marks

logger = logging.getLogger(__name__)

_SPEC_FLAGS = (
    "model",
    "seconds",
    "frames",
    "fps",
    "seed",
    "steps",
    "guidance",
    "guidance_low",
    "step_cache",
    "negative",
    "solver",
    "shift",
)
_MODELS = flags.hint("the model's")


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Make a video from a prompt.

    What is left out takes the default of the model; `--dry-run` shows what that is, and what it will cost.
    """

    prompt: Annotated[str | None, tyro.conf.Positional, flags.text("PROMPT"), flags.hint()] = None
    """What to show, such as "a red ball rolls to the right"."""
    model: Annotated[str | None, flags.text("NAME|FOLDER|HUB_ID"), flags.hint("mini")] = None
    """The model: its name, its folder, or its hub id."""
    out: Annotated[Path | None, flags.path("FILE"), flags.hint("a new name made from the prompt")] = None
    """The file to write: .mp4, .webm, .gif, .webp, or .png for one frame."""
    seconds: Annotated[float | None, flags.number("S"), _MODELS] = None
    """Length, from the first frame to the last. Give this or --frames."""
    frames: Annotated[int | None, flags.whole("N"), _MODELS] = None
    """Number of frames; 1 makes a picture."""
    size: Annotated[str | None, flags.text("WxH"), _MODELS] = None
    """Width and height in pixels, such as 96x64."""
    fps: Annotated[float | None, flags.number("F"), _MODELS] = None
    """Frames per second."""
    seed: Annotated[int | None, flags.whole("N"), flags.hint("0")] = None
    """Another seed is another take; the same seed makes the same video again."""
    steps: Annotated[int | None, flags.whole("N"), _MODELS] = None
    """Steps of the solver; more is slower and usually better."""
    guidance: Annotated[float | None, flags.number("G"), _MODELS] = None
    """How strongly to follow the prompt; 1 turns guidance off and is twice as fast."""
    guidance_low: Annotated[float | None, flags.number("G"), _MODELS] = None
    """The guidance of the second expert, which finishes the video, in models of two such as wan2.2-a14b."""
    negative: Annotated[str | None, flags.text("TEXT"), _MODELS] = None
    """What to lead away from; works with guidance above 1."""
    image: Annotated[Path | None, flags.path("FILE"), flags.hint()] = None
    """A picture to start from: it becomes the first frame."""
    last_image: Annotated[Path | None, flags.path("FILE"), flags.hint()] = None
    """A picture to end on, beside --image, for models trained on both, such as wan2.1-flf2v-14b."""
    at: Annotated[
        tuple[tuple[Annotated[float, flags.number("S")], Annotated[str, flags.text("PROMPT")]], ...],
        tyro.conf.UseAppendAction,
        flags.hint(),
    ] = ()
    """Show something else from second S on, such as --at 20 "the ball stops"; may be repeated. For causal models."""
    step_cache: Annotated[float | None, flags.number("X"), flags.hint("off")] = None
    """Faster, and not quite the same: leave out most of a step that begins nearly as the last one did, such as 0.1."""
    lora: Annotated[
        tuple[Annotated[str, flags.text("FILE[:WEIGHT]")], ...], tyro.conf.UseAppendAction, flags.hint()
    ] = ()
    """Add a LoRA to the model, with its weight (1 unless given), such as style.safetensors:0.8; may be repeated."""
    solver: Annotated[str | None, flags.text("S"), _MODELS] = None
    """How steps are taken: unipc, euler or heun."""
    shift: Annotated[float | None, flags.number("S"), _MODELS] = None
    """Above 1 spends more of the steps on layout and motion, below 1 more on detail."""
    count: Annotated[int, flags.whole("N"), flags.hint("1")] = 1
    """Make several videos, with the seeds from --seed upwards."""
    device: Annotated[str | None, flags.text("D"), flags.hint("a GPU if there is one, else cpu")] = None
    """Where to compute: cpu, cuda, cuda:1."""
    dtype: Annotated[str | None, flags.text("D"), flags.hint("the fastest that the device has")] = None
    """Number type of the networks: float32, bfloat16 or float16."""
    memory: Annotated[str | None, flags.text("AMOUNT"), flags.hint("whatever it takes")] = None
    """Keep to this much memory, such as 8GB: of the GPU, or on a CPU of the process; slower where it is little."""
    attention: Annotated[str | None, flags.text("NAME"), flags.hint("auto")] = None
    """What computes attention: auto, cudnn, flash, efficient, math, products, or a package: flash3, flash2, sage."""
    quantize: Annotated[str | None, flags.text("KIND"), flags.hint("off")] = None
    """Less memory, and not quite the same: weights of eight bits in the transformer, int8 or on newer GPUs fp8."""
    from_: Annotated[Path | None, flags.path("FILE"), flags.hint(name="from")] = None
    """Make a video again that `kinema generate` wrote; flags beside it change what they name."""
    label: Annotated[str | None, flags.text("eu|cn"), flags.hint("none")] = None
    """Put a label that people see into every frame: eu writes AI, cn writes AI生成."""
    no_marks: Annotated[bool, flags.hint()] = False
    """Leave out the marks that say how the file was made: the invisible watermark, the AIGC key, the signature."""
    as_json: Annotated[bool, flags.hint(name="json")] = False
    """Print the result as one JSON object."""
    dry_run: Annotated[bool, flags.hint()] = False
    """Check everything and print the resolved request and its cost, without making anything."""
    force: Annotated[bool, flags.hint()] = False
    """Replace the output if it exists."""


def run(argv: Sequence[str]) -> int:
    """Run the command with the arguments that follow its name; returns the exit code."""
    options = flags.parse(Generate, argv, "generate")
    old = read_metadata(options.from_) if options.from_ else {}
    before = _read_record(old, options.from_) if options.from_ else None
    marks = making.marks_of(options.label, no_marks=options.no_marks, old=old)
    request = _request(options, before)
    making.check_outputs(options.out, options.count, force=options.force)

    from kinema.generate.plan import make_plan  # torch comes in only now, when the request makes sense

    dtype = options.dtype or (before.dtype if before else None)
    plan = make_plan(
        request,
        device=options.device,
        dtype=dtype,
        memory=options.memory,
        attention=options.attention or (before.attention if before else "auto"),
        quantize=options.quantize or (before.quantize if before else None),
    )
    dataclasses.replace(plan.spec, seed=plan.spec.seed + options.count - 1)  # refuses a last seed that is too large
    name = making.slug(plan.spec.prompt)
    ending = _ending(options.from_, before, plan.spec)
    paths = making.outputs(options.out, options.count, plan.spec, name=name, force=options.force, ending=ending)
    warnings = [*plan.warnings(), *(_changes(before, plan.record()) if before else []), *_unmarked(marks, old, before)]
    for warning in [*warnings, *making.check_marks(marks, plan.spec, paths, is_dry=options.dry_run)]:
        logger.warning(warning)
    if options.dry_run:
        making.show_plan(plan, paths, options.as_json)
    else:
        making.make_videos(plan, paths, marks, options.as_json)
    return 0


def _read_record(metadata: dict[str, str], path: Path) -> "Record":
    from kinema.generate.record import Record

    return Record.from_metadata(metadata, path)


def _ending(old: Path | None, before: "Record | None", spec: VideoSpec) -> str | None:
    """The format of a file made again: that of the file, unless a picture became a video, or a video a picture."""
    if old is None or before is None or (before.spec.frames == 1) != (spec.frames == 1):
        return None
    return old.suffix.lower() if old.suffix.lower() in ENDINGS else None


def _unmarked(marks: "Marks", old: dict[str, str], before: "Record | None") -> Iterator[str]:
    from kinema.provenance.mark import AIGC_KEY

    if before is not None and marks.aigc and AIGC_KEY.lower() not in old:
        yield "the video may differ: the file was made without marks; add --no-marks for the same again"


def _request(options: Generate, before: "Record | None") -> VideoSpec:
    """The request that the flags make, on top of the one that `--from` read."""
    given: dict[str, Any] = {name: getattr(options, name) for name in _SPEC_FLAGS}
    given["prompt"] = options.prompt
    given["image"] = None if options.image is None else str(options.image)
    given["last_image"] = None if options.last_image is None else str(options.last_image)
    given["changes"] = options.at or None
    given["loras"] = tuple(map(_parse_lora, options.lora)) or None
    if options.size is not None:
        given["width"], given["height"] = flags.parse_size(options.size)
    given = {name: value for name, value in given.items() if value is not None}
    if before is None:
        return VideoSpec(**{"prompt": "", **given})
    if "seconds" in given and "frames" not in given:
        given["frames"] = None  # the length that the file had gives way to the one asked for
    return dataclasses.replace(before.spec, **given)


def _parse_lora(text: str) -> tuple[str, float]:
    """Part FILE:WEIGHT; a colon that no number follows belongs to the file's name."""
    path, colon, weight = text.rpartition(":")
    try:
        return (path, float(weight)) if colon else (text, 1.0)
    except ValueError:
        return text, 1.0


def _changes(before: "Record", now: "Record") -> Iterator[str]:
    """What may keep a file made from another one from being identical, apart from what the flags ask for."""
    if before.spec.model == now.spec.model:
        for difference in before.differences(now):
            yield f"the video may differ: {difference}"
