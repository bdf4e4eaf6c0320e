"""Clips with captions in any number: one by one for training, or as a folder of files.

A clip follows from its seed, so that what was interrupted goes on, and what is lost can be made again.
"""

import dataclasses
import json
import math
import multiprocessing
import os
import random
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kinema.config import load_json, save_json, to_dict
from kinema.errors import DataError, SpecError
from kinema.media import ENDINGS, write_video
from kinema.world.changing import Stated, changing_clip
from kinema.world.describe import LENGTHS, Caption, describe_with_facts
from kinema.world.physics import simulate
from kinema.world.render import render_clip
from kinema.world.scene import BETWEEN_CHANGES, Scene, Split, sample_scene

CHUNK = 8
"""Clips that a worker makes at a time."""
LEAST_FOR_WORKERS = 4 * CHUNK
"""Fewer clips than this are made without workers, which take seconds to start."""
LEAST_SECONDS = 0.5
LEAST_FPS = 4.0
LEAST_SIDE_PX, MOST_SIDE_PX = 16, 2048
PICTURE_SECONDS = 2.0
"""How long the action of a clip of one frame would take, if it went on."""
RECIPE = "world.json"
METADATA = "metadata.jsonl"


@dataclass(frozen=True)
class Clip:
    """One rendered clip: `frames` is uint8 RGB, "f h w 3"; `captions` are a short, a medium and a long one.

    Scene and captions are true from frame `since` on, if they state what changes then.
    """

    frames: NDArray[np.uint8]
    scene: Scene
    captions: tuple[Caption, ...]
    since: int = 0
    stated: Stated | None = None


@dataclass(frozen=True, kw_only=True)
class ClipFormat:
    """How clips are taken. Raises SpecError for what the world's actions cannot be shown in."""

    num_frames: int = 33
    """Frames of a clip; 1 makes pictures."""
    fps: float = 16.0
    """Frames per second."""
    height: int = 64
    """Rows of a frame, in pixels."""
    width: int = 64
    """Columns of a frame, in pixels."""
    split: Split = "train"
    """Which scenes are drawn; "held_out" has the combinations that "train" never shows, "all" both."""
    samples: int = 4
    """Rays per pixel on objects, a square number."""

    def __post_init__(self) -> None:
        if not self.fps >= LEAST_FPS or math.isinf(self.fps):
            raise SpecError(f"fps={self.fps:g} is too slow to show the world's motions; use {LEAST_FPS:g} or more")
        least = math.ceil(LEAST_SECONDS * self.fps) + 1
        if self.num_frames != 1 and self.num_frames < least:
            raise SpecError(
                f"num_frames={self.num_frames} at {self.fps:g} fps is shorter than {LEAST_SECONDS:g} s, too short for "
                f"the world's actions; use {least} or more, or 1 for pictures"
            )
        for name, side in (("width", self.width), ("height", self.height)):
            if not LEAST_SIDE_PX <= side <= MOST_SIDE_PX:
                raise SpecError(f"{name}={side} is out of range; use {LEAST_SIDE_PX} to {MOST_SIDE_PX} pixels")
        if math.isqrt(max(self.samples, 0)) ** 2 != self.samples or self.samples < 1:
            raise SpecError(f"samples={self.samples} rays per pixel do not make a square grid; use 1, 4, 9 or 16")

    def scene(self, seed: int) -> Scene:
        """Draw the scene of a seed, paced so that its action fills the clip."""
        seconds = (self.num_frames - 1) / self.fps if self.num_frames > 1 else PICTURE_SECONDS
        return sample_scene(seed, seconds=seconds, split=self.split)


def captions(scene: Scene) -> tuple[Caption, ...]:
    """Describe a scene once at each length, shortest first; the same scene always gets the same captions."""
    return tuple(describe_with_facts(scene, scene.seed, length) for length in LENGTHS)


def iter_clips(
    seeds: Sequence[int],
    *,
    num_frames: int = 33,
    fps: float = 16.0,
    height: int = 64,
    width: int = 64,
    split: Split = "train",
    samples: int = 4,
    device: torch.device | str = "cpu",
    workers: int | None = None,
    changing: float = 0.0,
) -> Iterator[Clip]:
    """Make the clip of each seed, in the order of `seeds`; a share `changing` of them as `changing_clip` makes them.

    With many seeds on a CPU, processes share the work: `workers` of them, by default one for each core; their number
    does not change the clips. A script that uses them must guard its main part with `if __name__ == "__main__":`.
    Raises SpecError for a size, length or rate that does not fit, and DataError when a worker is killed.
    """
    form = ClipFormat(num_frames=num_frames, fps=fps, height=height, width=width, split=split, samples=samples)
    if workers is None:
        many = len(seeds) >= LEAST_FOR_WORKERS and torch.device(device).type == "cpu"
        workers = _num_cores() if many else 1
    if workers < 1:
        raise SpecError(f"workers={workers}: the work takes at least one process; use 1, or leave it out")
    if workers == 1:
        return (_make_clip(form, seed, changing, device) for seed in seeds)
    return _iter_shared(form, seeds, changing, workers)


def _make_clip(form: ClipFormat, seed: int, changing: float = 0.0, device: torch.device | str = "cpu") -> Clip:
    scene = form.scene(seed)
    source = random.Random(f"{seed}/since")
    if source.random() < changing:
        since = source.choice(range(1, form.num_frames - BETWEEN_CHANGES, BETWEEN_CHANGES))
        size = (form.num_frames, form.fps, form.height, form.width)
        turned, change = changing_clip(scene, since, *size, device, form.samples)
        return Clip(turned, change.after, captions(change.after), since, change.stated)
    trajectory = simulate(scene, form.num_frames, form.fps)
    frames = render_clip(scene, trajectory, form.num_frames, form.height, form.width, device, form.samples)
    return Clip(frames.cpu().numpy(), scene, captions(scene))


