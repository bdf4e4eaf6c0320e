"""`kinema evaluate`: a model answers prompts of the demo world, and what it made is measured."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

import kinema
from kinema.cli import flags
from kinema.errors import SpecError

GIVEN: dict[str, tuple[str, str | None]] = {
    "first_frame_loss_db": ("given first frame, dB lost", None),
    "last_frame_loss_db": ("given last frame, dB lost", None),
    "action": ("action after a given first frame", None),
    "seam_jump": ("jump after a given beginning", "seam_jump_true"),
    "velocity_error": ("velocity error after it, heights/s", "velocity_error_decoded"),
}
"""What is shown of `given`: its label, and what stands beside it."""

LEAST_FOR_WORKERS = 24
"""Fewer videos than this are made without workers, each of which loads the model."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a model on prompts of the demo world, and write a report with clips to look at."""

    model: Annotated[str, tyro.conf.Positional, flags.text("NAME|FOLDER")] = "mini"
    """The model: its name or its folder."""
    out: Annotated[Path | None, flags.path("FOLDER"), flags.hint("runs/evaluate-MODEL")] = None
    """Where report.json and index.html go."""
    prompts: Annotated[int, flags.whole("N"), flags.hint("200")] = 200
    """Prompts of the training distribution; as many again, divided by four, of held-out combinations."""
    seeds: Annotated[int, flags.whole("N"), flags.hint("3")] = 3
    """Videos per prompt."""
    clips: Annotated[int, flags.whole("N"), flags.hint("128")] = 128
    """True clips that the autoencoder and the parser are measured on."""
    given: Annotated[int, flags.whole("N"), flags.hint("16")] = 16
    """True clips that give the model their first frame, their beginning, and both ends; 0 leaves that out."""
    free: Annotated[bool, flags.hint()] = False
    """Ask a hundred more prompts in people's own words: typos, synonyms, missing attributes."""
    workers: Annotated[int | None, flags.whole("N"), flags.hint("one per core on a CPU, else 1")] = None
    """Processes that share the videos."""
    as_json: Annotated[bool, flags.hint(name="json")] = False
    """Print the numbers as JSON on standard output."""


def run(argv: Sequence[str]) -> int:
    """Run the command with the arguments that follow its name; returns the exit code."""
    options = flags.parse(Evaluate, argv, "evaluate")
    numbers = {name: getattr(options, name) for name in ("prompts", "seeds", "clips", "workers")}
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise SpecError(f"{name}={number} measures nothing; use 1 or more")

    from kinema.evaluate.adherence import observe_truth
    from kinema.evaluate.fidelity import measure_fidelity
    from kinema.evaluate.given import measure_given
    from kinema.evaluate.memory import peak_memory_bytes
    from kinema.evaluate.report import build_report, write_report
    from kinema.evaluate.suite import FIRST_SEED, answer_cases, free_cases, make_cases, time_one_video
    from kinema.generate.pipeline import Pipeline

    console = Console(stderr=True)
    pipeline = Pipeline.load(options.model)
    defaults = pipeline.model.defaults
    seconds = (defaults.frames - 1) / defaults.fps
    cases = make_cases(options.prompts, "train", seconds)
    cases += make_cases(max(1, options.prompts // 4), "held_out", seconds)
    cases += free_cases() if options.free else []
    seconds_per_video = time_one_video(pipeline, cases)
    memory = peak_memory_bytes(pipeline.device)
    many = pipeline.device.type == "cpu" and len(cases) * options.seeds >= LEAST_FOR_WORKERS
    workers = options.workers or (os.cpu_count() or 1 if many else 1)
    answers = list(
        track(
            answer_cases(pipeline, cases, options.seeds, workers),
            "generating",
            total=len(cases) * options.seeds,
            console=console,
        )
    )
    provenance = {
        "command": " ".join(["kinema", "evaluate", *argv]),
        "version": kinema.__version__,
        "prompts": len(cases),
        "seeds": options.seeds,
        "first_scene_seed": FIRST_SEED,
    }
    fidelity = measure_fidelity(pipeline, FIRST_SEED, options.clips)
    observed = observe_truth(
        range(FIRST_SEED, FIRST_SEED + options.clips),
        num_frames=defaults.frames,
        fps=defaults.fps,
        height=defaults.height,
        width=defaults.width,
    )
    takes_frames = pipeline.model.reads_frames and pipeline.model.causal is None
    given = measure_given(pipeline, FIRST_SEED, options.given) if options.given and takes_frames else None
    report = build_report(answers, fidelity, observed, seconds_per_video, memory, provenance, given)
    folder = options.out or Path("runs") / f"evaluate-{Path(options.model).name}"
    page = write_report(report, answers, folder)
    if options.as_json:
        print(json.dumps(report))
    else:
        _show(report, Console())
    print(f"Look at {page}", file=sys.stderr)
    return 0


def _show(report: dict[str, Any], console: Console) -> None:
    adherence, parser, vae, video = (report[part] for part in ("adherence", "parser", "vae", "video"))
    scores = Table("stated and seen, %", "seen", "held out", "free words", "true clips", "decoded", "shuffled")
    for axis in parser["truth_by_axis"]:
        columns = (
            *(adherence[name] for name in ("seen", "held_out", "free")),
            *(parser[name] for name in ("truth_by_axis", "decoded_by_axis", "shuffled_by_axis")),
        )
        scores.add_row(axis, *(_percent(column.get(axis)) for column in columns))
    console.print(scores)
    psnr, speed = vae["psnr_db_interval"], report["speed"]
    table = Table("measured", "value", "of true clips")
    table.add_row("autoencoder, PSNR", f"{psnr['mean']:.2f} dB ({psnr['low']:.2f} to {psnr['high']:.2f})", "")
    table.add_row("steadiness of decoded clips", f"{vae['flicker_decoded']:.4f}", f"{vae['flicker_true']:.4f}")
    table.add_row("steadiness of generated clips", f"{video['flicker']:.4f}", f"{vae['flicker_true']:.4f}")
    table.add_row("speed of objects, heights/s", f"{video['mean_speed']:.3f}", f"{video['mean_speed_true']:.3f}")
    table.add_row("share of moving clips", f"{video['dynamic_degree']:.3f}", f"{video['dynamic_degree_true']:.3f}")
    table.add_row("clips whose objects last", _bounds(video["permanence"]), _bounds(video["permanence_true"]))
    table.add_row("sharpness of generated clips", f"{video['sharpness']:.1f}", "")
    table.add_row("time for one video", f"{speed['seconds_per_video']:.2f} s", "")
    table.add_row("most memory", f"{speed['memory_mb']} MB", "")
    for name, (label, reference) in GIVEN.items():
        if report["given"] is not None:
            table.add_row(label, _bounds(report["given"][name]), _bounds(report["given"].get(reference)))
    console.print(table)


def _bounds(interval: dict[str, float] | None) -> str:
    return "" if interval is None else "{mean:.2f} ({low:.2f} to {high:.2f})".format(**interval)


def _percent(interval: dict[str, float] | None) -> str:
    if interval is None:
        return ""
    numbers = (100.0 * interval[name] for name in ("mean", "low", "high"))
    return "{:.0f} ({:.0f}-{:.0f})".format(*numbers)
