"""Measure what curation takes of a processor, stage by stage, beside the pure decoding of the same pictures and others.

python benchmarks/data_speed.py FOLDER [--seconds S] [--rounds N] [--film FILE] [--juicer PYTHON] [--ffmpeg FOLDER]
> benchmarks/data_speed_HARDWARE_YYYYMM.md

FOLDER holds videos; KINEMA_FOOTAGE may name it. Parts of at most six seconds of them, drawn by lot, are scaled to
854x480, joined by hard cuts and encoded as most of the web is (H.264, the encoder's own key frames): a film of S
seconds, kept as FILE where that is named, and taken from there when it exists. Then each contender works on the film in
a process of its own, on one core, all in turn, N times:

- decoding: every picture, on one thread, by PyAV, and nothing else;
- kinema: all stages of a recipe, without captions, encoded for `mini`;
- PySceneDetect's command: `detect-adaptive list-scenes`, and with ffmpeg in `--ffmpeg` (a folder) also `split-video`;
- Data-Juicer's operators, in the environment of the interpreter `--juicer`: split by scene (adaptive detector; it needs
  ffmpeg too), motion score with its own settings and with pictures made as small as ours, resolution, aspect (its
  filter of durations wants ffprobe too, and is left out).

What is counted is processor time of the process and its children, from after the imports to the end, so other work on
the machine bears little on it. The unit is hours of video per day of one core.
"""

import argparse
import itertools
import json
import os
import platform
import random
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
from cpu_ops import commit, cpu_name

from kinema.data.frames import iter_pictures
from kinema.errors import MediaError

SIZE, RATE = (854, 480), 30
LONGEST_S, SHORTEST_S = 6, 2
"""Length of a part."""
JUICER = """
import json, resource, sys, time
from data_juicer.ops.mapper.video_split_by_scene_mapper import VideoSplitBySceneMapper
from data_juicer.ops.filter.video_motion_score_filter import VideoMotionScoreFilter
from data_juicer.ops.filter.video_resolution_filter import VideoResolutionFilter
from data_juicer.ops.filter.video_aspect_ratio_filter import VideoAspectRatioFilter
from data_juicer.utils.constant import Fields
import av, cv2, scenedetect
cv2.setNumThreads(1)
def spent():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
film, folder = sys.argv[1:]
took, began = {}, spent()
def lap(name):
    global began
    took[name], began = spent() - began, spent()
split = VideoSplitBySceneMapper(detector="AdaptiveDetector", threshold=3.0, save_dir=folder)
clips = split.process_single({"videos": [film], "text": "<__dj__video>"})["videos"]
lap("split")
def score(filter):
    for clip in clips:
        sample = {"videos": [clip], "text": "", Fields.stats: {}, Fields.meta: {}}
        filter.process_single(filter.compute_stats_single(sample))
score(VideoMotionScoreFilter())
lap("motion")
score(VideoMotionScoreFilter(size=144))
lap("motion of small pictures")
for filter in (VideoResolutionFilter(), VideoAspectRatioFilter()):
    score(filter)
lap("resolution, aspect")
print(json.dumps({"took": took, "clips": len(clips)}))
"""


