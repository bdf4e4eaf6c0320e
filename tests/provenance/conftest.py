"""Clips to mark, and what the world does to them."""

import io
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from kinema.media import Frame
from kinema.world.physics import simulate
from kinema.world.render import render_clip
from kinema.world.scene import sample_scene


def world_clip(seed: int, side: int = 64, frames: int = 17) -> Frame:
    scene = sample_scene(seed, seconds=2.0)
    clip = render_clip(scene, simulate(scene, num_frames=frames, fps=8.0), num_frames=frames, height=side, width=side)
    return np.asarray(clip)


def encoded(frames: Frame, *, codec: str = "libx264", crf: int = 17, size: tuple[int, int] | None = None) -> Frame:
    """The frames after an encoder, at another size (width, height) if one is given."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        options = {"crf": str(crf), **({"x265-params": "log-level=none"} if codec == "libx265" else {})}
        stream = container.add_stream(codec, rate=Fraction(8), options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size or (frames.shape[2], frames.shape[1])
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            picture = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture.reformat(stream.width, stream.height, "yuv420p")))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


ATTACKS: dict[str, Callable[[Frame], Frame]] = {
    "H.264 crf 28": lambda frames: encoded(frames, crf=28),
    "HEVC crf 28": lambda frames: encoded(frames, codec="libx265", crf=28),
    "half size": lambda frames: encoded(frames, size=(frames.shape[2] // 2, frames.shape[1] // 2)),
    "brighter": lambda frames: encoded(np.clip(frames * 0.9 + 25, 0, 255).astype(np.uint8)),
    "more contrast": lambda frames: encoded(np.clip((frames - 128.0) * 1.25 + 128, 0, 255).astype(np.uint8)),
}


@pytest.fixture(scope="session")
def clips() -> dict[int, list[Frame]]:
    """Clips of the demo world by their side in pixels."""
    return {64: [world_clip(seed) for seed in range(6)], 192: [world_clip(seed, 192, 9) for seed in (11, 12, 13)]}
