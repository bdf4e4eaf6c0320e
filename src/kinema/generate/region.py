"""Which pixels of a video are made anew: a box, or a mask that a person painted or filmed."""

import numpy as np
from jaxtyping import Bool

from kinema.errors import SpecError
from kinema.media import iter_frames
from kinema.spec import Replace, VideoSpec

_WHITE = 128


def read_region(edit: Replace, spec: VideoSpec, count: int) -> Bool[np.ndarray, "f h w"]:
    """Say what is to be made anew in a video of `count` frames: for each frame, or (f = 1) alike for all.

    A mask is resized to the video without blurring its edge. Raises SpecError for a box that reaches out of the video,
    and for a mask of another number of frames or of other proportions; MediaError for a file that is no mask.
    """
    width, height = spec.width or 0, spec.height or 0
    region = np.zeros((1, height, width), bool)
    if edit.box is not None:
        left, top, right, bottom = edit.box
        if right > width or bottom > height:
            raise SpecError(f"box {edit.box} reaches out of the video, which is {width}x{height}; end it there")
        region[:, top:bottom, left:right] = True
        return region
    if edit.mask is None:
        return ~region
    masks = [_nearest(frame.mean(axis=-1) >= _WHITE, height, width, edit.mask) for frame in iter_frames(edit.mask)]
    if len(masks) not in (1, count):
        raise SpecError(f"{edit.mask} has {len(masks)} frames, but the video {count}; give as many, or one picture")
    return np.stack(masks)


def _nearest(mask: Bool[np.ndarray, "h0 w0"], height: int, width: int, path: str) -> Bool[np.ndarray, "h w"]:
    if abs(mask.shape[1] / mask.shape[0] / (width / height) - 1) > 0.02:
        raise SpecError(
            f"{path} is {mask.shape[1]}x{mask.shape[0]}, which has other proportions than the video's "
            f"{width}x{height}; make the mask at the video's size"
        )
    rows, columns = (np.arange(side) * size // side for side, size in ((height, mask.shape[0]), (width, mask.shape[1])))
    return mask[rows][:, columns]
