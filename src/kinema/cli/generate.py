"""`kinema generate`: a prompt on the command line becomes a video file."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from kinema.cli import flags, groups, making
from kinema.media import ENDINGS, read_metadata
from kinema.spec import VideoSpec

if TYPE_CHECKING:
    from kinema.generate.record import Record
    from kinema.provenance.mark import Marks


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
    seconds: Annotated[float | None, flags.number("S"), groups.MODELS] = None
    """Length, from the first frame to the last. Give this or --frames."""
    frames: Annotated[int | None, flags.whole("N"), groups.MODELS] = None
    """Number of frames; 1 makes a picture."""
    fps: Annotated[float | None, flags.number("F"), groups.MODELS] = None
    """Frames per second."""
    image: Annotated[Path | None, flags.path("FILE"), flags.hint()] = None
    """A picture to start from: it becomes the first frame."""
    last_image: Annotated[Path | None, flags.path("FILE"), flags.hint()] = None
    """A picture to end on, beside --image, for models trained on both, such as wan2.1-flf2v-14b."""
    fit: Annotated[str | None, flags.text("HOW"), flags.hint("they are refused")] = None
    """How pictures of other proportions come into the frame: crop, pad or stretch."""
    at: groups.TimedTexts = ()
    """Show something else from second S on, such as --at 20 "the ball stops"; may be repeated. For causal models."""
    lora: Annotated[
        tuple[Annotated[str, flags.text("FILE[:WEIGHT]")], ...], tyro.conf.UseAppendAction, flags.hint()
    ] = ()
    """Add a LoRA to the model, with its weight (1 unless given), such as style.safetensors:0.8; may be repeated."""
    count: Annotated[int, flags.whole("N"), flags.hint("1")] = 1
    """Make several videos, with the seeds from --seed upwards."""
    from_: Annotated[Path | None, flags.path("FILE"), flags.hint(name="from")] = None
    """Make a video again that `kinema generate` wrote; flags beside it change what they name."""
    sampling: groups.Shared[groups.FineSampling]
    compute: groups.Shared[groups.Compute]
    writing: groups.Shared[groups.Writing]


def run(argv: Sequence[str]) -> int:
    """Run the command with the arguments that follow its name; returns the exit code."""
    options = flags.parse(Generate, argv, "generate")
    old = read_metadata(options.from_) if options.from_ else {}
    before = _read_record(old, options.from_) if options.from_ else None
    marks = making.marks_of(options.writing, old)
    request = _request(options, before)
    making.check_outputs(options.out, options.count, force=options.writing.force)

    from kinema.generate.plan import make_plan  # torch comes in only now, when the request makes sense

    plan = make_plan(request, options.compute.chosen(before))
    dataclasses.replace(plan.spec, seed=plan.spec.seed + options.count - 1)  # refuses a last seed that is too large
    name, force = making.slug(plan.spec.prompt), options.writing.force
    ending = _ending(options.from_, before, plan.spec)
    paths = making.outputs(options.out, options.count, plan.spec, name=name, force=force, ending=ending)
    warnings = [*(_changes(before, plan.record()) if before else []), *_unmarked(marks, old, before)]
    making.carry_out(plan, paths, marks, options.writing, warnings)
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
    given = groups.given(options, "prompt", "model", "seconds", "frames", "fps", "image", "last_image", "fit")
    given |= options.sampling.given()
    if options.at:
        given["changes"] = options.at
    if options.lora:
        given["loras"] = tuple(map(_parse_lora, options.lora))
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
