"""How given pictures reach a model: at time 0 among its frames, in channels beside the latent, or as image tokens."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from kinema.errors import SpecError
from kinema.generate.canvas import Canvas
from kinema.generate.image import read_first_frame
from kinema.model import ImageEncoder, Model, Tiles, VideoVAE, encode_clip
from kinema.shapes import Stride, VideoShape
from kinema.spec import KeyFrames, Storyboard, VideoSpec


def check_pictures(model: Model, spec: VideoSpec, name: str) -> None:
    """Refuse pictures that the model cannot use, and their absence where it needs them; reads them to be sure.

    Raises SpecError, which says which models can, and MediaError for a file that is no picture.
    """
    is_new = spec.edit is None or isinstance(spec.edit, KeyFrames | Storyboard)  # else its video brings them
    needs_last = is_new and needs_last_picture(model)
    if is_new and model.condition_channels and spec.image is None:
        what = "a first and a last picture" if needs_last else "a picture"
        raise SpecError(f"{name} starts from {what}; give image, or use a text-to-video model such as wan2.1-1.3b")
    if needs_last and spec.last_image is None:
        raise SpecError(f"{name} goes from one picture to another; give last_image too, or use wan2.1-i2v-14b")
    if spec.image is not None and not takes_picture(model):
        raise SpecError(
            f"{name} makes videos from text only; to start from a picture use mini, wan2.1-i2v-14b, wan2.2-5b or "
            "wan2.2-i2v-a14b"
        )
    if spec.last_image is not None and not takes_last_picture(model):
        raise SpecError(
            f"{name} cannot end on a picture; use mini, wan2.2-5b, wan2.1-flf2v-14b or wan2.2-i2v-a14b, or drop "
            "last_image"
        )
    if spec.image is not None and spec.frames == 1:
        raise SpecError("frames=1 with an image leaves nothing to generate; ask for more frames, or drop the image")


def takes_picture(model: Model) -> bool:
    """Whether a model can start from a picture."""
    return bool(model.condition_channels) or model.reads_frames or model.causal is not None


def takes_last_picture(model: Model) -> bool:
    """Whether a model can end on a picture."""
    if model.causal is not None:
        return False
    return needs_last_picture(model) or model.image is None if model.condition_channels else model.reads_frames


def needs_last_picture(model: Model) -> bool:
    """Whether a model makes nothing without a picture to end on."""
    return model.dit.config.image_positions is not None


def shown_frames(model: Model, canvas: Canvas) -> dict[int, UInt8[np.ndarray, "h w 3"]]:
    """What a model that reads pictures is shown of an edit, by place: the first frame, the last, or both, as it reads.

    Of frames of which something is to be made it is shown none, unless all of them are made anew from what they show.
    """
    places = (0, len(canvas.frames) - 1) if takes_last_picture(model) else (0,)
    is_remix = bool(canvas.is_made.all())
    return {place: canvas.frames[place] for place in places if is_remix or not canvas.is_made[place].any()}


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
