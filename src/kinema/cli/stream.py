"""`kinema stream`: video without end, into a file, a pipe or the terminal, while it is made."""

import contextlib
import dataclasses
import json
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from kinema.cli import flags, groups, making
from kinema.cli.screen import Screen, check_way
from kinema.config import to_dict
from kinema.errors import JobCancelled, SpecError
from kinema.generate.interrupt import Interrupt
from kinema.media import (
    Frame,
    LiveWriter,
    PipeWriter,
    check_live,
    check_output,
    check_pipe,
    partial_of,
)
from kinema.spec import VideoSpec

if TYPE_CHECKING:
    from kinema.generate.pipeline import Pipeline
    from kinema.generate.plan import Plan
    from kinema.provenance.mark import Marker

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """Make video without end, and show it while it is made; for causal models.

    Ctrl-C ends it. A stream that is killed leaves what it made in NAME.partial, playable up to its last block.
    """

    prompt: Annotated[str | None, tyro.conf.Positional, flags.text("PROMPT"), flags.hint()] = None
    """What to show first."""
    model: Annotated[str | None, flags.text("NAME|FOLDER|HUB_ID"), flags.hint("the causal one that ships")] = None
    """The model: its name, its folder, or its hub id."""
    preset: Annotated[str | None, flags.text("NAME"), groups.MODELS] = None
    """How the model looks back: self-forcing or longlive."""
    out: Annotated[str | None, flags.text("FILE|-"), flags.hint("the terminal")] = None
    """Where it goes: an .mp4 that can be played while it grows, or - for standard output."""
    draw: Annotated[str | None, flags.text("HOW"), flags.hint("blocks")] = None
    """How the terminal draws: blocks (coloured characters), sixel, or kitty (its graphics protocol)."""
    format: Annotated[str | None, flags.text("F"), flags.hint("y4m")] = None
    """What goes to standard output: y4m, mp4 (fragmented), or rgb (bare frames)."""
    seconds: Annotated[float | None, flags.number("S"), flags.hint("until it is stopped")] = None
    """Length, from the first frame to the last."""
    at: groups.TimedTexts = ()
    """Show something else from second S on, such as --at 20 "the ball stops"; may be repeated."""
    listen: Annotated[bool, flags.hint()] = False
    """Show every line that comes in on standard input, from the next block on."""
    image: Annotated[Path | None, flags.path("FILE"), flags.hint()] = None
    """A picture to start from."""
    fit: Annotated[str | None, flags.text("HOW"), flags.hint("it is refused")] = None
    """How a picture of other proportions comes into the frame: crop, pad or stretch."""
    fps: Annotated[float | None, flags.number("F"), groups.MODELS] = None
    """Frames per second."""
    sampling: groups.Shared[groups.Sampling]
    compute: groups.Shared[groups.Compute]
    writing: groups.Shared[groups.Writing]


def run(argv: Sequence[str]) -> int:
    """Run the command with the arguments that follow its name; returns the exit code."""
    options = flags.parse(StreamOptions, argv, "stream")
    _check_output(options)
    request = _request(options)
    if options.model is None:
        request = dataclasses.replace(request, model=_default_model())

    from kinema.generate.plan import make_plan  # torch comes in only now, when the request makes sense

    plan = make_plan(request, options.compute.chosen(causal=options.preset))
    if plan.outline.model.causal is None:
        plan.outline.open_stream(request)  # says why it cannot
    for warning in plan.warnings():
        logger.warning(warning)
    if options.writing.dry_run:
        _show_plan(plan, options)
        return 0
    return _stream(plan, request, options)


def _check_output(options: StreamOptions) -> None:
    if options.out is None and not options.writing.dry_run and not sys.stdout.isatty():
        raise SpecError("standard output is no terminal to draw in; give --out FILE.mp4, or --out - for a pipe")
    if options.draw is not None:
        if options.out is not None:
            raise SpecError(f"--draw {options.draw} is for the terminal; drop --out {options.out}")
        check_way(options.draw)
    if options.format is not None:
        check_pipe(options.format)
        if options.out != "-":
            raise SpecError(f"--format {options.format} is for standard output; give --out -")
    if options.out == "-" and options.writing.as_json:
        raise SpecError("--out - and --json both write to standard output; give one of them")
    if options.out is not None and options.out != "-":
        check_live(Path(options.out), overwrite=options.writing.force)
        check_output(Path(options.out), overwrite=options.writing.force)


def _request(options: StreamOptions) -> VideoSpec:
    given = groups.given(options, "model", "seconds", "fps", "image", "fit") | options.sampling.given()
    if options.at:
        given["changes"] = options.at
    return VideoSpec(**{"prompt": options.prompt or "", **given})


def _default_model() -> str:
    from kinema.generate.experts import NO_CAUSAL_MODEL
    from kinema.model import shipped_models

    ships = shipped_models(is_causal=True)
    if not ships:
        raise SpecError(f"a stream needs a causal model ({NO_CAUSAL_MODEL}); give its folder or hub id with --model")
    return ships[0]


