"""From a request to frames: text to keys and values, noise to latents, latents to pictures; one path for every edit."""

import dataclasses
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from kinema.diffusion import SCHEDULES, SOLVERS, Schedule, begin_at
from kinema.errors import SpecError
from kinema.generate.canvas import Canvas
from kinema.generate.device import dtype_name, explained
from kinema.generate.edit import play
from kinema.generate.experts import causal_model
from kinema.generate.fit import Fitter
from kinema.generate.image import as_frame, read_first_frame
from kinema.generate.join import join_frames
from kinema.generate.networks import Networks
from kinema.generate.noise import video_noise
from kinema.generate.prepare import LoadOptions, Prepared, prepare
from kinema.generate.progress import IsCancelled, OnProgress, Tracker
from kinema.generate.record import Record
from kinema.generate.resolve import resolve
from kinema.generate.rollout import DrawNoise, Rollout
from kinema.generate.state import FrameVelocity, LatentState
from kinema.generate.storyboard import as_changes, holds_pictures, key_frame_canvas, play_storyboard
from kinema.generate.stream import Stream, to_pixels
from kinema.generate.turns import Turns
from kinema.generate.video import Video
from kinema.model import CAUSAL_PRESETS, CausalConfig, Model, decode_clip
from kinema.spec import Join, Storyboard, VideoSpec

DECODE_PIXELS = 2**19
"""Pixels that one chunk of the decoder may hold: enough to fill the processor, few enough that memory stays flat."""


