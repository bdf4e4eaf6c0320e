"""How well scores tell text, marks and camera motion in real footage.

python benchmarks/data_scores.py FOLDER [NUMBER] > benchmarks/data_scores_HARDWARE_YYYYMM.md

The pictures of NUMBER videos (40 by default) are taken as they are, and with text, a mark or a camera's motion laid
over them. A table says which share of each is found at the thresholds of `[keep]`, and how often clean footage is
accused. Clips with text of their own count as clean here, so the false share is an upper bound. The motions are made by
moving a window over footage whose camera stands still: those clips in which our own score says static.
"""

import os
import random
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from cpu_ops import header

from kinema.data.filter import KeepConfig
from kinema.data.frames import ANALYSIS_SIDE, sample_pictures
from kinema.data.scores import measure
from kinema.errors import MediaError
from kinema.media import Frame

PICTURES = 12
TITLE = "Made by the sea, 24 May"


def read_clips(folder: Path, count: int) -> dict[str, Frame]:
    """Pictures "f h w 3", four a second, of videos of a folder drawn by chance, the same ones each time."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".mp4", ".webm", ".mkv", ".mov"))
    random.Random(0).shuffle(paths)
    clips: dict[str, Frame] = {}
    for path in paths:
        if len(clips) == count:
            break
        pictures = []
        try:
            for picture in sample_pictures(path, 4.0):
                pictures.append(picture.rgb(640))
                if len(pictures) == PICTURES:
                    break
        except MediaError:
            continue
        if len(pictures) == PICTURES and len({picture.shape for picture in pictures}) == 1:
            clips[str(path)] = np.stack(pictures)
    return clips


def with_text(frames: Frame, share: float, lines: int = 1) -> Frame:
    """Subtitles in white with a black edge, at the bottom, letters `share` of the picture's height."""
    height, width = frames.shape[1:3]
    scale = share * height / 22
    out = frames.copy()
    for frame in out:
        for line in range(lines):
            (long, _), _ = cv2.getTextSize(TITLE, cv2.FONT_HERSHEY_DUPLEX, scale, 1)
            at = max(2, (width - long) // 2), round(height * (0.92 - 1.5 * share * line))
            for color, thick in (((0, 0, 0), 4), ((255, 255, 255), 1.6)):
                pen = max(1, round(thick * scale))
                cv2.putText(frame, TITLE, at, cv2.FONT_HERSHEY_DUPLEX, scale, color, pen, cv2.LINE_AA)
    return out


def with_mark(frames: Frame, opacity: float, share: float = 0.2) -> Frame:
    """A sign and a word in the upper right corner, `share` of the picture's width."""
    height, width = frames.shape[1:3]
    mark = np.zeros((height, width), np.uint8)
    size = share * width
    x, y = round(width - size * 1.15), round(0.06 * height + size * 0.1)
    cv2.circle(mark, (round(x + size * 0.12), y), max(2, round(size * 0.1)), 255, max(1, round(size / 40)), cv2.LINE_AA)
    cv2.putText(mark, "KINO", (round(x + size * 0.3), round(y + size * 0.08)), cv2.FONT_HERSHEY_DUPLEX, size / 130, 255,
                max(1, round(size / 60)), cv2.LINE_AA)  # fmt: skip
    alpha = (opacity / 255 * mark.astype(np.float32))[None, :, :, None]
    return (frames * (1 - alpha) + 255 * alpha).round().astype(np.uint8)


def moved(frames: Frame, kind: str, speed: float = 0.05) -> Frame:
    """A window of 70 % that a camera moves over the pictures: `speed` shares of the width for each picture."""
    height, width = frames.shape[1:3]
    out = []
    for k, frame in enumerate(frames[:6]):
        far = k - 2.5
        x, y, zoom, turn = 0.0, 0.0, 1.0, 0.0
        if "pan" in kind:
            x = far * speed * width * (1 if kind == "pan right" else -1)
        elif "tilt" in kind:
            y = far * speed * width * (1 if kind == "tilt down" else -1)
        elif "zoom" in kind:
            zoom = (1 + speed) ** (far if kind == "zoom in" else -far)
        elif kind == "roll":
            turn = far * speed * 57 * 0.7
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, zoom / 0.7)
        matrix[:, 2] -= np.array([x, y]) / 0.7
        out.append(cv2.warpAffine(frame, matrix, (width, height), flags=cv2.INTER_AREA))
    return np.stack(out).astype(np.uint8)


def small(frames: Frame) -> list[Frame]:
    """The pictures as scores see them."""
    height, width = frames.shape[1:3]
    scale = min(1.0, ANALYSIS_SIDE / max(height, width))
    size = round(width * scale), round(height * scale)
    return [np.asarray(cv2.resize(each, size, interpolation=cv2.INTER_AREA), dtype=np.uint8) for each in frames]


def scored(frames: Frame) -> dict[str, object]:
    """All scores of pictures that are a quarter of a second apart."""
    return measure(small(frames), [k / 4 for k in range(len(frames))])


def main() -> int:
    """Measure, and print the tables."""
    folder = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("KINEMA_FOOTAGE")
    if not folder:
        print("nothing measured: name a folder of videos, or set KINEMA_FOOTAGE")
        return 0
    keep = KeepConfig()
    clips = read_clips(Path(folder), int(sys.argv[2]) if len(sys.argv) > 2 else 40)
    clean = {name: scored(frames) for name, frames in clips.items()}
    print(header())
    print(f"{len(clips)} clips of {PICTURES} pictures\n")
    print("| laid over | score | found | accused in clean clips |\n|---|---|---|---|")
    for label, score, change, limit in (
        ("subtitle, letters 5 % of the height", "text_share", lambda f: with_text(f, 0.05), keep.max_text),
        ("subtitle, letters 8 %", "text_share", lambda f: with_text(f, 0.08), keep.max_text),
        ("two lines, letters 8 %", "text_share", lambda f: with_text(f, 0.08, 2), keep.max_text),
    ):  # fmt: skip
        found = np.array([float(str(scored(change(frames))[score])) for frames in clips.values()])
        plain = np.array([float(str(row[score])) for row in clean.values()])
        print(f"| {label} | {score} > {limit:g} | {(found > limit).mean():.2f} | {(plain > limit).mean():.2f} |")
    limit = keep.max_watermark
    for kind in ("static", "pan right", "tilt up", "zoom in"):
        films = [moved(frames, kind) for frames in clips.values()]
        plain = np.array([float(str(scored(film)["watermark_share"])) for film in films])
        found = np.array([float(str(scored(with_mark(film, 0.5))["watermark_share"])) for film in films])
        label = f"mark, half transparent, camera: {kind}"
        print(
            f"| {label} | watermark_share > {limit:g} | {(found > limit).mean():.2f} | {(plain > limit).mean():.2f} |"
        )
    still = [frames for name, frames in clips.items() if clean[name]["camera"] == "static"]
    print(f"\n{len(still)} clips count as static\n\n| camera | named so | else |\n|---|---|---|")
    for kind in ("pan right", "pan left", "tilt down", "tilt up", "zoom in", "zoom out", "roll"):
        names = Counter(str(scored(moved(frames, kind))["camera"]) for frames in still)
        right = names.pop(kind, 0)
        print(
            f"| {kind} | {right / max(1, len(still)):.2f} | {', '.join(f'{n} {c}' for n, c in names.most_common())} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