def _make_clips(form: ClipFormat, changing: float, seeds: Sequence[int]) -> list[Clip]:
    return [_make_clip(form, seed, changing) for seed in seeds]


def _iter_shared(form: ClipFormat, seeds: Sequence[int], changing: float, workers: int) -> Iterator[Clip]:
    """Make clips in several processes, a few chunks ahead of what is taken."""
    # A fork server: starts as fast as fork after the first time, and no thread of this process is copied half-way.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    chunks = iter([seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        ahead: deque[Future[list[Clip]]] = deque(
            pool.submit(_make_clips, form, changing, chunk) for chunk in islice(chunks, 2 * workers)
        )
        while ahead:
            made = ahead.popleft().result()
            ahead.extend(pool.submit(_make_clips, form, changing, chunk) for chunk in islice(chunks, 1))
            yield from made
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process ended early, killed or out of memory; use fewer workers, or workers=1"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    # One thread each: the frames are small, and the processes fill the cores. Ctrl-C is the parent's to handle.
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write_folder(
    out: Path | str,
    count: int,
    form: ClipFormat,
    *,
    first_seed: int = 0,
    ending: str = ".mp4",
    workers: int | None = None,
    on_clip: Callable[[int, int], None] | None = None,
) -> int:
    """Write `count` clips, of seeds from `first_seed` up, as files with `metadata.jsonl`; return how many were new.

    Each line of the metadata has `file_name`, `text` (one caption), `captions` (all), `scene`, `seed` and `fps`. Files
    appear whole, and the metadata last; so a folder with metadata is complete. The same call again goes on where it was
    stopped, and with a larger `count` adds clips. `on_clip(done, total)` hears of each new clip.

    Raises DataError if the folder holds something else, or more clips than `count`.
    """
    out = Path(out)
    _check_files(form, count, ending)
    recipe = _Recipe(first_seed=first_seed, ending=ending, clips=form)
    _claim_folder(out, recipe, count)
    seeds = range(first_seed, first_seed + count)
    missing = [seed for seed in seeds if not _clip_path(out, seed, ending).exists()]
    if missing:
        (out / METADATA).unlink(missing_ok=True)
    settings = dataclasses.asdict(form)
    for done, (seed, clip) in enumerate(zip(missing, iter_clips(missing, **settings, workers=workers), strict=True)):
        text = _text(clip.captions, seed)
        write_video(_clip_path(out, seed, ending), clip.frames, form.fps, {"title": text})
        if on_clip is not None:
            on_clip(count - len(missing) + done + 1, count)
    partial = out / f"{METADATA}.partial"
    with partial.open("w", encoding="utf-8") as file:
        for seed in seeds:
            file.write(json.dumps(_metadata(form, seed, ending), ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(out / METADATA)
    return len(missing)


@dataclass(frozen=True, kw_only=True)
class _Recipe:
    """What a folder of clips is made of, as it stands in `world.json`."""

    first_seed: int
    ending: str
    clips: ClipFormat


def _check_files(form: ClipFormat, count: int, ending: str) -> None:
    if count < 1:
        raise SpecError(f"count={count}: there must be something to write; use 1 or more")
    if ending not in ENDINGS:
        raise SpecError(f"{ending!r} is no format that clips are written in; use {', '.join(ENDINGS)}")
    if ending == ".png" and form.num_frames > 1:
        raise SpecError(f"a png holds one frame, not {form.num_frames}; use one frame, or mp4")
    if ending in (".mp4", ".webm") and (form.width % 2 or form.height % 2):
        even = f"{form.width + form.width % 2}x{form.height + form.height % 2}"
        raise SpecError(f"{ending[1:]} needs even sides, not {form.width}x{form.height}; use {even}")


def _claim_folder(out: Path, recipe: _Recipe, count: int) -> None:
    """Make the folder and note what it is for, or find that it is for the same."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; give the name of a folder")
    out.mkdir(parents=True, exist_ok=True)
    path = out / RECIPE
    if not path.exists():
        strange = next(out.iterdir(), None)
        if strange is not None and strange.name != f"{RECIPE}.partial":
            raise DataError(f"{out} already holds {strange.name}; give a new or an empty folder")
        save_json(recipe, path)
        return
    if (before := load_json(_Recipe, path)) != recipe:
        differing = ", ".join(_differences(to_dict(before), to_dict(recipe)))
        raise DataError(f"{out} holds clips made otherwise ({differing}); repeat that, or give another folder")
    held = len((out / METADATA).read_text(encoding="utf-8").splitlines()) if (out / METADATA).exists() else 0
    if held > count:
        raise DataError(f"{out} holds {held} clips already; ask for {held} or more, or give another folder")


def _differences(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for name, value in before.items():
        if isinstance(value, dict):
            yield from _differences(value, now[name])
        elif value != now[name]:
            yield f"{name} {value}, not {now[name]}"


def _clip_path(out: Path, seed: int, ending: str) -> Path:
    return out / f"clip_{seed:08d}{ending}"


def _text(found: Sequence[Caption], seed: int) -> str:
    return found[seed % len(found)].text


def _metadata(form: ClipFormat, seed: int, ending: str) -> dict[str, Any]:
    scene = form.scene(seed)
    found = captions(scene)
    return {
        "file_name": _clip_path(Path(), seed, ending).name,
        "text": _text(found, seed),
        "captions": [caption.text for caption in found],
        "scene": to_dict(scene),
        "seed": seed,
        "fps": form.fps,
    }
