"""`kinema generate`: a prompt on the command line becomes a video file."""

import dataclasses
import itertools
import json
import logging
import re
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from kinema.cli import flags
from kinema.config import to_dict
from kinema.errors import SpecError
from kinema.media import VideoWriter, check_output, read_metadata
from kinema.spec import VideoSpec

if TYPE_CHECKING:
    from kinema.generate.pipeline import Pipeline
    from kinema.generate.plan import Plan
    from kinema.generate.progress import Progress
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
_SLUG_CHARACTERS = 40
_MOST = 10_000  # videos of one command
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
    if not 1 <= options.count <= _MOST:
        raise SpecError(f"count={options.count} does not fit; it takes a whole number from 1 to {_MOST}")
    old = read_metadata(options.from_) if options.from_ else {}
    before = _read_record(old, options.from_) if options.from_ else None
    marks = _marks(options, old)
    request = _request(options, before)
    _check_outputs(options)

    from kinema.generate.plan import make_plan  # torch comes in only now, when the request makes sense

    dtype = options.dtype or (before.dtype if before else None)
    plan = make_plan(request, device=options.device, dtype=dtype)
    dataclasses.replace(plan.spec, seed=plan.spec.seed + options.count - 1)  # refuses a last seed that is too large
    paths = _outputs(options, plan.spec)
    warnings = [*plan.warnings(), *(_changes(before, plan.record()) if before else []), *_unmarked(marks, old, before)]
    for warning in [*warnings, *_check_marks(marks, plan.spec, paths, options.dry_run)]:
        logger.warning(warning)
    if options.dry_run:
        _show_plan(plan, paths, options.as_json)
    else:
        _generate(plan, paths, marks, options.as_json)
    return 0


def _read_record(metadata: dict[str, str], path: Path) -> "Record":
    from kinema.generate.record import Record

    return Record.from_metadata(metadata, path)


def _marks(options: Generate, old: dict[str, str]) -> "Marks":
    """The marks to put on: all, unless turned off; and the label asked for, or that of the file to make again."""
    from kinema.provenance.mark import LABEL_KEY, UNMARKED, Marks

    marks = UNMARKED if options.no_marks else Marks()
    return dataclasses.replace(marks, label=options.label or old.get(LABEL_KEY))


def _check_marks(marks: "Marks", spec: VideoSpec, paths: list[Path], is_dry: bool) -> Iterator[str]:
    """Refuse a label that does not fit, and a key that cannot sign, before any work; say what cannot be marked."""
    from kinema.provenance import label
    from kinema.provenance.mark import Marker

    if marks.label is not None:
        label.box(spec.shape.height, spec.shape.width, marks.label)
    if not is_dry and (missing := Marker(paths[0].name, {}, marks).missing):  # makes the certificates if there are none
        yield missing


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


def _check_outputs(options: Generate) -> None:
    if options.out is not None:
        for path in _numbered(options.out, options.count):
            check_output(path, overwrite=options.force)


def _outputs(options: Generate, spec: VideoSpec) -> list[Path]:
    """The files to write: the one asked for, or new ones named after the prompt; checked, so that no work is lost."""
    assert spec.fps is not None
    if options.out is not None:
        if options.out.suffix.lower() == ".png" and spec.frames != 1:
            raise SpecError(f"{options.out}: a png holds one frame, not {spec.frames}; use --frames 1, or .mp4")
        paths = _numbered(options.out, options.count)
    else:
        paths = list(itertools.islice(_new_names(spec), options.count))
    for path in paths:
        check_output(path, overwrite=options.force)
        VideoWriter(path, spec.fps)  # refuses a rate that the format cannot hold
    return paths


def _new_names(spec: VideoSpec) -> Iterator[Path]:
    """Names made from the prompt that no file has."""
    slug = "-".join(re.findall(r"\w+", spec.prompt.lower()))[:_SLUG_CHARACTERS].strip("-_") or "video"
    ending = ".png" if spec.frames == 1 else ".mp4"
    for number in itertools.count(1):
        path = Path(f"{slug}{'' if number == 1 else f'-{number}'}{ending}")
        if not path.exists():
            yield path


def _numbered(path: Path, count: int) -> list[Path]:
    return [path] if count == 1 else [path.with_stem(f"{path.stem}-{i + 1}") for i in range(count)]


