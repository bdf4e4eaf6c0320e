"""A clip through the autoencoder in tiles: the memory of one tile instead of that of whole pictures.

Attention, which sees the whole picture, runs on latent cells, where there is little to hold: it runs as ever. Only the
stages between cells and pixels run tile by tile. What a pixel takes from cells around it reaches some 13 cells far
(Wan2.1's decoder); tiles that share twice that and `RAMP` give the numbers of the whole, and those that share less
give nearly those: influence falls quickly with distance. Results are led over from one tile to the next on a ramp in
the middle of what they share, so that no seam is seen, and what is nearer to a tile's edge is dropped.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from kinema.errors import SpecError
from kinema.model.causal_conv import TimeCache
from kinema.model.vae import VideoVAE, unpatchify
from kinema.shapes import VideoShape

RAMP = 2
"""Cells over which one tile leads to the next."""

ENCODE_LATENTS = 4
"""Latent frames that are encoded at once; a clip is encoded in chunks, which together equal the whole."""


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """How pictures are cut, in latent cells."""

    side: int
    """Rows and columns of a tile, what it shares with its neighbours included."""
    overlap: int = 8
    """Rows or columns that two neighbours share."""

    def __post_init__(self) -> None:
        """Refuse tiles that would share more than half of themselves, or too little for the ramp."""
        if not RAMP <= self.overlap <= self.side // 2:
            raise SpecError(
                f"tiles of {self.side} cells cannot share {self.overlap}; it takes {RAMP} to {self.side // 2}"
            )

    def spans(self, length: int) -> list[range]:
        """Cut rows or columns; the last tile may be smaller."""
        step = self.side - self.overlap
        starts = range(0, max(1, length - self.overlap), step)
        return [range(start, min(start + self.side, length)) for start in starts]

    def weights(self, span: range, length: int, scale: int) -> Tensor:
        """How much each row or column of a tile counts, `scale` of them to a cell; all tiles together give 1."""
        flat = (self.overlap - RAMP) // 2
        up = ((torch.arange(self.overlap * scale) + 0.5 - flat * scale) / (RAMP * scale)).clamp(0, 1)
        weights = torch.ones(len(span) * scale)
        if span.start > 0:
            weights[: len(up)] = up
        if span.stop < length:
            weights[-len(up) :] *= 1 - up
        return weights


def decode_clip(
    vae: VideoVAE, latent: Float[Tensor, "b c t y x"], chunk: int, tiles: Tiles | None = None
) -> Iterator[Float[Tensor, "b f h w 3"]]:
    """Turn latents into frames in [-1, 1], `chunk` latent frames at a time.

    With `tiles` all frames are held until the last tile is done: they weigh less than what the decoder remembers of
    the frames before, which one tile at a time has to.
    """
    if tiles is None or max(latent.shape[3:]) <= tiles.side:
        yield from vae.decode_stream(latent.split(chunk, dim=2))
        return
    decoder, cache = vae.decoder, TimeCache()
    raw = vae.denormalise(latent).to(vae.from_latent.weight.dtype)
    features = torch.cat([decoder.whole(vae.from_latent(part), cache) for part in raw.split(chunk, dim=2)], dim=2)
    del raw, cache
    time, rows, columns = vae.stride.time, vae.stride.height, vae.stride.width
    shape = VideoShape((latent.shape[2] - 1) * time + 1, latent.shape[3] * rows, latent.shape[4] * columns)
    frames = features.new_zeros(len(latent), shape.frames, shape.height, shape.width, 3)
    for down, right in itertools.product(tiles.spans(latent.shape[3]), tiles.spans(latent.shape[4])):
        weights = tiles.weights(down, latent.shape[3], rows)[:, None] * tiles.weights(right, latent.shape[4], columns)
        weights = weights[..., None].to(frames)
        place = frames[:, :, down.start * rows : down.stop * rows, right.start * columns : right.stop * columns]
        cache, first = TimeCache(), 0
        for part in features[..., down.start : down.stop, right.start : right.stop].split(chunk, dim=2):
            made = unpatchify(decoder.near(part, cache, is_first=first == 0), vae.config.patch_size)
            place[:, first : first + made.shape[1]].addcmul_(made, weights)
            first += made.shape[1]
    for part in frames.split(chunk * time, dim=1):
        yield part.clamp(-1, 1)


def encode_clip(
    vae: VideoVAE,
    clip: Tensor,
    tiles: Tiles | None = None,
    *,
    prepare: Callable[[Tensor], Tensor] = lambda frames: frames,
) -> Float[Tensor, "b c t y x"]:
    """Turn a clip "b f h w 3" into latents, a few frames at a time; `prepare` turns these into numbers in [-1, 1].

    Raises SpecError for a clip that does not fit the stride.
    """
    time, rows, columns = vae.stride.time, vae.stride.height, vae.stride.width
    shape = VideoShape(*clip.shape[1:4]).to_latent(vae.stride)
    if tiles is None or max(shape.height, shape.width) <= tiles.side:
        chunks = clip.split(ENCODE_LATENTS * time, dim=1)
        return torch.cat(list(vae.encode_stream(prepare(chunk) for chunk in chunks)), dim=2)
    encoder, features = vae.encoder, None
    starts = [0, *range(1, clip.shape[1], ENCODE_LATENTS * time), clip.shape[1]]
    for down, right in itertools.product(tiles.spans(shape.height), tiles.spans(shape.width)):
        weights = tiles.weights(down, shape.height, 1)[:, None] * tiles.weights(right, shape.width, 1)
        tile = clip[:, :, down.start * rows : down.stop * rows, right.start * columns : right.stop * columns]
        cache, first = TimeCache(), 0
        for start, stop in itertools.pairwise(starts):
            made = encoder.near(vae.to_patches(prepare(tile[:, start:stop])), cache)
            if features is None:
                features = made.new_zeros(*made.shape[:2], shape.frames, shape.height, shape.width)
            place = features[:, :, first : first + made.shape[2], down.start : down.stop, right.start : right.stop]
            place.addcmul_(made, weights.to(made))
            first += made.shape[2]
    assert features is not None
    cache = TimeCache()
    means = [
        vae.to_moments(encoder.whole(part, cache)).chunk(2, dim=1)[0] for part in features.split(ENCODE_LATENTS, dim=2)
    ]
    return vae.normalise(torch.cat(means, dim=2))
