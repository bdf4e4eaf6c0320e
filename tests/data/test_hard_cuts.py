from collections.abc import Callable

import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from kinema.data.hard_cuts import HardCutFinder
from kinema.media import Frame


def test_against_scenedetect(make_shot: Callable[..., Frame]) -> None:
    """Cuts, fast pans, a flash, black, and noise: every frame that one of them names, the other does."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 36, 64, 3), dtype=np.uint8)
    shots = [make_shot(seed, 8 + seed, height=36, width=64, speed=seed // 4 + 1) for seed in range(1, 9)]
    flash = np.concatenate([shots[1], np.full((2, 36, 64, 3), 250, np.uint8), shots[1]])
    film = np.concatenate([*shots, flash, np.zeros((9, 36, 64, 3), np.uint8), noise, shots[5], noise[:1], shots[0]])
    ours, theirs = HardCutFinder(), AdaptiveDetector(min_scene_len=1)
    found = [number for frame in film if (number := ours.add(frame)) is not None]
    wanted = [
        cut.frame_num
        for index, frame in enumerate(film)
        for cut in theirs.process_frame(FrameTimecode(index, fps=24.0), frame[..., ::-1].copy())
    ]
    assert len(wanted) >= 6
    assert found == wanted