def _generate(plan: "Plan", paths: list[Path], marks: "Marks", as_json: bool) -> None:
    """Make the videos one after the other, each straight into its file."""
    console = Console(stderr=True)
    results = []
    is_heard = logger.isEnabledFor(logging.WARNING)  # --quiet wants errors only
    with _bars(console) as bars:
        loading = bars.add_task("load", total=1)
        began = time.monotonic()
        pipeline = plan.load()
        bars.update(loading, completed=1, visible=False)
        for i, path in enumerate(paths):
            spec = dataclasses.replace(plan.spec, seed=plan.spec.seed + i)
            label = f"[{i + 1}/{len(paths)}] " if len(paths) > 1 else ""
            _write(pipeline, spec, path, marks, _ShowProgress(bars, label))
            took_s, began = time.monotonic() - began, time.monotonic()
            results.append(_result(path, spec, took_s))
            if not as_json and is_heard:
                bars.console.print(_summary(results[-1]), highlight=False, markup=False, soft_wrap=True)
    if as_json:
        print(json.dumps({"videos": results, "warnings": list(plan.warnings())}, ensure_ascii=False))
    elif is_heard:
        print(_next(paths[-1], plan.spec), file=sys.stderr)


def _write(pipeline: "Pipeline", spec: VideoSpec, path: Path, marks: "Marks", show: "_ShowProgress") -> None:
    from kinema.provenance.c2pa import Ingredient
    from kinema.provenance.mark import write_marked

    assert spec.fps is not None
    shown = [Ingredient(path=Path(each), relation="inputTo") for each in (spec.image, spec.last_image) if each]
    write_marked(path, pipeline.stream(spec, show), spec.fps, pipeline.record(spec).to_metadata(), marks, shown)
    show.clear()


def _bars(console: Console) -> Bars:
    """Bars on standard error: stage, steps and time left; nothing of them stays, and a file or pipe sees none."""
    return Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        disable=not console.is_terminal or not logger.isEnabledFor(logging.WARNING),
    )


class _ShowProgress:
    """Turns the reports of a pipeline into bars, one for each stage."""

    def __init__(self, bars: Bars, label: str) -> None:
        self._bars = bars
        self._label = label
        self._stage = ""
        self._task: Any = None

    def __call__(self, progress: "Progress") -> None:
        if progress.stage != self._stage:
            self.clear()
            self._stage = progress.stage
            self._task = self._bars.add_task(self._label + progress.stage, total=progress.total)
        self._bars.update(self._task, completed=progress.step)

    def clear(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None


def _result(path: Path, spec: VideoSpec, took_s: float) -> dict[str, Any]:
    return {
        "path": str(path),
        "bytes": path.stat().st_size,
        "took_s": round(took_s, 3),
        "spec": to_dict(spec),
    }


def _summary(result: dict[str, Any]) -> str:
    spec = result["spec"]
    length = "one frame" if spec["frames"] == 1 else f"{spec['frames']} frames at {spec['fps']:g} per second"
    size = f"{spec['width']}x{spec['height']}, {length}, {result['bytes'] / 1000:.0f} kB"
    return f"{result['path']}  {size}, seed {spec['seed']}, made in {result['took_s']:.1f} s"


def _next(path: Path, spec: VideoSpec) -> str:
    again = shlex.join(["kinema", "generate", "--from", str(path)])
    return f"next: --seed {spec.seed + 1} for another take, or the same again: {again}"


def _show_plan(plan: "Plan", paths: list[Path], as_json: bool) -> None:
    shown = {
        "spec": to_dict(plan.spec),
        "outputs": [str(path) for path in paths],
        "device": str(plan.device),
        "dtype": plan.dtype,
        "estimate": to_dict(plan.estimate),
    }
    if as_json:
        print(json.dumps({**shown, "warnings": list(plan.warnings())}, ensure_ascii=False))
        return
    for name, value in [*to_dict(plan.spec).items(), ("device", plan.device), ("dtype", plan.dtype)]:
        if value not in (None, "", []):
            print(f"{name:>10}  {value}")
    for path in paths:
        print(f"{'output':>10}  {path}")
    print(f"{'cost':>10}  {plan.estimate.describe()}")
