"""One request for one video, and what a model makes when the request does not say."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kinema.config import from_json, to_dict
from kinema.errors import SpecError
from kinema.shapes import MAX_FRAMES, MAX_SIDE, Stride, VideoShape
from kinema.spec.checks import is_number, require_integer, require_number, require_rate, require_text
from kinema.spec.edits import Edit, Fit, Join, KeyFrames, Storyboard, edit_files, with_files

MAX_SEED = 2**63 - 1
MAX_STEPS = 1000

_HALF_MILLISECOND = 0.0005 + 1e-9  # and room for the rounding of floats


@dataclass(frozen=True, kw_only=True)
class ModelDefaults:
    """What a model makes when the request does not say: the values it was trained or tuned for."""

    frames: int
    """Frames of a clip."""
    height: int
    """Rows, in pixels."""
    width: int
    """Columns, in pixels."""
    fps: float
    """Frames per second."""
    steps: int
    """Steps of the solver."""
    guidance: float
    """Scale of classifier-free guidance."""
    solver: str
    """Name of the solver."""
    shift: float
    """Shift of the schedule towards noise."""
    negative: str = ""
    """What guidance leads away from."""
    guidance_low: float | None = None
    """Guidance of the expert for low noise, in models of two experts; None = the same."""


@dataclass(frozen=True, kw_only=True)
class VideoSpec:
    """One request for one video; a field that is None takes the default of the model.

    Every value is checked here as far as it can be without the model, and a SpecError says what would fit; `resolve`
    checks the rest.
    """

    prompt: str
    """What to show."""
    model: str = "mini"
    """Name of a preset, a folder, or a hub id."""
    negative: str | None = None
    """What to lead away from; needs guidance above 1."""
    seconds: float | None = None
    """Time from the first frame to the last, to the millisecond: seconds * fps + 1 frames. Give this or frames."""
    frames: int | None = None
    """Number of frames; 1 makes a picture."""
    width: int | None = None
    """Columns, in pixels."""
    height: int | None = None
    """Rows, in pixels."""
    fps: float | None = None
    """Frames per second."""
    seed: int = 0
    """The same seed gives the same video."""
    steps: int | None = None
    """Steps of the solver; more is slower and usually better."""
    guidance: float | None = None
    """How strongly to follow the prompt; 1 turns guidance off."""
    guidance_low: float | None = None
    """The same for the second expert, which finishes the video, in models of two; None = the model's."""
    solver: str | None = None
    """Name of the solver."""
    shift: float | None = None
    """Shift of the schedule: above 1 spends more steps on the noisy part."""
    image: str | None = None
    """A picture to start from."""
    last_image: str | None = None
    """A picture to end on; needs image, and a model that was trained on both."""
    step_cache: float | None = None
    """Leave out most of a step whose beginning changes less than this share; None = never, 0.1 is a usual value."""
    loras: tuple[tuple[str, float], ...] = ()
    """Files of LoRAs, each with its weight, that are added to the model."""
    changes: tuple[tuple[float, str], ...] = ()
    """What to show from which second on, after `prompt`: for models that make video block by block."""
    edit: Edit | None = None
    """What to do with videos and pictures that are there already."""
    fit: Fit | None = None
    """How pictures and videos of other proportions come into the frame; None = they are refused."""

    def __post_init__(self) -> None:
        """Refuse what no model could do."""
        is_asked = not isinstance(self.edit, Join)
        require_text("prompt", self.prompt, example="a red ball rolls to the right", empty=not is_asked)
        require_text("model", self.model, example="mini")
        if self.image is not None:
            require_text("image", self.image, example="first.png")
        if self.negative is not None:
            require_text("negative", self.negative, example="blurry", empty=True)
        if self.seconds is not None and self.frames is not None:
            raise SpecError(f"seconds={self.seconds:g} and frames={self.frames} both set the length; give one of them")
        _require_changes(self.changes)
        for path, weight in self.loras:
            require_text("lora", path, example="style.safetensors")
            if not is_number(weight):
                raise SpecError(f"the weight of {path} is {weight!r}; it takes a number, such as 0.8")
        require_integer("frames", self.frames, 1, MAX_FRAMES)
        for name in ("width", "height"):
            require_integer(name, getattr(self, name), 1, MAX_SIDE)
        require_integer("steps", self.steps, 1, MAX_STEPS)
        require_integer("seed", self.seed, 0, MAX_SEED)
        if self.last_image is not None:
            require_text("last_image", self.last_image, example="last.png")
            if self.image is None:
                raise SpecError(f"last_image={self.last_image!r} needs a picture to start from; give image too")
        for name in ("seconds", "guidance", "guidance_low", "step_cache"):
            require_number(name, getattr(self, name), zero=True)
        require_rate(self.fps)
        require_number("shift", self.shift, zero=False)
        if self.fit not in (None, "crop", "pad", "stretch"):
            raise SpecError(f"fit={self.fit!r} does not fit; use crop, pad or stretch")
        if self.edit is not None:
            self._check_edit(self.edit)

    def _check_edit(self, edit: Edit) -> None:
        """Refuse a second way of saying what the edit says."""
        if self.changes:
            raise SpecError(f"changes and {edit.kind} both change the video; use a storyboard for prompts that change")
        if isinstance(edit, KeyFrames | Storyboard):
            return
        if self.seconds is not None:
            raise SpecError(f"{edit.kind} takes its length from the video; drop seconds={self.seconds:g}")
        if self.image is not None or self.last_image is not None:
            raise SpecError(f"{edit.kind} works on a video, not on a picture; drop image and last_image")

    def resolve(self, defaults: ModelDefaults, stride: Stride) -> "VideoSpec":
        """This request with nothing left open but files; `seconds` has become `frames`, and rates are floats.

        An edit of a video leaves `frames` and `fps` open where they are: only who reads the video knows them.

        `stride` is that of whole tokens (`Stride.with_patch`). Raises SpecError, naming the nearest that fit, for
        a length or a size that the model cannot make. Resolving a resolved spec changes nothing.
        """
        is_known = self.edit is None or isinstance(self.edit, KeyFrames | Storyboard)
        fps = None if self.fps is None else float(self.fps)
        frames = self.frames
        if is_known:
            fps = defaults.fps if fps is None else fps
            frames = defaults.frames if frames is None else frames
        if self.seconds is not None:
            assert fps is not None
            frames = frames_of(self.seconds, fps, stride)
        resolved = dataclasses.replace(
            self,
            negative=defaults.negative if self.negative is None else self.negative,
            seconds=None,
            frames=frames,
            width=defaults.width if self.width is None else self.width,
            height=defaults.height if self.height is None else self.height,
            fps=fps,
            steps=defaults.steps if self.steps is None else self.steps,
            guidance=float(defaults.guidance if self.guidance is None else self.guidance),
            guidance_low=defaults.guidance_low if self.guidance_low is None else float(self.guidance_low),
            solver=defaults.solver if self.solver is None else self.solver,
            shift=float(defaults.shift if self.shift is None else self.shift),
        )
        dataclasses.replace(resolved, frames=frames or 1).shape.to_latent(stride)
        late = [second for second, _ in self.changes if fps and frames and second * fps > frames - 1]
        if late:
            assert fps is not None
            assert frames is not None
            raise SpecError(
                f"the prompt changes at {late[0]:g} s, but the video ends at {(frames - 1) / fps:g} s; "
                "make it longer (seconds), or change the prompt earlier"
            )
        return resolved

    @property
    def shape(self) -> VideoShape:
        """The size of the clip, once `resolve` has settled it; before that, a SpecError."""
        if self.frames is None or self.height is None or self.width is None:
            raise SpecError("the size of this request is still open; resolve it with the defaults of a model first")
        return VideoShape(self.frames, self.height, self.width)

    def files(self) -> Iterator[str]:
        """Give the path of every picture and video that this request reads."""
        yield from (path for path in (self.image, self.last_image) if path is not None)
        if self.edit is not None:
            yield from edit_files(self.edit)

    def with_files(self, places: Mapping[str, str]) -> "VideoSpec":
        """The same request reading its files elsewhere: from their place in `places`, where they have one."""
        return dataclasses.replace(
            self,
            image=None if self.image is None else places.get(self.image, self.image),
            last_image=None if self.last_image is None else places.get(self.last_image, self.last_image),
            edit=None if self.edit is None else with_files(self.edit, places),
        )

    def to_json(self) -> str:
        """This request as one line of JSON, with the fields that are open left out."""
        values = {name: value for name, value in to_dict(self).items() if value is not None}
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "VideoSpec":
        """The request that `to_json` wrote; raises SpecError for anything else."""
        return from_json(cls, text)


