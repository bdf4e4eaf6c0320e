"""`kinema evaluate`: a model answers prompts of the demo world, and what it made is measured."""

import itertools
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

import kinema
from kinema.cli import flags
from kinema.cli.progress import RunProgress
from kinema.errors import SpecError

if TYPE_CHECKING:
    from kinema.evaluate.drift import Drift
    from kinema.evaluate.suite import Case
    from kinema.evaluate.switch import Switch
    from kinema.generate.pipeline import Pipeline

LONG_PROMPTS = 8
"""Prompts of which long videos are made, and pairs of prompts of which videos that change."""

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
    long: Annotated[float | None, flags.number("SECONDS"), flags.hint("leave that out")] = None
    """Length of videos of 8 prompts of a causal model, whose last five seconds are held against their first; 8 others
    are told something else on their way."""
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
    if options.given < 0:
        raise SpecError(f"given={options.given} does not fit; use 0 to leave that out, or more")
    if options.long is not None and options.long <= 0:
        raise SpecError(f"long={options.long:g} does not fit; give the seconds of a long video, such as 60")
    folder = options.out or Path("runs") / f"evaluate-{Path(options.model).name}"

    from kinema.evaluate.adherence import observe_truth
    from kinema.evaluate.drift import require_stream
    from kinema.evaluate.fidelity import measure_fidelity
    from kinema.evaluate.given import measure_given
    from kinema.evaluate.memory import peak_memory_bytes
    from kinema.evaluate.report import build_report, make_place, write_report
    from kinema.evaluate.suite import (
        FIRST_SEED,
        answer_cases,
        free_cases,
        make_cases,
        make_staying,
        time_one_video,
        true_clips,
    )
    from kinema.generate.pipeline import Pipeline

    pipeline = Pipeline.load(options.model)
    if options.long is not None:
        require_stream(pipeline)
    make_place(folder)
    defaults = pipeline.model.defaults
    seconds = (defaults.frames - 1) / defaults.fps
    cases = make_cases(options.prompts, "train", seconds)
    cases += make_cases(max(1, options.prompts // 4), "held_out", seconds)
    cases += free_cases() if options.free else []
    seconds_per_video = time_one_video(pipeline, cases)
    memory = peak_memory_bytes(pipeline.device)
    many = pipeline.device.type == "cpu" and len(cases) * options.seeds >= LEAST_FOR_WORKERS
    workers = options.workers or (os.cpu_count() or 1 if many else 1)
    provenance = {
        "command": " ".join(["kinema", "evaluate", *argv]),
        "version": kinema.__version__,
        "prompts": len(cases),
        "seeds": options.seeds,
        "first_scene_seed": FIRST_SEED,
    }
    takes_frames = pipeline.model.reads_frames and pipeline.model.causal is None
    seeds = range(FIRST_SEED, FIRST_SEED + options.clips)
    given_seeds = range(FIRST_SEED, FIRST_SEED + options.given)
    with RunProgress() as watch:
        answering = answer_cases(pipeline, cases, options.seeds, workers)
        answers = list(watch.over("generating", answering, len(cases) * options.seeds))
        clips = watch.over("autoencoder", true_clips(pipeline, seeds), len(seeds))
        fidelity = measure_fidelity(pipeline, clips)
        observed = observe_truth(
            watch.over("parser", seeds, len(seeds)),
            num_frames=defaults.frames,
            fps=defaults.fps,
            height=defaults.height,
            width=defaults.width,
        )
        given = drift = switch = None
        if given_seeds and takes_frames:
            clips = watch.over("given frames", true_clips(pipeline, given_seeds), len(given_seeds))
            given = measure_given(pipeline, clips)
        if options.long:
            drift = _measure_drift(pipeline, make_staying(LONG_PROMPTS, seconds), options, watch)
            switch = _measure_switch(pipeline, options, watch)
    report = build_report(answers, fidelity, observed, seconds_per_video, memory, provenance, given, drift, switch)
    page = write_report(report, answers, folder)
    if options.as_json:
        print(json.dumps(report))
    else:
        _show(report, Console())
    print(f"Look at {page}", file=sys.stderr)
    return 0


def _measure_drift(pipeline: "Pipeline", cases: Sequence["Case"], options: Evaluate, watch: RunProgress) -> "Drift":
    """Make the long videos, and count them as they come."""
    from kinema.evaluate.drift import measure_drift

    assert options.long is not None
    total, made = len(cases) * options.seeds, itertools.count(1)
    watch("long videos", 0, total)
    return measure_drift(pipeline, cases, options.seeds, options.long, lambda: watch("long videos", next(made), total))


def _measure_switch(pipeline: "Pipeline", options: Evaluate, watch: RunProgress) -> "Switch":
    """Make the videos whose prompt changes, and count them as they come."""
    from kinema.evaluate.switch import make_switches, measure_switch

    defaults = pipeline.model.defaults
    pairs = make_switches(LONG_PROMPTS, (defaults.frames - 1) / defaults.fps)
    total, made = len(pairs) * options.seeds, itertools.count(1)
    watch("changed prompts", 0, total)
    return measure_switch(pipeline, pairs, options.seeds, lambda: watch("changed prompts", next(made), total))


def _show(report: dict[str, Any], console: Console) -> None:
    from kinema.evaluate.tables import tables_of

    for numbers in tables_of(report):
        table = Table(*numbers.columns)
        for row in numbers.rows:
            table.add_row(*row)
        console.print(table)
