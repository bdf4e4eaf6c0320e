"""Grounding: halfway through, the transformer must know where each object is, how it looks, and what moves how.

The error of the velocity is mostly texture and noise; that a thing is a cone, and not a ball, is a small part of it,
and is learnt late. So a small head reads the tokens of a middle block and predicts what each cell of the true clip
shows, which the world knows exactly. This is REPA (Yu et al. 2024, arXiv 2410.06940) with the truth in the place of
another network's features. The head is not part of the model.
"""

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from kinema.model.dit import DiT
from kinema.shapes import Stride
from kinema.train.config import CorpusConfig, GroundingConfig
from kinema.train.corpus import Corpus
from kinema.train.watch import Report, unwatched
from kinema.world.coverage import coverage
from kinema.world.physics import simulate
from kinema.world.scene import (
    ACTIONS,
    CAMERA_DIRECTIONS,
    CAMERA_MOVES,
    COLOURS,
    MATERIALS,
    MOST_OBJECTS,
    SHAPES,
    Scene,
    mirror,
)

OF_OBJECTS = len(SHAPES) + len(COLOURS) + len(MATERIALS) + len(ACTIONS)
CAMERAS = tuple((move, way) for move in CAMERA_MOVES for way in CAMERA_DIRECTIONS[move] or (None,))
"""What a camera may do, which every cell of its clip shows."""
NUM_ATTRIBUTES = OF_OBJECTS + len(CAMERAS)
CHUNK = 64
"""Clips that a process locates at a time."""
RARE = -3.0
"""Bias that the head starts with: a cell shows a given attribute in about one case of twenty."""


class GroundingHead(nn.Module):
    """Reads tokens of a middle block: logits of the share of each token's cell that shows each attribute."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, NUM_ATTRIBUTES)
        nn.init.constant_(self.out.bias, RARE)

    def forward(self, tokens: Float[Tensor, "b t s d"]) -> Float[Tensor, "b t s attributes"]:
        """Map tokens to logits."""
        return self.out(F.gelu(self.hidden(self.norm(tokens))))


class Heard:
    """The output of one block in the latest pass."""

    tokens: Tensor


@contextmanager
def listening(dit: DiT, block: int) -> Iterator[Heard]:
    """Keep the tokens that block number `block`, from 0, gives while the context lasts."""
    heard = Heard()

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:  # noqa: ARG001 - what hooks are called with
        heard.tokens = output

    handle = dit.blocks[block].register_forward_hook(keep)
    try:
        yield heard
    finally:
        handle.remove()


def grounding_loss(
    logits: Float[Tensor, "b t s attributes"], truth: Float[Tensor, "b attributes t y x"]
) -> Float[Tensor, ""]:
    """Cross-entropy of the shares, in nats per token: summed over attributes, averaged over tokens and clips."""
    wanted = truth.flatten(3).permute(0, 2, 3, 1)
    return F.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="none").sum(-1).mean()


def emphasis(
    truth: Float[Tensor, "b attributes t y x"],
    times: Float[Tensor, "b t"],
    size: tuple[int, int],
    config: GroundingConfig,
) -> Float[Tensor, "b t rows columns"]:
    """Weigh the error at each place of latents of `size`: up to `object_weight` where objects are, up to some time.

    A weight that noise hides would move what the network expects; a cell's share of objects is plain to see in
    latents up to `object_until`, so there it does not.
    """
    objects = truth[:, : len(SHAPES)].sum(dim=1)
    rows, columns = (whole // part for whole, part in zip(size, objects.shape[2:], strict=True))
    objects = objects.repeat_interleave(rows, dim=2).repeat_interleave(columns, dim=3)
    counts = (times <= config.object_until)[:, :, None, None]
    return 1.0 + (config.object_weight - 1.0) * objects * counts


class Truth:
    """What each cell of each clip of a corpus shows."""

    def __init__(self, path: Path, corpus: Corpus, device: torch.device) -> None:
        self._clips = corpus.config.clips
        self._shares = torch.from_numpy(np.load(path)[: self._clips]).to(device)  # clip o t y x
        self._frames_per_share = round((corpus.config.frames - 1) / max(self._shares.shape[2] - 1, 1))
        marks = [attributes_of(scene) for scene in corpus.scenes[: self._clips]]
        self._attributes = torch.stack(marks).to(device)  # clip o attributes of objects
        both = [[camera_of(each) for each in (scene, mirror(scene))] for scene in corpus.scenes[: self._clips]]
        self._cameras = torch.tensor(both, device=device)  # clip, mirrored or not

    def objects(self, indices: Sequence[int], num_frames: int, first: Sequence[int]) -> Float[Tensor, "b f y x"]:
        """Give the share of each cell that shows any object, for `num_frames` frames of clips from frame `first`."""
        frames = torch.tensor(first)[:, None] + torch.arange(num_frames)
        places = (frames - 1).div(self._frames_per_share, rounding_mode="floor") + 1  # the first frame has its own
        clips = torch.tensor(indices)[:, None].to(self._shares.device)
        shares = self._shares[clips, :, places.to(self._shares.device)]  # b f o y x
        return shares.sum(2, dtype=torch.float32).clamp(max=255.0) / 255.0

    def training(self, indices: Int[Tensor, " b"]) -> Float[Tensor, "b attributes t y x"]:
        """Give the share of each cell that shows each attribute, for training indices as `Latents` counts them."""
        indices = indices.to(self._shares.device)
        clips, is_mirrored = indices % self._clips, indices >= self._clips
        shares = self._shares[clips]
        shares = torch.where(is_mirrored[:, None, None, None, None], shares.flip(-1), shares).float() / 255.0
        objects = torch.einsum("boa,botyx->batyx", self._attributes[clips], shares)
        cameras = F.one_hot(self._cameras[clips, is_mirrored.long()], len(CAMERAS)).float()
        return torch.cat([objects, cameras[..., None, None, None].expand(-1, -1, *objects.shape[2:])], dim=1)


def attributes_of(scene: Scene) -> Float[Tensor, "o attributes"]:
    """Mark the shape, colour and material of each object, and the action of the one that acts, with 1."""
    marks = torch.zeros(MOST_OBJECTS, OF_OBJECTS)
    for row, thing in zip(marks, scene.objects, strict=False):
        row[SHAPES.index(thing.shape)] = 1.0
        row[len(SHAPES) + COLOURS.index(thing.colour)] = 1.0
        row[len(SHAPES) + len(COLOURS) + MATERIALS.index(thing.material)] = 1.0
    marks[0, len(SHAPES) + len(COLOURS) + len(MATERIALS) + ACTIONS.index(scene.action)] = 1.0
    return marks


def camera_of(scene: Scene) -> int:
    """The place in `CAMERAS` of what the scene's camera does."""
    return CAMERAS.index((scene.camera.move, scene.camera.direction))


