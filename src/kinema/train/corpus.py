"""The clips that a run learns from: rendered once, kept as plain arrays, read back by index.

A corpus folder holds shards `frames_00000.npy` (uint8 `clip f h w 3`) and `scenes_00000.jsonl`, and where clips change
on their way `changes_00000.jsonl`. Frames are written under another name first and last of all, so that an interrupted
rendering continues where it stopped; a shard that lacks a file is rendered again.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinema import config as config_io
from kinema.errors import DataError
from kinema.train.config import CorpusConfig
from kinema.train.watch import Report, unwatched
from kinema.world.changing import Stated
from kinema.world.dataset import Clip, ClipFormat, iter_clips
from kinema.world.scene import Scene

SHARD = 256
"""Clips per shard."""


def render_corpus(config: CorpusConfig, folder: Path, report: Report = unwatched) -> None:
    """Render the clips of `config` into `folder`; whole shards that are there already are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    config_path = folder / "config.json"
    if config_path.exists() and config_io.load_json(CorpusConfig, config_path) != config:
        raise DataError(f"{folder} holds another corpus than this recipe asks for; remove it or choose another --out")
    config_io.save_json(config, config_path)
    total = config.clips + config.validation_clips
    missing = [start for start in range(0, total, SHARD) if _lacking(config, folder, start // SHARD)]
    all_seeds = _seeds(config, total) if missing else ()
    for start in missing:
        report(start, total)
        frames_path, scenes_path = _shard_paths(folder, start // SHARD)
        seeds = all_seeds[start : start + SHARD]
        trained = max(0, config.clips - start)  # clips of validation do not change
        clips = [*_clips(config, seeds[:trained], config.changing), *_clips(config, seeds[trained:], 0.0)]
        if config.changing > 0:
            changes = ({"since": clip.since, "stated": clip.stated} for clip in clips)
            (folder / _changes_name(start // SHARD)).write_text("".join(json.dumps(each) + "\n" for each in changes))
        scenes_path.write_text("".join(json.dumps(config_io.to_dict(clip.scene)) + "\n" for clip in clips))
        partial = frames_path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.save(file, np.stack([clip.frames for clip in clips]))
        partial.rename(frames_path)
        report(min(start + SHARD, total), total)


class Corpus:
    """Frames and scenes by index; the last `validation_clips` of the folder are for validation only."""

    def __init__(self, folder: Path) -> None:
        self.config = config_io.load_json(CorpusConfig, folder / "config.json")
        total = self.config.clips + self.config.validation_clips
        num_shards = -(-total // SHARD)
        paths = [_shard_paths(folder, index) for index in range(num_shards)]
        missing = [name for index in range(num_shards) for name in _lacking(self.config, folder, index)]
        if missing:
            raise DataError(f"{folder} lacks {missing[0]} and {len(missing) - 1} more; run the corpus stage again")
        self._shards = [np.load(frames_path, mmap_mode="r") for frames_path, _ in paths]
        self.since: NDArray[np.int64] = np.zeros(total, np.int64)
        """Frame of each clip from which on its scene is true."""
        self.stated: list[Stated | None] = [None] * total
        """What the caption of each clip must state, because it changes or because the recipe asks for it."""
        if self.config.moving is not None:
            self.stated = ["camera"] * total
        if self.config.changing > 0:
            texts = [(folder / _changes_name(index)).read_text() for index in range(num_shards)]
            changes = [json.loads(line) for text in texts for line in text.splitlines()]
            self.since = np.array([each["since"] for each in changes])
            self.stated = [each["stated"] for each in changes]
        self.scenes = [
            config_io.from_dict(Scene, json.loads(line))
            for _, scenes_path in paths
            for line in scenes_path.read_text().splitlines()
        ]

    @property
    def validation_indices(self) -> range:
        """Indices of the clips kept apart."""
        return range(self.config.clips, self.config.clips + self.config.validation_clips)

    def frames(
        self,
        indices: Sequence[int],
        num_frames: int | None = None,
        first: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Give clips as float `b f h w 3` in [-1, 1]; `num_frames` from frame `first[i]` of clip i, or all."""
        length = num_frames or self.config.frames
        starts = first or [0] * len(indices)
        clips = [
            self._shards[index // SHARD][index % SHARD, start : start + length]
            for index, start in zip(indices, starts, strict=True)
        ]
        return torch.from_numpy(np.stack(clips)).to(device).float() / 127.5 - 1.0


def iter_batches(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Cut `indices` into runs of at most `size`."""
    return (indices[start : start + size] for start in range(0, len(indices), size))


def _seeds(config: CorpusConfig, total: int) -> Sequence[int]:
    """The first `total` seeds whose scenes have objects enough, and cameras that move as often as they are to."""
    if config.least_objects == 1 and config.moving is None:
        return range(config.first_seed, config.first_seed + total)
    return list(itertools.islice(_fitting(config), total))


def _fitting(config: CorpusConfig) -> Iterator[int]:
    form = ClipFormat(num_frames=config.frames, fps=config.fps, height=config.height, width=config.width)
    taken = still = 0
    for seed in itertools.count(config.first_seed):
        scene = form.scene(seed)
        stands = config.moving is not None and scene.camera.move == "fixed"
        is_too_still = config.moving is not None and stands and still + 1 > (1 - config.moving) * (taken + 1)
        if len(scene.objects) >= config.least_objects and not is_too_still:
            taken, still = taken + 1, still + stands
            yield seed


def _clips(config: CorpusConfig, seeds: Sequence[int], changing: float) -> Iterator[Clip]:
    return iter_clips(
        seeds,
        num_frames=config.frames,
        fps=config.fps,
        height=config.height,
        width=config.width,
        changing=changing,
    )


def _changes_name(index: int) -> str:
    return f"changes_{index:05d}.jsonl"


def _lacking(config: CorpusConfig, folder: Path, index: int) -> list[str]:
    """Names of the files that a shard should have and has not."""
    changes = [folder / _changes_name(index)] if config.changing > 0 else []
    return [path.name for path in (*_shard_paths(folder, index), *changes) if not path.exists()]


def _shard_paths(folder: Path, index: int) -> tuple[Path, Path]:
    return folder / f"frames_{index:05d}.npy", folder / f"scenes_{index:05d}.jsonl"
