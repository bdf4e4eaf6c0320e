"""How much of the invisible watermark survives what happens to videos, and what marking costs.

    python benchmarks/provenance.py                          # clips of the demo world, 64 x 64 and 256 x 256
    python benchmarks/provenance.py --footage FOLDER         # and every video in a folder, at most 480 pixels high

Every clip is marked, written as `kinema generate` writes it, attacked, and read. The last figure of each line is the
least statistic of a set, where 9.2 is needed. False positives are counted on the unmarked clips, each under many keys.
"""

import argparse
import io
import itertools
import math
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from cpu_ops import commit, cpu_name

from kinema.errors import MediaError
from kinema.media import Frame, iter_frames, write_video
from kinema.provenance import c2pa, watermark
from kinema.provenance.mark import Marks, write_marked
from kinema.world.physics import simulate
from kinema.world.render import render_clip
from kinema.world.scene import sample_scene

Attack = Callable[[Frame], Frame]
_MOST_FRAMES = 33


def encoded(frames: Frame, codec: str = "libx264", crf: int = 17, share: float = 1.0) -> Frame:
    """The frames after an encoder, at a share of their size."""
    height, width = (max(16, round(side * share / 2) * 2) for side in frames.shape[1:3])
    options = {"crf": str(crf), **({"x265-params": "log-level=none"} if codec == "libx265" else {})}
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=Fraction(24), options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            picture = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture.reformat(width, height, "yuv420p")))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def adjusted(frames: Frame, contrast: float, brightness: float) -> Frame:
    """The frames with another contrast and brightness, written again."""
    return encoded(np.clip((frames - 128.0) * contrast + 128 + brightness, 0, 255).astype(np.uint8))


ATTACKS: dict[str, Attack] = {
    "as written": lambda frames: frames,
    "H.264 crf 23": lambda frames: encoded(frames, crf=23),
    "H.264 crf 28": lambda frames: encoded(frames, crf=28),
    "HEVC crf 28": lambda frames: encoded(frames, "libx265", 28),
    "half size": lambda frames: encoded(frames, share=0.5),
    "half size, crf 28": lambda frames: encoded(frames, crf=28, share=0.5),
    "brightness +20": lambda frames: adjusted(frames, 1.0, 20),
    "contrast x 1.25": lambda frames: adjusted(frames, 1.25, 0),
    "contrast x 0.8": lambda frames: adjusted(frames, 0.8, 0),
    "every other frame": lambda frames: encoded(frames[::2]),
    "10 % cropped": lambda frames: encoded(_cropped(frames)),
}


