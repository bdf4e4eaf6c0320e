"""`kinema world`: clips of the demo world, with captions, as a folder or on a contact sheet."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kinema.cli import flags
from kinema.config import unknown
from kinema.errors import SpecError
from kinema.media import check_output, contact_sheet, write_video
from kinema.world.dataset import Clip, ClipFormat, iter_clips, write_folder
from kinema.world.scene import Split

SPLITS: tuple[Split, ...] = ("train", "held_out", "all")
_SPLIT = flags.text("train|held_out|all")


@dataclass(frozen=True, kw_only=True)
class Render:
    """Write clips of the demo world, and their captions, as a folder.

    The folder holds one file for each clip, and metadata.jsonl with its captions and what it shows. The same command
    goes on where it was stopped; a larger --count adds clips.
    """

    out: Annotated[Path, tyro.conf.Positional, flags.path("FOLDER")]
    """The folder to write."""
    count: Annotated[int, flags.whole("N"), flags.hint("100")] = 100
    """Number of clips."""
    size: Annotated[str, flags.text("WxH"), flags.hint("64x64")] = "64x64"
    """Width and height in pixels."""
    frames: Annotated[int, flags.whole("N"), flags.hint("33")] = 33
    """Frames of each clip; 1 makes pictures."""
    fps: Annotated[float, flags.number("F"), flags.hint("16")] = 16.0
    """Frames per second."""
    split: Annotated[str, _SPLIT, flags.hint("train")] = "train"
    """The scenes to draw from: "held_out" has the combinations that "train" never shows."""
    seed: Annotated[int, flags.whole("S"), flags.hint("0")] = 0
    """Seed of the first clip; the others count up from it."""
    samples: Annotated[int, flags.whole("N"), flags.hint("4")] = 4
    """Rays per pixel on objects: 1, 4, 9 or 16; more is smoother and slower."""
    format: Annotated[str | None, flags.text("ENDING"), flags.hint("mp4, or png for one frame")] = None
    """Format of the clips: mp4, webm, gif, webp, or png for one frame."""
    workers: Annotated[int | None, flags.whole("N"), flags.hint("one for each core")] = None
    """Processes that share the work."""


@dataclass(frozen=True, kw_only=True)
class Show:
    """Draw some clips of the demo world on one sheet, and print their captions.

    A .png has one row for each clip, from its first frame to its last; a .gif, .webp, .mp4 or .webm plays them side by
    side.
    """

    out: Annotated[Path, flags.path("FILE"), flags.hint("world.png")] = Path("world.png")
    """The file to write."""
    count: Annotated[int, flags.whole("N"), flags.hint("8")] = 8
    """Number of clips."""
    size: Annotated[str, flags.text("WxH"), flags.hint("96x96")] = "96x96"
    """Width and height of each clip, in pixels."""
    frames: Annotated[int, flags.whole("N"), flags.hint("33")] = 33
    """Frames of each clip."""
    fps: Annotated[float, flags.number("F"), flags.hint("16")] = 16.0
    """Frames per second."""
    columns: Annotated[int | None, flags.whole("N"), flags.hint("8 moments, or 4 clips side by side")] = None
    """Pictures in each row of the sheet."""
    split: Annotated[str, _SPLIT, flags.hint("train")] = "train"
    """The scenes to draw from: "held_out" has the combinations that "train" never shows."""
    seed: Annotated[int, flags.whole("S"), flags.hint("0")] = 0
    """Seed of the first clip; the others count up from it."""
    samples: Annotated[int, flags.whole("N"), flags.hint("9")] = 9
    """Rays per pixel on objects: 1, 4, 9 or 16; more is smoother and slower."""
    force: Annotated[bool, flags.hint()] = False
    """Replace the file if it exists."""


def run(argv: Sequence[str]) -> int:
    """Run `kinema world` with the words after it, and return the exit code."""
    if not argv or argv[0] in ("--help", "-h"):
        print(_HELP)
        return 0
    if argv[0] not in _ACTIONS:
        raise SpecError(unknown("command of kinema world", argv[0], _ACTIONS))
    return _ACTIONS[argv[0]](argv[1:])


def _render(argv: Sequence[str]) -> int:
    options = flags.parse(Render, argv, "world render")
    form = _clip_format(options)
    ending = f".{(options.format or ('png' if form.num_frames == 1 else 'mp4')).lstrip('.').lower()}"
    with _bar() as bar:
        task = bar.add_task("render", total=options.count)
        new = write_folder(
            options.out,
            options.count,
            form,
            first_seed=options.seed,
            ending=ending,
            workers=options.workers,
            on_clip=lambda done, _: bar.update(task, completed=done),
        )
    kept = f", {options.count - new} were there" if new < options.count else ""
    print(f"{options.out}  {options.count} clips, {new} new{kept}; captions in {options.out / 'metadata.jsonl'}")
    return 0


def _show(argv: Sequence[str]) -> int:
    options = flags.parse(Show, argv, "world show")
    form = _clip_format(options)
    if options.count < 1:
        raise SpecError(f"--count is {options.count}; there must be something to show: use 1 or more")
    if options.columns is not None and options.columns < 1:
        raise SpecError(f"--columns is {options.columns}; a row holds 1 or more pictures")
    check_output(options.out, overwrite=options.force)
    is_still = options.out.suffix.lower() == ".png"
    seeds = range(options.seed, options.seed + options.count)
    with _bar() as bar:
        clips = list(bar.track(iter_clips(seeds, **vars(form)), total=options.count, description="render"))
    if is_still:
        write_video(options.out, still_sheet(clips, options.columns or 8), 1.0)
    else:
        write_video(options.out, moving_sheet(clips, options.columns or 4), form.fps)
    for seed, clip in zip(seeds, clips, strict=True):
        print(f"seed {seed}")
        for caption in clip.captions:
            print(f"  {caption.text}")
    print(f"{options.out}  {len(clips)} clips")
    return 0


def still_sheet(clips: Sequence[Clip], columns: int) -> np.ndarray:
    """Lay each clip out as a row of `columns` moments, evenly from first to last: uint8 "h w 3"."""
    columns = min(columns, len(clips[0].frames))
    moments = np.linspace(0, len(clips[0].frames) - 1, columns).round().astype(int)
    return contact_sheet([clip.frames[moment] for clip in clips for moment in moments], columns)


def moving_sheet(clips: Sequence[Clip], columns: int) -> np.ndarray:
    """Lay the clips out side by side, `columns` in a row, all playing at once: uint8 "f h w 3", with even sides."""
    frames = np.stack(
        [contact_sheet([clip.frames[index] for clip in clips], columns) for index in range(len(clips[0].frames))]
    )
    _, height, width, _ = frames.shape
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), constant_values=255)


def _clip_format(options: Render | Show) -> ClipFormat:
    found = re.fullmatch(r"(\d+)[xX×](\d+)", options.size.strip())  # noqa: RUF001 - the sign that people paste
    if found is None:
        raise SpecError(f"--size is {options.size!r}; it takes WIDTHxHEIGHT, such as 96x64")
    split = next((known for known in SPLITS if known == options.split), None)
    if split is None:
        raise SpecError(unknown("split", options.split, SPLITS))
    return ClipFormat(
        num_frames=options.frames,
        fps=options.fps,
        width=int(found[1]),
        height=int(found[2]),
        split=split,
        samples=options.samples,
    )


def _bar() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


_ACTIONS: dict[str, Callable[[Sequence[str]], int]] = {"render": _render, "show": _show}
_HELP = """usage: kinema world COMMAND ...

Clips of a small physical world, made from seeds, with captions that are true of them.

commands:
  render  write clips and captions as a folder: kinema world render clips --count 100
  show    draw some clips on one sheet: kinema world show --out world.png"""
