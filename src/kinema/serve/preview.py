"""Pictures of what a video is becoming, while it is still being denoised."""

import base64
import io
import logging
import time
from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor

from kinema.generate.state import FrameVelocity
from kinema.generate.stream import to_pixels
from kinema.model import VideoVAE

logger = logging.getLogger(__name__)

SIDE_PX = 192
"""The longer side of a preview, at most."""

_LATENT_FRAMES = 2  # the first may be a given picture, which shows nothing new
_PAUSE_S = 0.7
_MOST_OF_TIME = 0.05
_PAUSE_GROWTH = 0.12


class Previewer:
    """Watches a velocity, and now and then shows a picture of an early frame as far as it can be foreseen.

    At time t a latent x that moves with velocity v leads to x - t v; that is decoded. It takes at most a twentieth of
    the time, and previews become rarer the longer a video takes. `show` gets each one as a `data:image/webp` URL.
    """

    def __init__(self, vae: VideoVAE, show: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._vae, self._show, self._clock = vae, show, clock
        self._began_at = self._shown_at = clock()
        self._cost_s = 0.0
        self._is_off = False

    def watched(self, velocity: FrameVelocity) -> FrameVelocity:
        """The same velocity, whose answers are looked at."""

        def answer(latent: Tensor, times: Tensor) -> Tensor:
            predicted = velocity(latent, times)
            if not self._is_off and self._is_here() and self._is_time():
                self._try(latent, times, predicted)
            return predicted

        return answer

    def _is_here(self) -> bool:
        """Whether the decoder has its weights: where memory is little, they come only at the end."""
        return not next(self._vae.parameters()).is_meta

    def _is_time(self) -> bool:
        now = self._clock()
        growing_s = _PAUSE_GROWTH * (now - self._began_at)
        return now - self._shown_at >= max(_PAUSE_S, self._cost_s / _MOST_OF_TIME, growing_s)

    def _try(self, latent: Tensor, times: Tensor, predicted: Tensor) -> None:
        began_at = self._clock()
        try:
            self._show(foresee(self._vae, latent, times, predicted))
        except RuntimeError as error:  # no memory to spare, most likely: the video matters more
            logger.warning("no more previews: %s", error)
            self._is_off = True
        self._shown_at = self._clock()
        self._cost_s = self._shown_at - began_at


@torch.inference_mode()
def foresee(vae: VideoVAE, latent: Tensor, times: Tensor, predicted: Tensor) -> str:
    """The picture that a latent `b c t y x`, at times `b t`, is on its way to, as a `data:image/webp` URL."""
    n = _LATENT_FRAMES
    clean = latent[:1, :, :n] - times[:1, None, :n, None, None] * predicted[:1, :, :n]
    (frames,) = vae.decode_stream([clean])
    picture = Image.fromarray(to_pixels(frames[0][-1:])[0])
    picture.thumbnail((SIDE_PX, SIDE_PX))
    content = io.BytesIO()
    picture.save(content, "WEBP", quality=70)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"
