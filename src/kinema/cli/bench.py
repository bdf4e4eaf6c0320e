"""`kinema bench`: how fast a model is on this machine, stage by stage, beside diffusers and beside what is possible."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

import kinema
from kinema.cli import flags, groups
from kinema.config import to_dict
from kinema.errors import SpecError
from kinema.spec import VideoSpec

if TYPE_CHECKING:
    from kinema.evaluate.bench import Comparison
    from kinema.evaluate.roofline import Floor
    from kinema.evaluate.stream_bench import StreamTimes


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Time a model, prompt to frames, beside diffusers on the same weights, steps and noise.

    Measure on a machine that does nothing else; the load that was found is printed beside the figures.
    """

    model: Annotated[str, tyro.conf.Positional, flags.text("NAME|FOLDER"), flags.hint("mini")] = "mini"
    """The model: its name or its folder."""
    alone: Annotated[bool, flags.hint()] = False
    """Measure Kinema only; diffusers need not be installed."""
    rounds: Annotated[int, flags.whole("N"), flags.hint("5")] = 5
    """Videos per side; medians are shown."""
    frames: Annotated[int | None, flags.whole("N"), groups.MODELS] = None
    """Number of frames."""
    size: Annotated[str | None, flags.text("WxH"), groups.MODELS] = None
    """Width and height in pixels, such as 96x64."""
    steps: Annotated[int | None, flags.whole("N"), groups.MODELS] = None
    """Steps of the solver."""
    stream: Annotated[int | None, flags.whole("N"), flags.hint()] = None
    """Time N blocks of a stream instead, for causal models: the first frame, the steady state, each stage."""
    preset: Annotated[str | None, flags.text("NAME"), groups.MODELS] = None
    """With --stream, how the model looks back: self-forcing or longlive."""
    as_json: Annotated[bool, flags.hint(name="json")] = False
    """Print the figures as one JSON object."""
    dry_run: Annotated[bool, flags.hint()] = False
    """Check everything and print the resolved request, without measuring anything."""
    place: groups.Shared[groups.Place]


def run(argv: Sequence[str]) -> int:
    """Run the command with the arguments that follow its name; returns the exit code."""
    options = flags.parse(Bench, argv, "bench")
    if options.rounds < 1:
        raise SpecError(f"rounds={options.rounds} does not fit; it takes a whole number from 1 up")
    if options.preset is not None and options.stream is None:
        raise SpecError("--preset is how a stream looks back; give --stream N, the number of blocks, too")
    width, height = (None, None) if options.size is None else flags.parse_size(options.size)
    request = VideoSpec(
        prompt="a red ball rolls to the right",
        model=options.model,
        frames=options.frames,
        steps=options.steps,
        width=width,
        height=height,
    )
    machine = _machine()
    if options.stream is not None:
        return _stream(options, request, machine)

    from kinema.evaluate.bench import compare, outline_of
    from kinema.evaluate.roofline import floors

    folder = str(outline_of(options.model).model.folder)
    resolved = outline_of(folder).resolve(request)
    if options.dry_run:
        print(resolved.to_json())
        return 0
    sides = ("Kinema",) if options.alone else ("Kinema", "diffusers")
    found = compare(
        folder, request, sides, rounds=options.rounds, device=options.place.device, dtype=options.place.dtype
    )
    least = floors(resolved, options.place.device, options.place.dtype)
    if options.as_json:
        floor = {stage: to_dict(each) for stage, each in least.items()}
        print(json.dumps({"machine": machine, **to_dict(found), "floors": floor}, ensure_ascii=False))
    else:
        _show(found, least, machine)
    return 0


def _stream(options: Bench, request: VideoSpec, machine: dict[str, Any]) -> int:
    from kinema.evaluate.stream_bench import time_stream
    from kinema.generate.pipeline import Pipeline

    assert options.stream is not None
    if options.frames is not None:
        raise SpecError("--stream counts blocks, so --frames does nothing beside it; drop it")
    pipe = Pipeline.load(options.model, options.place.device, options.place.dtype, options.preset)
    if options.dry_run:
        print(pipe.resolve(request).to_json())
        return 0
    times = time_stream(pipe, request, options.stream)
    if options.as_json:
        print(json.dumps({"machine": machine, **to_dict(times)}, ensure_ascii=False))
    else:
        _show_stream(times, machine)
    return 0


def _machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "version": kinema.__version__,
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
    }


def _show(found: "Comparison", least: "dict[str, Floor]", machine: dict[str, Any]) -> None:
    spec, console = found.spec, Console()
    title = f"{spec.frames} frames of {spec.width}x{spec.height}, {spec.steps} steps, medians of {found.rounds}"
    table = Table("", *found.sides, *(["ratio"] if len(found.sides) == 2 else []), "least", "reached", title=title)
    mine, *others = found.sides.values()
    for stage, seconds in mine.stages_s.items():
        floor = least[stage]
        table.add_row(
            stage,
            f"{seconds:.3f} s",
            *(f"{other.stages_s[stage]:.3f} s" for other in others),
            *(f"{other.stages_s[stage] / seconds:.2f}" for other in others),
            f"{floor.seconds:.3f} s ({floor.bound})",
            f"{100 * floor.seconds / seconds:.0f} %",
        )
    table.add_row(
        "end to end",
        f"{mine.end_to_end_s:.3f} s",
        *(f"{other.end_to_end_s:.3f} s" for other in others),
        *(f"{other.end_to_end_s / mine.end_to_end_s:.2f}" for other in others),
    )
    table.add_row(
        "peak memory",
        f"{mine.peak_bytes / 1e6:.0f} MB",
        *(f"{other.peak_bytes / 1e6:.0f} MB" for other in others),
        *(f"{other.peak_bytes / mine.peak_bytes:.2f}" for other in others),
    )
    console.print(table)
    if found.largest_error is not None:
        console.print(f"largest difference of a pixel: {found.largest_error:.3g} of 255, PSNR {found.psnr_db:.1f} dB")
    console.print(f"{machine['processor']}, {machine['cores']} cores, load {machine['load']} when it began")


def _show_stream(times: "StreamTimes", machine: dict[str, Any]) -> None:
    console = Console()
    table = Table("stage", "seconds", title=f"{times.blocks} blocks of {times.frames_per_block} frames")
    names = {"remember": "write keys and values"}
    for stage, seconds in times.stages_s.items():
        table.add_row(f"{names.get(stage, stage)}{'' if stage == 'text' else ', per block'}", f"{seconds:.4f}")
    table.add_row("first frame", f"{times.first_frame_s:.4f}")
    table.add_row("steady state", f"{times.frames_per_s:.2f} frames/s")
    table.add_row("peak memory", f"{times.peak_bytes / 1e6:.0f} MB")
    console.print(table)
    console.print(f"{machine['processor']}, {machine['cores']} cores, load {machine['load']} when it began")
