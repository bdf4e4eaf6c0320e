"""What an edit starts from: frames that are known, in whole or in part, and what of them is to be made."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from kinema.generate.state import LatentState
from kinema.model import Tiles, VideoVAE, encode_clip
from kinema.shapes import Stride

_LEAD_FRAMES = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Canvas:
    """One run of the model over some frames: every edit is one of these, or several in a row."""

    frames: UInt8[np.ndarray, "f h w 3"]
    """What is known, RGB, and what the rest starts from where `strength` is below 1."""
    is_made: Bool[np.ndarray, "f h1 w1"]
    """What is to be made, per frame (h1 = w1 = 1) or per pixel."""
    strength: float = 1.0
    """How much of it is made anew, above 0 to 1."""
    keeps: bool = True
    """Whether what is known comes out as it was; else as it is decoded, amid what was made."""
    pictures: tuple[int, ...] = ()
    """Places of frames that come out as the autoencoder gives them back when they stand alone."""

    @property
    def made(self) -> list[bool]:
        """Whether something of it is to be made, frame by frame."""
        return [bool(flag) for flag in np.asarray(self.is_made.any(axis=(1, 2)))]

    def state(
        self, vae: VideoVAE, noise: Float[Tensor, "1 c t y x"], *, shows_clean: bool, tiles: Tiles | None = None
    ) -> LatentState:
        """Start from this: a latent cell is given where none of its pixels is to be made.

        `shows_clean` says that the model knows whole frames at time 0. Works on the device and in the number type of
        the autoencoder; the state is float32.
        """
        weight = vae.from_latent.weight
        clip = torch.from_numpy(self._filled()).to(weight.device)
        with torch.no_grad():
            clean = encode_clip(vae, clip[None], tiles, prepare=lambda part: part.to(weight.dtype) / 127.5 - 1).float()
        mask = cells(self.is_made, vae.stride, clean.shape[3:]).to(weight.device)
        return LatentState.edited(noise.to(weight.device), clean, mask, strength=self.strength, shows_clean=shows_clean)

    def joined(self, made: UInt8[np.ndarray, "f h w 3"], time: int) -> UInt8[np.ndarray, "f h w 3"]:
        """Put what is known back into all the frames, and lead those that were made up to it.

        A known frame is decoded a little otherwise than it is; that difference is given to its neighbours too, less and
        less over four frames, so that no step is seen where what was made meets what was there. `time` is how many
        frames a latent one stands for.
        """
        if self.is_made.shape[1:] != (1, 1):
            return np.where(self.is_made[..., None], made, self.frames)
        flags = self.is_made[:, 0, 0]
        led = made.astype(np.float32)
        is_open = np.append(flags[:1], np.repeat(flags[1:].reshape(-1, time).any(axis=1), time))
        for place in np.flatnonzero(~is_open):
            lost = self.frames[place].astype(np.float32) - made[place]
            for step in (-1, 1):
                for distance in range(1, _LEAD_FRAMES + 1):
                    other = place + step * distance
                    if not 0 <= other < len(flags) or not flags[other]:
                        break
                    led[other] += (1 - distance / (_LEAD_FRAMES + 1)) * lost
        led = led.round().clip(0, 255)
        return np.where(self.is_made[..., None], led, self.frames).astype(np.uint8)

    def _filled(self) -> UInt8[np.ndarray, "f h w 3"]:
        """The frames, with the nearest known one in place of each that nothing is known of."""
        if self.strength < 1:
            return self.frames
        known = np.flatnonzero(~self.is_made.all(axis=(1, 2)))
        if not len(known):
            return self.frames
        places = np.arange(len(self.frames))
        after = np.minimum(np.searchsorted(known, places), len(known) - 1)
        before = np.maximum(after - 1, 0)
        is_nearer = np.abs(known[before] - places) <= np.abs(known[after] - places)
        return self.frames[np.where(is_nearer, known[before], known[after])]


def cells(is_made: Bool[np.ndarray, "f h1 w1"], stride: Stride, size: tuple[int, ...]) -> Float[Tensor, "1 1 t y x"]:
    """Say which latent cells are to be made (1): those that stand for a pixel that is."""
    pixels = torch.from_numpy(is_made).float()
    groups = torch.cat([pixels[:1].expand(stride.time, -1, -1), pixels[1:]]).unflatten(0, (-1, stride.time)).amax(1)
    if groups.shape[1:] != (1, 1):
        groups = F.max_pool2d(groups[:, None], (stride.height, stride.width))[:, 0]
    return groups.expand(-1, *size)[None, None].contiguous()
