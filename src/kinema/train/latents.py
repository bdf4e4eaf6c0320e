"""The corpus seen through the autoencoder: latents computed once, mirrored clips included."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from kinema.errors import DataError
from kinema.model.vae import VideoVAE
from kinema.train.corpus import Corpus, iter_batches
from kinema.train.precision import device_of
from kinema.train.watch import Report, unwatched
from kinema.world.scene import Scene

STATISTICS_CLIPS = 512
BATCH = 16


@torch.no_grad()
def measure_statistics(vae: VideoVAE, corpus: Corpus) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give mean and standard deviation of each channel of the raw latents, over the corpus' first clips."""
    indices = range(min(STATISTICS_CLIPS, corpus.config.clips))
    device = device_of(vae)
    parts = (corpus.frames(part, device=device) for part in iter_batches(indices, BATCH))
    raw = torch.cat([vae.encode_moments(frames)[0].float() for frames in parts])
    channels = raw.transpose(0, 1).flatten(1).double()
    return tuple(channels.mean(dim=1).tolist()), tuple(channels.std(dim=1).tolist())


@torch.no_grad()
def encode_corpus(vae: VideoVAE, corpus: Corpus, path: Path, report: Report = unwatched) -> None:
    """Write the normalised latents of all clips, then of their mirror images, to `path` (float16 `clip c t y x`)."""
    total = len(corpus.scenes)
    device = device_of(vae)
    partial = path.with_suffix(".partial")
    array: np.memmap | None = None
    for start in range(0, total, BATCH):
        frames = corpus.frames(range(start, min(start + BATCH, total)), device=device)
        both = vae.encode(torch.cat([frames, frames.flip(3)])).half().cpu().numpy()
        if array is None:
            shape = (2 * total, *both.shape[1:])
            array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
        size = len(frames)
        array[start : start + size], array[total + start : total + start + size] = both[:size], both[size:]
        report(start + size, total)
    if array is None:
        raise DataError("the corpus is empty; render some clips first")
    array.flush()
    partial.rename(path)


class Latents:
    """Latents by index: a training index counts clips and then their mirror images."""

    def __init__(self, path: Path, corpus: Corpus, device: torch.device | str = "cpu") -> None:
        """Read them from the disk as they are asked for, or hold all of them on a `device` other than the CPU."""
        stored = np.load(path, mmap_mode="r")
        self._stored = stored
        self.size: tuple[int, ...] = stored.shape[1:]
        """Of one clip, "c t y x"."""
        self._held = None if torch.device(device).type == "cpu" else torch.from_numpy(np.array(stored)).to(device)
        self.scenes = corpus.scenes
        self._clips = corpus.config.clips
        self._mirrored = len(self.scenes) if len(stored) == 2 * len(self.scenes) else 0
        self.frames = corpus.config.frames
        stride = max(1, (self.frames - 1) // max(1, stored.shape[2] - 1))
        self.since = torch.from_numpy((corpus.since - 1) // stride + 1)
        """Latent frame of each clip from which on its caption is true."""
        self.stated = corpus.stated
        """What the caption of each clip must state."""
        self.num_training = 2 * self._clips
        self.num_validation = len(self.scenes) - self._clips

    def training(self, indices: Int[Tensor, " b"]) -> Float[Tensor, "b c t y x"]:
        """Give training clips by indices below `num_training`; footage stands where it has no mirror images."""
        return self._read(torch.where(indices < self._clips, indices, indices - self._clips + self._mirrored))

    def validation(self, indices: Sequence[int]) -> tuple[Float[Tensor, "b c t y x"], list[Scene]]:
        """Give clips kept apart, by indices below `num_validation`, and their scenes."""
        places = [self._clips + index for index in indices]
        return self._read(torch.tensor(places)), [self.scenes[place] for place in places]

    def _read(self, places: Tensor) -> Tensor:
        if self._held is not None:
            return self._held[places.to(self._held.device)].float()
        return torch.from_numpy(self._stored[places.numpy()]).float()