def measure_truth(
    corpus: Corpus, stride: Stride, path: Path, workers: int | None = None, report: Report = unwatched
) -> None:
    """Write the share of each cell that shows each object, in 255ths, to `path` (uint8 `clip o t y x`).

    A cell is one latent of the autoencoder's `stride` times the transformer's patch; a latent frame that stands for
    several frames has their mean. Processes share the work, one for each core unless told.
    """
    locate = partial(_locate, corpus.config, stride)
    parts = [corpus.scenes[start : start + CHUNK] for start in range(0, len(corpus.scenes), CHUNK)]
    workers = min(len(parts), workers or os.cpu_count() or 1)
    if workers == 1:
        shares = _counted(map(locate, parts), len(parts), report)
    else:
        context = multiprocessing.get_context("forkserver")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
            shares = _counted(pool.map(locate, parts), len(parts), report)
    partial_path = path.with_suffix(".partial")
    with partial_path.open("wb") as file:
        np.save(file, np.concatenate(shares))
    partial_path.rename(path)


def _counted(parts: Iterable[NDArray[np.uint8]], total: int, report: Report) -> list[NDArray[np.uint8]]:
    """All parts, each reported as it comes."""
    found: list[NDArray[np.uint8]] = []
    for part in parts:
        found.append(part)
        report(len(found), total)
    return found


def _locate(form: CorpusConfig, stride: Stride, scenes: Sequence[Scene]) -> NDArray[np.uint8]:
    """The shares of some clips."""
    latent = form.shape.to_latent(stride)
    shares = np.zeros((len(scenes), MOST_OBJECTS, latent.frames, latent.height, latent.width), np.uint8)
    for number, scene in enumerate(scenes):
        trajectory = simulate(scene, form.frames, form.fps)
        seen = coverage(scene, trajectory, form.frames, latent.height, latent.width, form.width / form.height)
        first, others = seen[:, :1], seen[:, 1:].unflatten(1, (-1, stride.time)).mean(2)
        shares[number, : len(seen)] = (255.0 * torch.cat([first, others], dim=1)).round().byte().numpy()
    return shares


def _start_worker() -> None:
    torch.set_num_threads(1)  # the grids are small, and the processes fill the cores
