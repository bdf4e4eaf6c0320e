"""What commands that make videos share: the files they write, the bars they show, and what they say at the end."""

import dataclasses
import itertools
import json
import logging
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column

from kinema.cli.groups import Writing
from kinema.config import to_dict
from kinema.errors import SpecError
from kinema.media import Frame, VideoWriter, check_output
from kinema.spec import MAX_SEED, VideoSpec, edit_files, show_memory

if TYPE_CHECKING:
    from kinema.generate.pipeline import Pipeline
    from kinema.generate.plan import Plan
    from kinema.generate.progress import Progress
    from kinema.provenance.c2pa import Ingredient
    from kinema.provenance.mark import Marks

logger = logging.getLogger(__name__)

MOST = 10_000
"""Videos of one command."""

_SLUG_CHARACTERS = 40
_COUNT_CHARACTERS = 19
"""What steps and time left take beside a bar: 1000/1000 1:02:03, and the spaces between."""
_BAR_CHARACTERS = 48
"""The width of a terminal from which on there is room for a bar."""


def check_outputs(out: Path | None, count: int, *, force: bool) -> None:
    """Refuse, before any work, a number of videos that is none, and files that cannot be written."""
    if not 1 <= count <= MOST:
        raise SpecError(f"count={count} does not fit; it takes a whole number from 1 to {MOST}")
    for path in _numbered(out, count) if out is not None else ():
        check_output(path, overwrite=force)


def outputs(
    out: Path | None, count: int, spec: VideoSpec, *, name: str, force: bool, ending: str | None = None
) -> list[Path]:
    """The files to write: the one asked for, or new ones called `name`; checked, so that no work is lost.

    `ending` is that of new ones; None = .png for a picture and .mp4 for a video.
    """
    assert spec.fps is not None
    if out is not None:
        if out.suffix.lower() == ".png" and spec.frames != 1:
            raise SpecError(f"{out}: a png holds one frame, not {spec.frames}; use --frames 1, or .mp4")
        paths = _numbered(out, count)
    else:
        ending = ending or (".png" if spec.frames == 1 else ".mp4")
        paths = list(itertools.islice(_new_names(name, ending), count))
    for path in paths:
        check_output(path, overwrite=force)
        VideoWriter(path, spec.fps)  # refuses a rate that the format cannot hold
    return paths


def slug(text: str) -> str:
    """A text as the name of a file."""
    return "-".join(re.findall(r"\w+", text.lower()))[:_SLUG_CHARACTERS].strip("-_") or "video"


def _new_names(name: str, ending: str) -> Iterator[Path]:
    """Names that no file has."""
    for number in itertools.count(1):
        path = Path(f"{name}{'' if number == 1 else f'-{number}'}{ending}")
        if not os.path.lexists(path):  # a link to nothing takes a name too
            yield path


def _numbered(path: Path, count: int) -> list[Path]:
    return [path] if count == 1 else [path.with_stem(f"{path.stem}-{i + 1}") for i in range(count)]


def marks_of(writing: Writing, old: Mapping[str, str] | None = None) -> "Marks":
    """The marks to put on: all, unless turned off; and the label asked for, or that of the file to make again."""
    from kinema.provenance.mark import LABEL_KEY, UNMARKED, Marks

    label = writing.label or (old or {}).get(LABEL_KEY)
    return dataclasses.replace(UNMARKED if writing.no_marks else Marks(), label=label)


def check_marks(marks: "Marks", spec: VideoSpec, paths: list[Path], *, is_dry: bool) -> Iterator[str]:
    """Refuse a label that does not fit, and a key that cannot sign, before any work; say what cannot be marked."""
    from kinema.provenance import label
    from kinema.provenance.mark import Marker

    if marks.label is not None:
        label.box(spec.shape.height, spec.shape.width, marks.label)
    if not is_dry and (missing := Marker(paths[0].name, {}, marks).missing):  # makes the certificates if there are none
        yield missing


def ingredients_of(spec: VideoSpec) -> "list[Ingredient]":
    """What goes into a video: pictures that are shown to the model, and the videos that it is an edit of."""
    from kinema.provenance.c2pa import Ingredient

    shown = [Ingredient(path=Path(each), relation="inputTo") for each in (spec.image, spec.last_image) if each]
    if spec.edit is None:
        return shown
    is_new = spec.edit.kind in ("key_frames", "storyboard")
    files = dict.fromkeys(edit_files(spec.edit))
    return [*shown, *(Ingredient(path=Path(each), relation="inputTo" if is_new else "parentOf") for each in files)]


def _join(pipeline: "Pipeline", specs: list[VideoSpec]) -> bool:
    """Share the work with the other processes that torchrun started; all but the first do their part here."""
    from kinema.generate.parallel import is_first, join

    join(pipeline, specs[0])
    if is_first():
        return True
    for spec in specs:
        for _ in pipeline.stream(spec):
            pass
    return False


def carry_out(plan: "Plan", paths: list[Path], marks: "Marks", writing: Writing, warnings: Sequence[str] = ()) -> None:
    """Say what the person may want to know, and make the videos, or show what would be made."""
    for warning in [*plan.warnings(), *warnings, *check_marks(marks, plan.spec, paths, is_dry=writing.dry_run)]:
        logger.warning(warning)
    if writing.dry_run:
        show_plan(plan, paths, writing.as_json)
    else:
        make_videos(plan, paths, marks, writing.as_json)


