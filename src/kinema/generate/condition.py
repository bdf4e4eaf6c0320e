"""How given pictures reach a model: at time 0 among its frames, in channels beside the latent, or as image tokens."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from kinema.generate.ability import Nature, shown_places
from kinema.generate.canvas import Canvas
from kinema.generate.image import read_first_frame
from kinema.model import ImageEncoder, Model, Tiles, VideoVAE, encode_clip
from kinema.shapes import Stride, VideoShape
from kinema.spec import VideoSpec


def nature_of(model: Model) -> Nature:
    """What of a model decides which requests it can follow."""
    is_causal, has_pair = model.causal is not None, model.dit.config.image_positions is not None
    needs_first = bool(model.condition_channels)
    takes_last = not is_causal and (has_pair or model.image is None if needs_first else model.reads_frames)
    takes = {"first": needs_first or model.reads_frames or is_causal, "last": takes_last}
    needs = {"first": needs_first, "last": has_pair}
    return Nature(
        pictures=tuple(which for which, does in takes.items() if does),
        needs=tuple(which for which, does in needs.items() if does),
        is_causal=is_causal,
        has_experts=model.dit_low is not None,
    )


def shown_frames(model: Model, canvas: Canvas) -> dict[int, UInt8[np.ndarray, "h w 3"]]:
    """What a model that reads pictures is shown of an edit, by place."""
    return {place: canvas.frames[place] for place in shown_places(nature_of(model), canvas.made)}


def read_pictures(spec: VideoSpec, stride: Stride) -> dict[int, Float[Tensor, "1 1 h w 3"]]:
    """Read the given pictures as frames in [-1, 1], by the place of the frame. Raises what `read_first_frame` does."""
    assert spec.frames is not None
    given = {0: spec.image, spec.frames - 1: spec.last_image}
    return {
        place: read_first_frame(path, spec.shape, stride, spec.fit)
        for place, path in sorted(given.items())
        if path is not None
    }


@torch.no_grad()
def condition_channels(
    vae: VideoVAE,
    pictures: dict[int, Float[Tensor, "1 1 h w 3"]],
    shape: VideoShape,
    device: torch.device,
    tiles: Tiles | None = None,
) -> Float[Tensor, "1 c t y x"]:
    """Make what Wan's image models are shown beside the latent: which frames are given, and the latents of these.

    The first `stride.time` channels are 1 for each given frame of those a latent frame stands for; the others are the
    latents of a clip that is mid-grey where nothing is given.
    """
    dtype = vae.from_latent.weight.dtype
    clip = torch.zeros(1, shape.frames, shape.height, shape.width, 3, dtype=dtype, device=device)
    mask = torch.zeros(shape.frames, device=device)
    for place, picture in pictures.items():
        clip[:, place] = picture[:, 0].to(clip)
        mask[place] = 1
    latent = encode_clip(vae, clip, tiles).float()
    time = vae.stride.time
    mask = torch.cat([mask[:1].expand(time), mask[1:]]).view(-1, time).T[None, :, :, None, None]
    return torch.cat([mask.expand(-1, -1, -1, *latent.shape[3:]), latent], dim=1)


@torch.no_grad()
def image_tokens(
    encoder: ImageEncoder, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], device: torch.device
) -> Float[Tensor, "1 m d"]:
    """See pictures: the tokens of one after the other, each cut to its middle square."""
    squares = torch.stack([_middle_square(picture, encoder.config.image_size) for picture in pictures])
    tokens: Tensor = encoder(squares.to(device))
    return tokens.flatten(0, 1)[None]


def _middle_square(picture: UInt8[np.ndarray, "_ _ 3"], side: int) -> Float[Tensor, "h w 3"]:
    """Shrink or grow a picture until its short side is `side`, and cut the middle out, as CLIP's processor does."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    width, height = image.size
    short = min(width, height)
    image = image.resize((int(side * width / short), int(side * height / short)), Image.Resampling.BICUBIC)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    pixels = np.asarray(image.crop((left, top, left + side, top + side)))
    return torch.from_numpy(pixels.copy()).float() / 255