def _stream(plan: "Plan", request: VideoSpec, options: StreamOptions) -> int:
    began = time.monotonic()
    pipeline = plan.load()
    tally = _Tally(load_s=time.monotonic() - began)
    marker = _marker(options, plan, pipeline, request)
    with Interrupt() as stop, _opened_sink(options, plan, marker.metadata) as show:
        stream = pipeline.open_stream(request, is_cancelled=stop)
        assert stream.spec.fps is not None
        tally.fps = stream.spec.fps
        lines = _lines() if options.listen else None
        with contextlib.suppress(JobCancelled):
            for frames in marker.frames(stream):
                tally.count(len(frames))
                show(frames)
                _say_heard(stream.say, lines)
                if stop():
                    break
        is_whole = request.seconds is None or tally.frames == plan.spec.frames
        if tally.frames and not is_whole and options.out not in (None, "-"):
            partial = partial_of(Path(options.out or ""))
            raise JobCancelled(f"stopped after {tally.seconds:.1f} s of {request.seconds:g}; they are in {partial}")
    if options.writing.as_json:
        print(json.dumps({"out": options.out, **tally.numbers(), "spec": to_dict(stream.spec)}, ensure_ascii=False))
    elif logger.isEnabledFor(logging.WARNING):
        print(f"{options.out or 'shown'}: {tally.describe()}", file=sys.stderr)
    return 0


def _say_heard(say: Callable[[str], None], lines: "queue.SimpleQueue[str] | None") -> None:
    with contextlib.suppress(queue.Empty):
        while lines is not None:
            say(lines.get_nowait())


def _lines() -> "queue.SimpleQueue[str]":
    """What is typed, line by line; read beside the stream, so that it never waits."""
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            if line.strip():
                heard.put(line.strip())

    threading.Thread(target=listen, daemon=True).start()
    return heard


def _marker(options: StreamOptions, plan: "Plan", pipeline: "Pipeline", request: VideoSpec) -> "Marker":
    """What marks the frames and the metadata; a signature would need the whole file, which a stream never is."""
    from kinema.provenance import label
    from kinema.provenance.mark import Marker

    spec = plan.spec if request.seconds is not None else dataclasses.replace(plan.spec, frames=None)
    marks = making.marks_of(options.writing)
    if marks.label is not None:
        label.box(plan.spec.shape.height, plan.spec.shape.width, marks.label)
    marks = dataclasses.replace(marks, signature=False)
    return Marker(options.out or "stream", pipeline.record(spec).to_metadata(), marks)


@contextlib.contextmanager
def _opened_sink(
    options: StreamOptions, plan: "Plan", metadata: Mapping[str, str]
) -> Iterator[Callable[[Frame], None]]:
    """Where frames go: what takes the next ones."""
    fps = plan.spec.fps
    assert fps is not None
    if options.out is None:
        with Screen(fps, options.draw or "blocks") as screen:
            yield screen.show
    elif options.out == "-":
        yield PipeWriter(sys.stdout.buffer, fps, options.format or "y4m", metadata).write
    else:
        with LiveWriter(Path(options.out), fps, metadata) as writer:
            yield writer.write


class _Tally:
    """How fast a stream is, seen from outside."""

    def __init__(self, load_s: float) -> None:
        self._load_s = load_s
        self._began = time.monotonic()
        self._first_s = 0.0
        self._first_frames = 0
        self._last = 0.0
        self.frames = 0
        self.fps = 1.0

    @property
    def seconds(self) -> float:
        """Length of what was made, from its first frame to its last."""
        return max(0, self.frames - 1) / self.fps

    def count(self, frames: int) -> None:
        """Count frames that have just come out."""
        self._last = time.monotonic()
        if not self.frames:
            self._first_s, self._first_frames = self._last - self._began, frames
        self.frames += frames

    def numbers(self) -> dict[str, float | None]:
        """Seconds to load and to the first frames, and frames per second after those."""
        later_s = self._last - self._began - self._first_s
        rate = (self.frames - self._first_frames) / later_s if self.frames > self._first_frames else None
        return {
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "load_s": round(self._load_s, 3),
            "first_frame_s": round(self._first_s, 3),
            "frames_per_s": None if rate is None else round(rate, 3),
        }

    def describe(self) -> str:
        """One line for people."""
        numbers = self.numbers()
        rate = numbers["frames_per_s"]
        pace = (
            "" if rate is None else f", {rate:.1f} frames per second ({rate / self.fps:.2f} times as fast as it plays)"
        )
        return f"{self.seconds:.1f} s of video, the first frame after {numbers['first_frame_s']:.2f} s{pace}"


def _show_plan(plan: "Plan", options: StreamOptions) -> None:
    spec = to_dict(plan.spec)
    if options.seconds is None:
        spec["frames"] = None
    causal = plan.outline.model.causal
    assert causal is not None
    shown = {
        "spec": spec,
        "output": options.out,
        "looking_back": to_dict(causal),
        "device": str(plan.prepared.device),
        "dtype": plan.prepared.dtype_name,
        "memory": making.memory_of(plan),
        "estimate": {"frames": plan.spec.frames, **to_dict(plan.estimate)},
    }
    if options.writing.as_json:
        print(json.dumps({**shown, "warnings": list(plan.warnings())}, ensure_ascii=False))
        return
    rows = [*spec.items(), *to_dict(causal).items(), ("output", options.out), ("device", plan.prepared.device)]
    for name, value in [*rows, ("dtype", plan.prepared.dtype_name)]:
        if value not in (None, "", []):
            print(f"{name:>13}  {making.one_line(value)}")
    for line in making.memory_lines(plan):
        print(f"{'memory':>13}  {line}")
    print(f"{'cost':>13}  {plan.estimate.describe()} for {plan.spec.frames} frames")