def _cropped(frames: Frame) -> Frame:
    """Without a margin; sides stay even, as encoders want."""
    rows, columns = (side // 20 + side // 20 % 2 for side in frames.shape[1:3])
    return frames[:, rows : frames.shape[1] - rows, columns : frames.shape[2] - columns]


def world_clips(count: int, side: int) -> Iterator[Frame]:
    """Clips of the demo world, as long as `mini` makes them."""
    for seed in range(count):
        scene = sample_scene(1000 + seed, seconds=2.0)
        yield np.asarray(
            render_clip(scene, simulate(scene, num_frames=17, fps=8.0), num_frames=17, height=side, width=side)
        )


def footage(folder: Path, count: int) -> Iterator[Frame]:
    """The first frames of the videos of a folder, those that can be read, every so many so that `count` come out."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".mp4", ".webm"))
    for path in paths[:: max(1, len(paths) // count)]:
        try:
            frames = list(itertools.islice(iter_frames(path), _MOST_FRAMES))
        except MediaError:
            continue
        if len(frames) < 9 or min(frames[0].shape[:2]) < 120 or len({frame.shape for frame in frames}) > 1:
            continue
        clip = np.stack(frames)
        step = -(-min(clip.shape[1:3]) // 480)
        clip = clip[:, : clip.shape[1] // (2 * step) * 2 * step, : clip.shape[2] // (2 * step) * 2 * step]
        shape = (len(clip), clip.shape[1] // step, step, clip.shape[2] // step, step, 3)
        yield np.rint(clip.reshape(shape).mean((2, 4))).astype(np.uint8)


def measure(name: str, clips: list[Frame], num_keys: int) -> None:
    """Print what one set of clips gives."""
    psnr, rows, false, highest = [], {attack: [] for attack in ATTACKS}, 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for i, clip in enumerate(clips):
            mark = (2654435761 * i + 12345) % 2**32
            marked = np.concatenate(list(watermark.embed([clip], mark)))
            psnr.append(10 * math.log10(255**2 / float(np.mean((clip - marked.astype(np.float64)) ** 2))))
            path = Path(folder, "clip.mp4")
            write_video(path, [marked], 24)
            written = np.stack(list(iter_frames(path)))
            for attack, change in ATTACKS.items():
                found = watermark.detect([change(written)])
                assert found is not None
                rows[attack].append((found.payload == mark, found.is_marked, found.statistic))
            mean = np.rint(clip.mean(axis=0)).astype(np.uint8)
            for key in range(num_keys):
                found = watermark.detect([mean], b"key %d" % key)
                assert found is not None
                false, highest = false + found.is_marked, max(highest, found.statistic)
    sizes = sorted({f"{clip.shape[2]}x{clip.shape[1]}" for clip in clips})
    print(f"\n{name}: {len(clips)} clips ({', '.join(sizes)}), PSNR {min(psnr):.1f} dB or more")
    print(f"  {'attack':<20} {'id back':>8} {'found':>6} {'least':>6}")
    for attack, found in rows.items():
        ids, marks, statistics = zip(*found, strict=True)
        print(f"  {attack:<20} {np.mean(ids):8.0%} {np.mean(marks):6.0%} {min(statistics):6.1f}")
    tried = len(clips) * num_keys
    print(
        f"  false positives: {false} of {tried}; the highest statistic was {highest:.2f} of {watermark.THRESHOLD:.2f}"
    )


def cost(name: str, clip: Frame, metadata: dict[str, str]) -> None:
    """Print what marking costs beside writing, in processor time: the best of five."""
    marks = {
        "no marks": Marks(watermark=False, aigc=False, signature=False),
        "watermark": Marks(signature=False),
        "all": Marks(),
        "all, labelled": Marks(label="cn"),
    }
    print(f"\nwriting {name}, {len(clip)} frames, processor time")
    with tempfile.TemporaryDirectory() as folder:
        for what, chosen in marks.items():
            if chosen.signature and not c2pa.is_available():
                continue
            times = []
            for i in range(5):
                began = time.process_time()
                write_marked(Path(folder, f"{what}{i}.mp4"), [clip], 8, metadata, chosen)
                times.append(time.process_time() - began)
            print(f"  {what:<14} {1000 * min(times):7.1f} ms")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, action="append", default=[], help="a folder of videos; may be repeated")
    parser.add_argument("--clips", type=int, default=40, help="clips in each set (default: 40)")
    parser.add_argument("--keys", type=int, default=25, help="keys for each unmarked clip (default: 25)")
    options = parser.parse_args()
    header = f"{shlex.join(['python', *sys.argv])}, {commit()}, {cpu_name()}, load {os.getloadavg()[0]:.1f}"
    print(f"# What the watermark withstands\n\n{header}")
    small = list(world_clips(options.clips, 64))
    measure("demo world", small, options.keys)
    large = list(world_clips(max(3, options.clips // 4), 256))
    measure("demo world", large, options.keys)
    for folder in options.footage:
        measure(f"footage {folder.name}", list(footage(folder, options.clips)), options.keys)
    record = {"kinema": '{"spec": {"model": "mini", "seed": 0, "prompt": "a red ball"}, "version": "0", "weights": ""}'}
    cost("64x64", small[0], record)
    cost("256x256", large[0], record)


if __name__ == "__main__":
    main()
