"""How often the frame check errs: nudenet, as `kinema serve --check-frames nudenet` asks it.

python benchmarks/frame_check.py [--clean FOLDER ...] [--clips N] [--labelled FOLDER] [--frames N]
> benchmarks/frame_check_HW_YYYYMM.md

Every video and picture in the folders of `--clean` that opens ($KINEMA_FOOTAGE by default), and N clips of the demo
world, show nobody undressed: what is refused of them is a false positive. `--labelled` names a folder of your own with
`positives/`, which must be refused, and `negatives/`, which must not: then both kinds of error are counted. Of each
video as many frames are looked at as the server looks at, chosen as it does, unless `--frames` says how many. The
scores of one look give the table for every threshold; nudenet keeps back what it gives less than 0.25.
"""

import argparse
import contextlib
import importlib.metadata
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
from cpu_ops import header

from kinema.errors import MediaError, SpecError
from kinema.media import Frame, Spread, iter_frames
from kinema.serve.frame_check import EXPOSED, LEAST_SCORE, FrameScores, load_scores
from kinema.serve.worker import SHEET_FRAMES
from kinema.world.dataset import ClipFormat, iter_clips

THRESHOLDS = (0.25, 0.3, 0.4, 0.5, 0.6, 0.7)
Scores = list[dict[str, float]]
"""Of one video: how sure the check is of each class, frame by frame."""


def spread(frames: Iterable[Frame], most: int) -> list[Frame]:
    """The frames that the server would look at; of a file that breaks off, those before that."""
    seen = Spread(most)
    with contextlib.suppress(MediaError, OSError, ValueError):
        for frame in frames:
            seen.add(frame)
    return seen.frames


def read_folder(folder: Path, most: int = SHEET_FRAMES) -> Iterator[tuple[Path, list[Frame]]]:
    """Frames of every file that opens as a video or a picture, in the order of their names."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if frames := spread(iter_frames(path), most):
            yield path, frames


def world(count: int, most: int) -> Iterator[tuple[str, list[Frame]]]:
    """Frames of clips of the demo world, as large as `mini` makes them."""
    form = ClipFormat(num_frames=33, fps=16.0, width=64, height=64, split="all")
    for clip in iter_clips(range(count), **vars(form), workers=1):
        yield str(clip.scene.seed), spread(clip.frames, most)


def scored(check: FrameScores, frames: Iterable[Frame]) -> Scores:
    """Look at the frames of one video."""
    return [check(frame) for frame in frames]


def is_refused(video: Scores, threshold: float, kind: str | None = None) -> bool:
    """Whether a video would be refused, for one class or for any of those that the policy names."""
    kinds = EXPOSED if kind is None else (kind,)
    return any(frame.get(each, 0.0) >= threshold for frame in video for each in kinds)


def upper(wrong: int, total: int) -> float:
    """The rate that is exceeded with a chance of 2.5 % when so many were wrong (Wilson's interval)."""
    z = 1.96
    middle = wrong + z * z / 2
    wide = z * (wrong * (total - wrong) / total + z * z / 4) ** 0.5
    return (middle + wide) / (total + z * z)


def share(wrong: int, total: int) -> str:
    """A count of videos as a share of their number, with what it may be in truth."""
    return (
        f"{wrong} of {total}: {100 * wrong / total:.2f} %, at most {100 * upper(wrong, total):.2f} %" if total else "-"
    )


def table(videos: list[Scores], *, must_refuse: bool = False) -> list[str]:
    """How many videos and frames are judged wrongly, by threshold; then by class."""
    frames = [[frame] for video in videos for frame in video]
    what = "let through" if must_refuse else "refused"
    lines = [f"| threshold | videos {what} | frames {what} |", "|---|---|---|"]
    for threshold in THRESHOLDS:
        mark = " (the policy)" if threshold == LEAST_SCORE else ""
        counts = (sum(is_refused(each, threshold) is not must_refuse for each in group) for group in (videos, frames))
        of_videos, of_frames = counts
        lines.append(f"| {threshold:g}{mark} | {share(of_videos, len(videos))} | {of_frames} of {len(frames)} |")
    lines += ["", "| videos in which it sees | " + " | ".join(f"{each:g}" for each in THRESHOLDS) + " | surest |"]
    lines.append("|---" * (len(THRESHOLDS) + 2) + "|")
    for kind in EXPOSED:
        counts_of = (str(sum(is_refused(video, threshold, kind) for video in videos)) for threshold in THRESHOLDS)
        surest = max((frame.get(kind, 0.0) for video in videos for frame in video), default=0.0)
        lines.append(f"| {kind.lower()} | {' | '.join(counts_of)} | {surest:.2f} |")
    return [*lines, ""]


def report(title: str, videos: list[tuple[str, Scores]], *, must_refuse: bool = False) -> None:
    """Print the tables of one kind of material, and what was judged wrongly by the policy."""
    print(f"\n## {title}: {len(videos)} videos or pictures, {sum(len(scores) for _, scores in videos)} frames\n")
    print("\n".join(table([scores for _, scores in videos], must_refuse=must_refuse)))
    wrong = [name for name, scores in videos if is_refused(scores, LEAST_SCORE) is not must_refuse]
    if wrong:
        print(f"Judged wrongly: {', '.join(wrong[:20])}{f' and {len(wrong) - 20} more' if len(wrong) > 20 else ''}")
    sys.stdout.flush()


def main() -> int:
    """Measure, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    footage = [Path(os.environ["KINEMA_FOOTAGE"])] if "KINEMA_FOOTAGE" in os.environ else []
    parser.add_argument("--clean", type=Path, nargs="+", default=footage, help="folders in which nobody is undressed")
    parser.add_argument("--clips", type=int, default=300, help="clips of the demo world (default 300)")
    parser.add_argument("--labelled", type=Path, help="a folder with positives/ and negatives/")
    parser.add_argument("--frames", type=int, default=SHEET_FRAMES, help="most of one video (default: as the server)")
    arguments = parser.parse_args()
    try:
        check = load_scores()
    except SpecError as error:
        print(f"nothing measured: {error}")
        return 0
    cv2.setNumThreads(1)
    print(header())
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("nudenet", "onnxruntime"))
    print(f"{versions}; up to {arguments.frames} frames of each video, of which the server looks at {SHEET_FRAMES}")
    for folder in arguments.clean:
        found = [
            (str(path.relative_to(folder)), scored(check, frames))
            for path, frames in read_folder(folder, arguments.frames)
        ]
        report(f"clean: {folder.name}", found)
    if arguments.clips:
        found = [(f"clip {name}", scored(check, frames)) for name, frames in world(arguments.clips, arguments.frames)]
        report("clean: the demo world", found)
    if arguments.labelled is not None:
        for name in ("negatives", "positives"):
            folder = arguments.labelled / name
            if not folder.is_dir():
                parser.error(f"--labelled {arguments.labelled} has no folder {name}/")
            found = [
                (str(path.relative_to(folder)), scored(check, frames))
                for path, frames in read_folder(folder, arguments.frames)
            ]
            report(name, found, must_refuse=name == "positives")
    return 0


if __name__ == "__main__":
    sys.exit(main())