def make_videos(plan: "Plan", paths: list[Path], marks: "Marks", as_json: bool) -> None:
    """Make the videos one after the other, each straight into its file."""
    console = Console(stderr=True)
    results = []
    is_heard = logger.isEnabledFor(logging.WARNING)  # --quiet wants errors only
    with _bars(console) as bars:
        loading = bars.add_task("load", total=1)
        began = time.monotonic()
        pipeline = plan.load()
        specs = [dataclasses.replace(plan.spec, seed=plan.spec.seed + i) for i in range(len(paths))]
        if "RANK" in os.environ and not _join(pipeline, specs):
            return
        bars.update(loading, completed=1, visible=False)
        for i, (spec, path) in enumerate(zip(specs, paths, strict=True)):
            label = f"[{i + 1}/{len(paths)}] " if len(paths) > 1 else ""
            frames = _write(pipeline, spec, path, marks, _ShowProgress(bars, label))
            took_s, began = time.monotonic() - began, time.monotonic()
            results.append(result_of(path, spec, frames, took_s))
            if not as_json and is_heard:
                bars.console.print(summary_of(results[-1]), highlight=False, markup=False, soft_wrap=True)
    if as_json:
        print(json.dumps({"videos": results, "warnings": list(plan.warnings())}, ensure_ascii=False))
    elif is_heard:
        print(_next(paths[-1], specs[-1], is_marked=marks.aigc), file=sys.stderr)


def _write(pipeline: "Pipeline", spec: VideoSpec, path: Path, marks: "Marks", show: "_ShowProgress") -> int:
    """Write one video, and count its frames."""
    from kinema.provenance.mark import write_marked

    assert spec.fps is not None
    count = 0

    def counted() -> Iterator[Frame]:
        nonlocal count
        for frames in pipeline.stream(spec, show):
            count += len(frames)
            yield frames

    write_marked(path, counted(), spec.fps, pipeline.record(spec).to_metadata(), marks, ingredients_of(spec))
    show.clear()
    return count


def _bars(console: Console) -> Bars:
    """Bars on standard error: stage, steps and time left; nothing of them stays, and a file or pipe sees none.

    In a narrow terminal steps and time left stay readable: first the bar goes, then the end of the stage's name.
    """
    name = Column(no_wrap=True, overflow="ellipsis", max_width=max(4, console.width - _COUNT_CHARACTERS))
    return Bars(
        TextColumn("{task.description}", table_column=name),
        *([BarColumn()] if console.width >= _BAR_CHARACTERS else []),
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


def result_of(path: Path, spec: VideoSpec, frames: int, took_s: float) -> dict[str, Any]:
    """What there is to say about a file that was made."""
    return {
        "path": str(path),
        "bytes": path.stat().st_size,
        "frames": frames,
        "took_s": round(took_s, 3),
        "spec": to_dict(spec),
    }


def summary_of(result: dict[str, Any]) -> str:
    """The same on one line, for people."""
    spec = result["spec"]
    length = "one frame" if result["frames"] == 1 else f"{result['frames']} frames at {spec['fps']:g} per second"
    size = f"{spec['width']}x{spec['height']}, {length}, {result['bytes'] / 1000:.0f} kB"
    return f"{result['path']}  {size}, seed {spec['seed']}, made in {result['took_s']:.1f} s"


def _next(path: Path, spec: VideoSpec, *, is_marked: bool) -> str:
    """What to type next, of the last file that was made."""
    again = shlex.join(["kinema", "generate", "--from", str(path), *([] if is_marked else ["--no-marks"])])
    return f"next: --seed {(spec.seed + 1) % (MAX_SEED + 1)} for another take, or the same again: {again}"


def show_plan(plan: "Plan", paths: list[Path], as_json: bool) -> None:
    """Print a resolved request and its cost."""
    shown = {
        "spec": to_dict(plan.spec),
        "outputs": [str(path) for path in paths],
        "device": str(plan.prepared.device),
        "dtype": plan.prepared.dtype_name,
        "memory": memory_of(plan),
        "estimate": to_dict(plan.estimate),
    }
    if as_json:
        print(json.dumps({**shown, "warnings": list(plan.warnings())}, ensure_ascii=False))
        return
    rows = [*to_dict(plan.spec).items(), ("device", plan.prepared.device), ("dtype", plan.prepared.dtype_name)]
    for name, value in rows:
        if value not in (None, "", []):
            print(f"{name:>10}  {one_line(value)}")
    for path in paths:
        print(f"{'output':>10}  {path}")
    for line in memory_lines(plan):
        print(f"{'memory':>10}  {line}")
    print(f"{'cost':>10}  {plan.estimate.describe()}")


def one_line(value: object) -> str:
    """A value on one line, with what would end the line or steer the terminal written out."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(value))


def memory_of(plan: "Plan") -> dict[str, Any]:
    """How a generation keeps to the memory there is, and what each of its stages will take, in bytes."""
    return {
        "limit": plan.prepared.memory,
        "means": to_dict(plan.means),
        "stages": plan.fitter.peaks(plan.spec, plan.means),
    }


def memory_lines(plan: "Plan") -> Iterator[str]:
    """The same for people, where they asked for it."""
    if plan.prepared.memory is not None:
        peaks = plan.fitter.peaks(plan.spec, plan.means)
        yield ", ".join(f"{stage} {show_memory(peak)}" for stage, peak in peaks.items())
    if plan.prepared.memory is not None or plan.prepared.quantize is not None:
        yield from plan.means.describe()
