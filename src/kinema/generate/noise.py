"""The noise a video starts from: a function of the seed and of the place, never of how the work is cut up."""

import hashlib

import torch
from jaxtyping import Float
from torch import Tensor

from kinema.shapes import LatentShape


def frame_noise(
    seed: int, frame: int, channels: int, height: int, width: int, *, step: int = 0
) -> Float[Tensor, "c y x"]:
    """Draw the standard normal noise of one latent frame, float32 on the CPU; `step` is for noise that is added later.

    The same (seed, frame, step) gives the same numbers whatever the length of the video, the batch, the device or the
    number type of the model. They are hashed together, so neighbouring seeds share no frame.
    """
    place = f"{seed}:{frame}:{step}" if step else f"{seed}:{frame}"
    digest = hashlib.blake2b(place.encode(), digest_size=8).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest, "little") >> 1)
    return torch.randn(channels, height, width, generator=generator)


def video_noise(
    seed: int, channels: int, shape: LatentShape, start: int = 0, *, step: int = 0
) -> Float[Tensor, "1 c t y x"]:
    """Draw the noise of latent frames `start` to `start + shape.frames`: a slice of one endless sequence per seed."""
    frames = [frame_noise(seed, start + i, channels, shape.height, shape.width, step=step) for i in range(shape.frames)]
    return torch.stack(frames, dim=1).unsqueeze(0)