class Pipeline:
    """Makes videos from prompts with one model: `Pipeline.load("mini")(VideoSpec(prompt="..."))`.

    The same spec, seed, device type, number type and version give the same frames. Networks run in `dtype`; latents,
    guidance and the solver in float32. A pipeline makes one video at a time and is not to be shared between threads.
    """

    def __init__(
        self,
        model: Model,
        *,
        name: str = "mini",
        prepared: Prepared | None = None,
        turns: Turns | None = None,
        fitter: Fitter | None = None,
    ) -> None:
        """With `turns` the model is an outline: its networks come when they are needed, by what `fitter` finds.

        `prepared` is what the model was made of, if it came by `load`; it says the name, too.
        """
        self.model = model
        self.name = name if prepared is None else prepared.name
        self.vocabulary = None if prepared is None else prepared.vocabulary
        self._networks = Networks(model, turns)
        self.stride, self.words = self._networks.stride, self._networks.words
        self.device, self.dtype = self._networks.device, self._networks.dtype
        self._prepared, self._turns, self._fitter = prepared, turns, fitter

    @classmethod
    def load(
        cls,
        name: str = "mini",
        device: str | None = None,
        dtype: str | None = None,
        causal: str | None = None,
        memory: str | int | None = None,
        attention: str = "auto",
        quantize: str | None = None,
    ) -> "Pipeline":
        """Load a model by name, folder or hub id, on the best device, in its fastest number type unless told.

        The options are those of `LoadOptions`; with `memory` each request finds the means to keep to it, or raises
        DeviceMemoryError. Raises SpecError for an unknown name, device or dtype, and for what does not run here, saying
        which there are, and CheckpointError for a damaged folder.
        """
        options = LoadOptions(
            device=device, dtype=dtype, causal=causal, memory=memory, attention=attention, quantize=quantize
        )
        return cls.of(prepare(name, options))

    @classmethod
    def of(cls, prepared: Prepared, fitter: Fitter | None = None) -> "Pipeline":
        """Load what was prepared; `fitter` is one that has counted requests of it. Raises CheckpointError."""
        model = prepared.load()
        if not prepared.comes_in_turn:
            return cls(model, prepared=prepared)
        if fitter is None:
            outline = Pipeline(prepared.outline, prepared=prepared)
            fitter = Fitter(outline, prepared.device, prepared.memory, prepared.quantize)
        return cls(model, prepared=prepared, turns=Turns(model, prepared.device), fitter=fitter)

    def __call__(
        self, spec: VideoSpec, on_progress: OnProgress | None = None, is_cancelled: IsCancelled | None = None
    ) -> Video:
        """Make the whole video: `stream`, joined. Raises what `stream` raises."""
        resolved = self.resolve(spec)
        frames = np.concatenate(list(self.stream(resolved, on_progress, is_cancelled)))
        assert resolved.fps is not None
        return Video(frames=frames, fps=resolved.fps, spec=resolved, metadata=self.record(resolved).to_metadata())

    def resolve(self, spec: VideoSpec) -> VideoSpec:
        """Fill in what the request left open, and check all of it before any work; resolving twice changes nothing.

        Raises SpecError for a size, length, solver, image or prompt that this model cannot use, and names what it can.
        """
        return resolve(spec, self.model, self.name, self.stride)

    def stream(
        self, spec: VideoSpec, on_progress: OnProgress | None = None, is_cancelled: IsCancelled | None = None
    ) -> Iterator[UInt8[np.ndarray, "f h w 3"]]:
        """Make the video chunk by chunk: each item holds the next frames, RGB; only latents grow with the length.

        The request is checked at once, the work begins with the first item. `on_progress` hears of every step,
        `is_cancelled` is asked between steps. Raises SpecError, DeviceMemoryError and JobCancelled.
        """
        resolved = self.resolve(spec)
        return self._stream(resolved, Tracker(on_progress, is_cancelled))

    def _fit(self, spec: VideoSpec) -> None:
        """Settle on how to keep to the memory that was given. Raises DeviceMemoryError where nothing would do."""
        if self._turns is not None and self._fitter is not None:
            self._turns.use(self._fitter.means(spec))

    def record(self, spec: VideoSpec) -> Record:
        """What has to be written down about a resolved request so that it can be made again."""
        record = Record.of(spec, folder=self.model.folder, device=self.device.type, dtype=dtype_name(self.dtype))
        if self._prepared is None:
            return record
        return dataclasses.replace(record, attention=self._prepared.attention, quantize=self._prepared.quantize)

    @torch.inference_mode()
    def latents(
        self,
        spec: VideoSpec,
        noise: Float[Tensor, "1 c t y x"] | None = None,
        tracker: Tracker | None = None,
        canvas: Canvas | None = None,
    ) -> Float[Tensor, "1 c t y x"]:
        """Make the latents of a resolved request, normalised, float32; `noise` replaces what the seed would draw.

        `canvas` holds what is known of the frames, for an edit of a video.
        """
        tracker = tracker or Tracker()
        if self.model.causal is not None:
            with explained(spec):
                return torch.cat(list(self._blocks(spec, self.model.causal, tracker, noise, canvas)), dim=2)
        with explained(spec):
            tracker.begin("text", 1)
            network = self.network(spec, canvas)
            tracker.advance()
            state = self._start(spec, self.noise(spec) if noise is None else noise, tracker, canvas)
            schedule = self._schedule(spec, canvas)
            tracker.begin("denoise", schedule.num_steps)
            latent = SOLVERS[spec.solver](  # type: ignore[index]
                state.velocity(network), state.latent, schedule, lambda *_: tracker.advance()
            )
            return state.restore(latent)

    def _schedule(self, spec: VideoSpec, canvas: Canvas | None) -> Schedule:
        assert spec.steps is not None
        assert spec.shift is not None
        schedule = SCHEDULES[spec.solver](spec.steps, spec.shift)  # type: ignore[index]  # `resolve` has checked it
        return schedule if canvas is None else begin_at(schedule, canvas.strength)

    def rollout(
        self, spec: VideoSpec, causal: CausalConfig, known: LatentState | None = None, canvas: Canvas | None = None
    ) -> Rollout:
        """Begin a resolved request block by block, as causal models make it; `known` is what is given of it.

        `canvas` is where that comes from, for an edit of a video.
        """
        assert spec.guidance is not None
        self._networks.adapt(spec)
        latent = spec.shape.to_latent(self.model.vae.stride)
        texts = [(0, self._networks.text(spec, spec.prompt)[0]), *self._networks.changes(spec)]
        self._networks.bring(self.model.dit)
        self._networks.bring(self.model.vae)
        return Rollout(
            self.model.dit,
            causal,
            texts,
            schedule=self._schedule(spec, canvas),
            solver=str(spec.solver),
            guidance=spec.guidance,
            size=(latent.height, latent.width),
            max_frames=latent.frames,
            known=known,
        )

    def noise(self, spec: VideoSpec) -> Float[Tensor, "1 c t y x"]:
        """Draw the noise that a resolved request starts from, on the CPU."""
        return video_noise(spec.seed, self.model.vae.config.z_dim, spec.shape.to_latent(self.model.vae.stride))

    def network(self, spec: VideoSpec, canvas: Canvas | None = None) -> FrameVelocity:
        """The network under the text, pictures and guidance of a resolved request; for one video at a time.

        A model of two experts hands over from one to the other at its boundary, each with its own guidance. One that
        reads pictures is shown those of `canvas`, if there is one, and else those of the request.
        """
        return self._networks.velocity(spec, canvas)

    def decode(self, latent: Float[Tensor, "1 c t y x"], spec: VideoSpec) -> Iterator[Float[Tensor, "f h w 3"]]:
        """Turn the latents of a resolved request into frames in [-1, 1], a few latent frames at a time."""
        return self._decode(latent, self.frames_per_chunk(spec))

    @torch.inference_mode()
    def _decode(self, latent: Tensor, chunk: int) -> Iterator[Float[Tensor, "f h w 3"]]:
        self._networks.bring(self.model.vae)
        for frames in decode_clip(self.model.vae, latent, chunk, self._networks.tiles):
            yield frames[0]

    def _stream(self, spec: VideoSpec, tracker: Tracker) -> Iterator[UInt8[np.ndarray, "f h w 3"]]:
        self._fit(spec)
        if self.model.causal is not None and (spec.edit is None or isinstance(spec.edit, Storyboard)):
            with explained(spec):
                yield from self._open_stream(as_changes(spec), self.model.causal, tracker)
            return
        if isinstance(spec.edit, Join):
            yield from join_frames(spec)
        elif isinstance(spec.edit, Storyboard):
            yield from play_storyboard(spec, self.model.defaults, self.stride, partial(self._fill, tracker))
        elif holds_pictures(spec) and not self.model.condition_channels:
            yield from self._fill(tracker, spec, key_frame_canvas(spec, self.stride), 0)
        elif spec.edit is not None:
            yield from play(spec, self.model.defaults, self.stride, self.model.causal, partial(self._fill, tracker))
        else:
            yield from self._decoded(self.latents(spec, tracker=tracker), spec, tracker)

    def _fill(
        self, tracker: Tracker, spec: VideoSpec, canvas: Canvas, first: int
    ) -> Iterator[UInt8[np.ndarray, "f h w 3"]]:
        """Make what a canvas leaves open; its noise is that of the latent frames from `first` on."""
        shape = spec.shape.to_latent(self.model.vae.stride)
        noise = video_noise(spec.seed, self.model.vae.config.z_dim, shape, first)
        place = 0
        decoded = self._decoded(self.latents(spec, noise, tracker, canvas), spec, tracker)
        if canvas.keeps:
            yield canvas.joined(np.concatenate(list(decoded)), self.stride.time)
            return
        for frames in decoded:
            for picture in canvas.pictures:
                if place <= picture < place + len(frames):
                    frames[picture - place] = self._given_back(canvas.frames[picture])
            yield frames
            place += len(frames)

    @torch.inference_mode()
    def _given_back(self, picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """A picture as the autoencoder gives it back: as sharp as what stands around it."""
        self._networks.bring(self.model.vae)
        frame = as_frame(picture).to(self.device, self.dtype)
        given_back: np.ndarray = to_pixels(self.model.vae.decode(self.model.vae.encode(frame))[0])[0]
        return given_back

    def _decoded(
        self, latent: Float[Tensor, "1 c t y x"], spec: VideoSpec, tracker: Tracker
    ) -> Iterator[UInt8[np.ndarray, "f h w 3"]]:
        with explained(spec):
            tracker.begin("decode", -(-latent.shape[2] // self.frames_per_chunk(spec)))
            for frames in self.decode(latent, spec):
                tracker.advance()
                yield to_pixels(frames)

    def open_stream(
        self, spec: VideoSpec, on_progress: OnProgress | None = None, is_cancelled: IsCancelled | None = None
    ) -> Stream:
        """Begin a video of which the end is open, unless the request says a length; for causal models.

        The stream can be told other words, kept, rewound and forked. Raises what `stream` raises, and SpecError for a
        model that makes all frames at once, or that needs a length.
        """
        causal = self.model.causal
        if causal is None:
            raise SpecError(f"{self.name} makes all frames at once; stream {causal_model()}, or use kinema generate")
        if spec.frames is not None or spec.seconds is not None:
            return self._open_stream(self.resolve(spec), causal, Tracker(on_progress, is_cancelled))
        if causal.window is None:
            names = " or ".join(CAUSAL_PRESETS)
            raise SpecError(f"{self.name} looks back on all there was: give seconds, or a window (preset {names})")
        resolved = self.resolve(dataclasses.replace(spec, changes=()))
        endless = dataclasses.replace(resolved, changes=spec.changes, frames=None)
        return self._open_stream(endless, causal, Tracker(None, is_cancelled))

    def _open_stream(self, spec: VideoSpec, causal: CausalConfig, tracker: Tracker) -> Stream:
        """Begin a resolved request; without `frames` it has no end."""
        sized = dataclasses.replace(spec, frames=spec.frames or 1)
        self._fit(sized)
        draw, frames = self._draw(sized), None
        if spec.frames is not None:
            frames = sized.shape.to_latent(self.model.vae.stride).frames
        known = self._known(sized, min(causal.block, frames or causal.block), draw, tracker)
        tracker.begin("text", 1)
        stream = Stream(
            lambda: self.rollout(sized, causal, known),
            self.model.vae,
            draw,
            lambda prompt: self._networks.text(sized, prompt)[0],
            spec=spec,
            num_latents=frames,
            on_step=lambda *_: tracker.advance(),
        )
        tracker.advance()
        tracker.begin("denoise", stream.num_steps)
        return stream

    def _known(
        self, spec: VideoSpec, frames: int, draw: DrawNoise, tracker: Tracker, canvas: Canvas | None = None
    ) -> LatentState | None:
        """What is given of the first latent `frames`, in a model that makes video block by block; None = nothing."""
        if canvas is None and spec.image is None:
            return None
        return self._start(spec, draw(0, frames, 0), tracker, canvas)

    def _draw(self, spec: VideoSpec, noise: Tensor | None = None) -> DrawNoise:
        """What draws the noise of any part of a resolved request; `noise` replaces what blocks start from."""
        shape, channels = spec.shape.to_latent(self.model.vae.stride), self.model.vae.config.z_dim

        def draw(start: int, length: int, step: int) -> Tensor:
            if noise is not None and step == 0:
                return noise[:, :, start : start + length]
            return video_noise(spec.seed, channels, dataclasses.replace(shape, frames=length), start, step=step)

        return draw

    def _blocks(
        self, spec: VideoSpec, causal: CausalConfig, tracker: Tracker, noise: Tensor | None, canvas: Canvas | None
    ) -> Iterator[Float[Tensor, "1 c t y x"]]:
        """Make the latents of a resolved request block by block; only the model's window is kept."""
        frames = spec.shape.to_latent(self.model.vae.stride).frames
        draw = self._draw(spec, noise)
        known = self._known(spec, min(causal.block, frames) if canvas is None else frames, draw, tracker, canvas)
        tracker.begin("text", 1)
        rollout = self.rollout(spec, causal, known, canvas)
        tracker.advance()
        tracker.begin("denoise", rollout.count_steps(frames))
        yield from rollout.blocks(frames, draw, lambda *_: tracker.advance())

    def _start(self, spec: VideoSpec, noise: Tensor, tracker: Tracker, canvas: Canvas | None) -> LatentState:
        noise = noise.to(self.device)
        if canvas is None and not self.model.condition_channels and holds_pictures(spec):
            canvas = key_frame_canvas(spec, self.stride)
        if canvas is not None:
            tracker.begin("image", 1)
            self._networks.bring(self.model.vae)
            state = canvas.state(self.model.vae, noise, shows_clean=self.model.reads_frames, tiles=self._networks.tiles)
            tracker.advance()
            return state
        if spec.image is None or self.model.condition_channels:
            return LatentState.to_generate(noise)
        first = self._first_latent(spec, tracker)
        return LatentState.given_frames(noise, {0: first}, shows_clean=self.model.reads_frames)

    def _first_latent(self, spec: VideoSpec, tracker: Tracker) -> Float[Tensor, "1 c y x"]:
        assert spec.image is not None
        tracker.begin("image", 1)
        self._networks.bring(self.model.vae)
        frame = read_first_frame(spec.image, spec.shape, self.stride, spec.fit).to(self.device, self.dtype)
        first = self.model.vae.encode(frame).float()[:, :, 0]
        tracker.advance()
        return first

    def frames_per_chunk(self, spec: VideoSpec) -> int:
        """How many latent frames are decoded at once."""
        per_latent_frame = self.stride.time * spec.shape.height * spec.shape.width
        return max(1, DECODE_PIXELS // per_latent_frame)
