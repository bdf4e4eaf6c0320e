"""What the autoencoder alone gives back of true clips: the ceiling of everything a model makes with it."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from kinema.evaluate.adherence import Observed, observe
from kinema.evaluate.metrics import flicker, psnr
from kinema.generate.pipeline import Pipeline
from kinema.generate.stream import to_pixels
from kinema.world.dataset import Clip


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """True clips against what the autoencoder made of them."""

    psnr_db: tuple[float, ...]
    """One number per clip."""
    flicker_true: float
    """Steadiness of the true clips, in [0, 1] (see `metrics.flicker`)."""
    flicker_decoded: float
    """Steadiness of the decoded clips."""
    observed: tuple[Observed, ...] = ()
    """What the parser sees in the decoded clips: what a model that makes the latents of true clips would score."""


@torch.inference_mode()
def measure_fidelity(pipeline: Pipeline, clips: Iterable[Clip]) -> Fidelity:
    """Encode and decode clips of the model's own size (`true_clips`)."""
    vae = pipeline.model.vae
    psnrs, true, decoded, observed = [], [], [], []
    for clip in clips:
        frames = torch.from_numpy(clip.frames)[None].to(pipeline.device, pipeline.dtype) / 127.5 - 1
        back = to_pixels(vae.decode(vae.encode(frames))[0])
        psnrs.append(psnr(clip.frames, back))
        true.append(flicker(clip.frames))
        decoded.append(flicker(back))
        observed.append(observe(clip.scene, back, pipeline.model.defaults.fps))
    return Fidelity(
        psnr_db=tuple(psnrs),
        flicker_true=float(np.mean(true)),
        flicker_decoded=float(np.mean(decoded)),
        observed=tuple(observed),
    )
