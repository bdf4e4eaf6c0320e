"""What a model makes of frames that it is given: whether they come back, and whether what follows goes on from them.

True clips of the demo world give their first frame, their beginning, or both ends, with their own caption; what comes
out is compared with the clip and with what the autoencoder alone gives back of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinema.diffusion import SCHEDULES, SOLVERS
from kinema.evaluate.adherence import adherence
from kinema.evaluate.metrics import Frames, Interval, bootstrap_interval, psnr
from kinema.generate.pipeline import Pipeline
from kinema.generate.state import LatentState
from kinema.generate.stream import to_pixels
from kinema.spec import VideoSpec
from kinema.world.dataset import Clip
from kinema.world.observation import Observation
from kinema.world.parse import parse

PREFIX = 2
"""Latent frames that a beginning has, of clips that are longer."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """Each number is a mean with its 95 % interval over clips; decibels are those of PSNR.

    Losses are how many decibels a given frame is further from the true one than the autoencoder alone leaves it. Jumps
    are the change from the last given frame to the next one, over the mean change between other neighbours. Velocity
    errors are of the object that acts, in picture heights per second, over all frames that show it.
    """

    first_frame_loss_db: Interval
    last_frame_loss_db: Interval
    """Of the last frame, when both ends are given."""
    action: Interval
    """Share of the stated actions that are seen when the first frame is given."""
    seam_jump: Interval
    seam_jump_true: Interval
    velocity_error: Interval
    """When a beginning of `PREFIX` latent frames is given."""
    velocity_error_decoded: Interval
    """Of true clips that went through the autoencoder."""


@dataclass(frozen=True)
class _Result:
    first_loss: float
    last_loss: float
    action: bool | None
    seam: float
    seam_true: float
    error: float | None
    error_decoded: float | None


@torch.inference_mode()
def measure_given(pipeline: Pipeline, clips: Iterable[Clip]) -> Given:
    """Make three videos for each of some clips of the model's own size (`true_clips`)."""
    results = [_measure(pipeline, clip) for clip in clips]

    def interval(values: Sequence[float | None]) -> Interval:
        return bootstrap_interval([[value] for value in values if value is not None])

    return Given(
        first_frame_loss_db=interval([result.first_loss for result in results]),
        last_frame_loss_db=interval([result.last_loss for result in results]),
        action=interval([None if result.action is None else float(result.action) for result in results]),
        seam_jump=interval([result.seam for result in results]),
        seam_jump_true=interval([result.seam_true for result in results]),
        velocity_error=interval([result.error for result in results]),
        velocity_error_decoded=interval([result.error_decoded for result in results]),
    )


@torch.inference_mode()
def go_on(
    pipeline: Pipeline, prompt: str, latent: Tensor, given: Sequence[int], seed: int
) -> NDArray[np.uint8]:  # f h w 3
    """Make a video of the model's own size in which the `given` latent frames of `latent` ("1 c t y x") stand."""
    spec = pipeline.resolve(VideoSpec(prompt=prompt, seed=seed))
    assert spec.steps is not None
    assert spec.shift is not None
    noise = pipeline.noise(spec).to(pipeline.device)
    state = LatentState.given_frames(noise, {index: latent[:, :, index] for index in given})
    schedule = SCHEDULES[spec.solver](spec.steps, spec.shift)  # type: ignore[index]  # `resolve` has checked it
    solve = SOLVERS[spec.solver]  # type: ignore[index]
    made = state.restore(solve(state.velocity(pipeline.network(spec)), state.latent, schedule, None))
    return np.concatenate([to_pixels(frames) for frames in pipeline.decode(made, spec)])


def _measure(pipeline: Pipeline, clip: Clip) -> _Result:
    vae = pipeline.model.vae
    pixels = torch.from_numpy(clip.frames)[None].to(pipeline.device, pipeline.dtype) / 127.5 - 1
    latent = vae.encode(pixels).float()
    decoded = to_pixels(vae.decode(latent.to(pipeline.dtype))[0])
    return _compare(pipeline, clip, latent, decoded)


def _compare(pipeline: Pipeline, clip: Clip, latent: Tensor, decoded: Frames) -> _Result:
    fps, tokenizer = pipeline.model.defaults.fps, pipeline.model.tokenizer
    short, *longer = clip.captions
    caption = next((each for each in longer if tokenizer.count(each.text) <= tokenizer.max_tokens), short)
    last = latent.shape[2] - 1
    prefix = min(PREFIX, last)
    from_first, from_beginning, between = (
        go_on(pipeline, caption.text, latent, given, clip.scene.seed) for given in ([0], list(range(prefix)), [0, last])
    )
    seam = (prefix - 1) * pipeline.stride.time + 1
    truth = parse(clip.frames, fps)
    return _Result(
        first_loss=psnr(clip.frames[0], decoded[0]) - psnr(clip.frames[0], from_first[0]),
        last_loss=psnr(clip.frames[-1], decoded[-1]) - psnr(clip.frames[-1], between[-1]),
        action=next(iter(adherence(parse(from_first, fps), caption.facts).get("action", [])), None),
        seam=seam_jump(from_beginning, seam),
        seam_true=seam_jump(clip.frames, seam),
        error=velocity_error(truth, parse(from_beginning, fps), fps),
        error_decoded=velocity_error(truth, parse(decoded, fps), fps),
    )


def seam_jump(frames: Frames, seam: int) -> float:
    """How much more changes into frame `seam` than between other neighbours: 1 where the seam is not to be seen."""
    changes = np.abs(np.diff(frames.astype(np.float64), axis=0)).mean(axis=(1, 2, 3))
    others = np.delete(changes, seam - 1)
    return float((changes[seam - 1] + 1e-3) / (others.mean() + 1e-3))


def velocity_error(truth: Observation, seen: Observation, fps: float) -> float | None:
    """Mean error of the velocity of the object that acts, in picture heights per second.

    The object is looked for by its colour and, of several, by where it is; None where the true clip has none. One that
    is missing counts as if it had stood still.
    """
    if not truth.objects:
        return None
    actor = truth.objects[0]
    true_steps = np.diff(actor.track, axis=0) * fps
    known = np.isfinite(true_steps).all(axis=1)
    if not known.any():
        return None
    candidates = [np.diff(thing.track, axis=0) * fps for thing in seen.objects if thing.colour == actor.colour]
    errors = [_error(steps[known], true_steps[known]) for steps in candidates]
    return min(errors, default=_error(np.zeros_like(true_steps[known]), true_steps[known]))


def _error(steps: NDArray[np.float64], true_steps: NDArray[np.float64]) -> float:
    """Mean distance; a step that is not seen counts as none."""
    return float(np.hypot(*(np.nan_to_num(steps) - true_steps).T).mean())
