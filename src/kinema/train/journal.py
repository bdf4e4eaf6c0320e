"""The numbers of a run: one JSON object a line in `metrics.jsonl`, and in TensorBoard where it is installed."""

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


class Journal:
    """Appends measurements to `folder/metrics.jsonl`, each with the clips seen and the seconds since the start.

    After a resume, lines beyond the checkpoint are dropped first, so that the file reads like one unbroken run.
    """

    def __init__(self, folder: Path, clips_seen: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "metrics.jsonl"
        self._started = time.monotonic()
        if self._path.exists():
            lines = [line for line in self._path.read_text().splitlines() if _clips_of(line) <= clips_seen]
            self._path.write_text("".join(f"{line}\n" for line in lines))
        self._board = _open_board(folder)

    def write(self, clips_seen: int, values: Mapping[str, float]) -> None:
        """Append one line and mirror it to TensorBoard."""
        line = {"clips": clips_seen, "seconds": round(time.monotonic() - self._started, 3), **values}
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, clips_seen)
        logger.info("%s", "  ".join(f"{name} {_short(value)}" for name, value in line.items()))

    def close(self) -> None:
        """Flush TensorBoard's file."""
        if self._board is not None:
            self._board.close()


def _clips_of(line: str) -> int:
    try:
        return int(json.loads(line)["clips"])
    except (ValueError, KeyError):  # the last line may have been cut by a kill
        return 1 << 62


def _open_board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"