def make_film(folder: Path, out: Path, seconds: float, size: tuple[int, int] = SIZE, rate: int = RATE) -> None:
    """Join parts of the videos below a folder into one file."""
    paths = [each for each in sorted(folder.rglob("*")) if each.suffix.lower() in (".mp4", ".webm", ".mkv", ".mov")]
    random.Random(0).shuffle(paths)
    count = 0
    with av.open(str(out), "w") as sink:
        stream = sink.add_stream("libx264", rate=rate, options={"preset": "medium", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.thread_count = 1
        for path in paths:
            try:
                pictures = itertools.islice(iter_pictures(path), LONGEST_S * rate)
                part = [each.frame.reformat(*size, "yuv420p") for each in pictures]
            except (MediaError, ValueError):
                continue
            for frame in part if len(part) >= SHORTEST_S * rate else []:
                frame.pts, frame.time_base, frame.pict_type = count, Fraction(1, rate), 0
                sink.mux(stream.encode(frame))
                count += 1
            if count >= seconds * rate:
                break
        sink.mux(stream.encode(None))
    if count < seconds * rate:
        raise SystemExit(
            f"{folder} holds {count / rate:.0f} s of parts, not {seconds:g}; name another, or fewer seconds"
        )


def spent() -> float:
    """Processor time of this process and of its children that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def decode(film: Path, work: Path) -> dict[str, float]:  # noqa: ARG001 - each contender takes both
    """Decode every picture and do nothing with it."""
    with av.open(str(film)) as file:
        stream = file.streams.video[0]
        stream.codec_context.thread_count = 1
        began = spent()
        count = sum(1 for _ in file.decode(stream))
    return {"decode": spent() - began, "pictures": count}


def kinema(film: Path, work: Path) -> dict[str, float]:
    """All stages of a recipe, in this process."""
    import cv2

    from kinema.data import DataRecipe, Store, encode, run_recipe
    from kinema.data.buckets import EncodeConfig
    from kinema.data.ingest import Source
    from kinema.data.pool import Limits
    from kinema.data.recipe import STAGES
    from kinema.model import load_model

    cv2.setNumThreads(1)
    load_model("mini")
    assert encode.VERSION
    recipe = DataRecipe(
        sources=(Source(path=str(film)),), out=work / "set", limits=Limits(workers=0), encode=EncodeConfig(model="mini")
    )
    took = {}
    for stage in STAGES:
        began = spent()
        run_recipe(recipe, (stage,))
        took[stage] = spent() - began
    clips = Store(recipe.out).read("clips", ["cut"])
    return {**took, "clips": len(clips), **{how: sum(clip["cut"] == how for clip in clips) for how in
                                           ("copied", "transcoded")}}  # fmt: skip


def scenedetect(film: Path, work: Path, *, split: bool = False) -> dict[str, float]:
    """PySceneDetect's command."""
    import scenedetect.__main__ as command

    words = ["scenedetect", "--quiet", "-i", str(film), "-o", str(work), "detect-adaptive", "list-scenes"]
    sys.argv = [*words, *(["split-video"] if split else [])]
    began = spent()
    command.main()
    return {"split" if split else "detect": spent() - began}


def scenedetect_split(film: Path, work: Path) -> dict[str, float]:
    """The same, and a file for each scene."""
    return scenedetect(film, work, split=True)


CONTENDERS: dict[str, Callable[[Path, Path], dict[str, float]]] = {
    "decode": decode, "kinema": kinema, "scenedetect": scenedetect, "scenedetect split": scenedetect_split,
}  # fmt: skip


def run(name: str, film: Path, options: argparse.Namespace) -> dict[str, float]:
    """One contender in a process of its own."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    path = os.pathsep.join([*([options.ffmpeg] if options.ffmpeg else []), os.environ.get("PATH", "")])
    with tempfile.TemporaryDirectory(prefix="kinema-speed-") as work:
        mine = [sys.executable, __file__, "--contender", name, "--film", str(film), "--work", work]
        command = mine if name in CONTENDERS else [options.juicer, "-c", JUICER, str(film), work]
        done = subprocess.run(
            command, env={**os.environ, **threads, "PATH": path}, capture_output=True, text=True, check=False
        )
    if done.returncode:
        print(f"{name} failed:\n{done.stderr[-3000:]}", file=sys.stderr)
        return {}
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if "took" not in found:
        return dict(found)
    return {**found["took"], "clips": found["clips"]}


def report(rounds: list[dict[str, dict[str, float]]], seconds: float) -> None:
    """Print the table, and the ratios, as medians over the rounds."""

    def middle(name: str, *stages: str) -> float:
        return statistics.median(sum(each[name][stage] for stage in stages) for each in rounds)

    rows = [("decoding alone, PyAV", middle("decode", "decode"))]
    ours = ("ingest", "split", "filter", "dedup", "caption", "encode", "publish")
    notes = {
        "split": "split: shots, clips, scores and hashes",
        "filter": "filter: thresholds",
        "dedup": "dedup: clusters",
        "caption": "caption: none",
        "encode": "encode: for mini",
    }
    rows += [(f"kinema {notes.get(stage, stage)}", middle("kinema", stage)) for stage in ours]
    both = ("split", "filter", "dedup")
    rows += [("**kinema split, filter and dedup together**", middle("kinema", *both)),
             ("**kinema, the whole recipe**", middle("kinema", *ours))]  # fmt: skip
    rivals: dict[str, tuple[str, tuple[str, ...]]] = {
        "PySceneDetect: detect-adaptive list-scenes": ("scenedetect", ("detect",)),
        "PySceneDetect: the same and split-video": ("scenedetect split", ("split",)),
        "Data-Juicer: split by scene": ("juicer", ("split",)),
        "Data-Juicer: motion score": ("juicer", ("motion",)),
        "Data-Juicer: motion score of small pictures": ("juicer", ("motion of small pictures",)),
        "Data-Juicer: resolution, aspect": ("juicer", ("resolution, aspect",)),
        "**Data-Juicer: split and filters**": ("juicer", ("split", "motion", "resolution, aspect")),
        "**Data-Juicer: the same, motion of small pictures**": (
            "juicer", ("split", "motion of small pictures", "resolution, aspect")),
    }  # fmt: skip
    rivals = {what: (name, parts) for what, (name, parts) in rivals.items() if name in rounds[0]}
    rows += [(what, middle(name, *parts)) for what, (name, parts) in rivals.items()]
    print("| what | processor time | video-hours per core-day |\n|---|---|---|")
    for what, took in rows:
        print(f"| {what} | {took:.2f} s | {24 * seconds / took:,.0f} |" if took > 0.005 else f"| {what} | 0 s | |")
    print("\n| kinema split, filter and dedup take | median | least | most |\n|---|---|---|---|")
    for what, (name, parts) in {"decoding alone": ("decode", ("decode",)), **rivals}.items():
        mine = [sum(each["kinema"][stage] for stage in both) for each in rounds]
        theirs = [sum(each[name][part] for part in parts) for each in rounds]
        shares = [one / other for one, other in zip(mine, theirs, strict=True) if other > 0.005]
        if shares:
            figures = " | ".join(f"{each:.2f}" for each in (statistics.median(shares), min(shares), max(shares)))
            print(f"| of the time of {what.replace('*', '')} | {figures} |")
    shots, copied, transcoded = (f"{rounds[0]['kinema'][each]:.0f}" for each in ("clips", "copied", "transcoded"))
    print(f"\nkinema found {shots} shots: {copied} copied, {transcoded} transcoded.")
    if "juicer" in rounds[0]:
        print(f"Data-Juicer made {rounds[0]['juicer']['clips']:.0f} clips, all transcoded.")


def main() -> int:
    """Print the report."""
    parser = argparse.ArgumentParser(description="measure curation beside decoding and other tools")
    parser.add_argument("folder", nargs="?", default=os.environ.get("KINEMA_FOOTAGE"))
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the film")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--film", type=Path, help="where the film is kept, or lies")
    parser.add_argument("--juicer", help="interpreter of an environment with py-data-juicer, opencv and scenedetect")
    parser.add_argument("--ffmpeg", help="folder of the ffmpeg that PySceneDetect and Data-Juicer call")
    parser.add_argument("--contender", choices=sorted(CONTENDERS), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        took = CONTENDERS[options.contender](options.film, options.work)
        print(json.dumps(took))
        return 0
    if not options.folder and not (options.film and options.film.exists()):
        print("nothing measured: name a folder of videos, or set KINEMA_FOOTAGE")
        return 0
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    load, began = os.getloadavg()[0], time.monotonic()
    names = ["decode", "kinema", "scenedetect"]
    names += ["scenedetect split"] if options.ffmpeg else []
    names += ["juicer"] if options.juicer and options.ffmpeg else []
    with tempfile.TemporaryDirectory(prefix="kinema-speed-") as folder:
        film = options.film or Path(folder) / "film.mp4"
        if not film.exists():
            make_film(Path(options.folder), film, options.seconds)
        rounds = []
        for _ in range(options.rounds):
            rounds.append({name: took for name in names if (took := run(name, film, options))})
            names = [name for name in names if name in rounds[-1]]
            print(json.dumps(rounds[-1]), file=sys.stderr)
        rounds = [{name: each[name] for name in names} for each in rounds]
        size = film.stat().st_size
    seconds = rounds[0]["decode"]["pictures"] / RATE
    took = f"{len(rounds)} rounds in {time.monotonic() - began:.0f} s"
    print(f"`{shlex.join(['python', *sys.argv])}` at {commit()}, {cpu_name()}, one core of {os.cpu_count()},")
    print(f"load {load:.1f} at the start and {os.getloadavg()[0]:.1f} at the end, niceness {os.nice(0)},")
    print(f"Python {platform.python_version()}, PyAV {av.__version__}; {took}.\n")
    kind = f"{SIZE[0]}x{SIZE[1]} at {RATE} pictures a second, H.264, {size * 8e-6 / seconds:.2f} Mbit/s"
    print(f"The film: {seconds:.0f} s of {kind}.\n")
    report(rounds, seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