def frames_of(seconds: float, fps: float, stride: Stride) -> int:
    """How many frames last so long, to the millisecond, or a SpecError with the lengths nearby that clips can have."""
    if seconds * fps >= MAX_FRAMES:
        raise SpecError(
            f"seconds={seconds:.10g} does not fit at {fps:g} frames per second: a clip has up to {MAX_FRAMES} frames"
        )
    intervals = round(seconds * fps)
    if intervals % stride.time == 0 and abs(intervals / fps - seconds) <= _HALF_MILLISECOND:
        return intervals + 1
    below = math.floor(seconds * fps / stride.time) * stride.time + 1
    lengths = " or ".join(
        f"{(frames - 1) / fps:.3f}".rstrip("0").rstrip(".") + f" ({frames} frames)"
        for frames in (below, below + stride.time)
        if frames <= MAX_FRAMES
    )
    raise SpecError(
        f"seconds={seconds:.10g} does not fit at {fps:g} frames per second: a clip has a multiple of {stride.time} "
        f"frames plus 1; use {lengths}"
    )


def _require_changes(changes: tuple[tuple[float, str], ...]) -> None:
    before = 0.0
    for second, prompt in changes:
        require_number("second", second, zero=False)
        require_text("prompt", prompt, example="the ball stops")
        if second <= before:
            raise SpecError(f"prompts change at {second:g} s after {before:g} s; give them in their order")
        before = second
