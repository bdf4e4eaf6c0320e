"""From what was asked for to a job: names, sizes and lengths that a model has, or a clear no."""

import random
from dataclasses import dataclass
from typing import Any

from kinema.config import unknown
from kinema.serve.capabilities import Capabilities, known_models
from kinema.serve.faults import Fault
from kinema.serve.forms import Upload
from kinema.serve.job import Job, NewJob
from kinema.serve.jobs import Jobs
from kinema.serve.moderation import Blocked, PolicyFile
from kinema.serve.pictures import Pictures
from kinema.serve.schema import IMAGE_SIZES, SORA_SIZES, ChangeVideo, CreateVideo, ExtendVideo, Reference
from kinema.serve.settings import SORA_NAMES, ServeSettings
from kinema.serve.tally import Tally
from kinema.spec import VideoSpec

USUAL_STEP_CACHE = 0.1
"""What `enable_teacache` of other servers asks for."""

_IMPOSSIBLE = {
    "characters": "no model here knows characters; leave them out",
    "generate_audio": "no model here makes sound; leave generate_audio out",
    "enable_frame_interpolation": "frames are not interpolated here; ask for a higher fps",
    "frame_images": "frame_images takes one picture, the first_frame",
    "resolution": "resolution needs aspect_ratio beside it; or give size, such as 640x480",
}


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where requests become jobs."""

    settings: ServeSettings
    jobs: Jobs
    policy: PolicyFile
    pictures: Pictures
    tally: Tally

    def create(self, asked: CreateVideo, owner: str, sees: str | None, field: str = "input_reference") -> NewJob:
        """A new video; `sees` says whose uploaded files may be used, `field` where the request named its picture.

        Raises Fault, SpecError and MediaError.
        """
        _require_possible(asked)
        self._moderate(asked)
        name, model = self._model(asked.model)
        width, height = self._size(asked, name, model)
        reference = asked.input_reference
        if reference is None and asked.frame_images:
            reference, field = {"image_url": asked.frame_images[0].image_url}, "frame_images"
        image = None if reference is None else self.pictures.store(reference, sees, field)
        spec = VideoSpec(
            prompt=asked.prompt, model=name, negative=asked.negative_prompt, seconds=asked.seconds,
            frames=asked.frames, width=width, height=height, fps=asked.fps, seed=_seed(asked.seed), steps=asked.steps,
            guidance=asked.guidance, guidance_low=asked.guidance_low, solver=asked.solver,
            step_cache=USUAL_STEP_CACHE if asked.step_cache is None and asked.enable_teacache else asked.step_cache,
            shift=asked.shift, image=image,
        )  # fmt: skip
        spec, seconds = self._checked(spec, model)
        request = {"model": asked.model or name, "seconds": _plain(asked.seconds or seconds), "size": _size_of(spec)}
        priority = -1 if asked.priority == "low" else 0
        return NewJob(owner=owner, spec=spec, request=request, priority=priority, video_s=seconds or 0.0)

    def remix(self, source: Job, asked: ChangeVideo, owner: str) -> NewJob:
        """The same video with other words: same noise, size and length, unless another seed is asked for."""
        self._moderate(asked)
        _require_completed(source)
        seed = source.spec.seed if asked.seed is None else _seed(asked.seed)
        spec = VideoSpec(**{**_fields(source.spec), "prompt": asked.prompt, "seed": seed})
        request: dict[str, Any] = {name: source.request[name] for name in ("model", "size") if name in source.request}
        request["seconds"] = _plain(_seconds(spec))
        return NewJob(
            owner=owner, kind="remix", spec=spec, request=request, parent=source.id, video_s=_seconds(spec) or 0.0
        )

    def extend(self, source: Job, asked: ExtendVideo, owner: str) -> NewJob:
        """The video with more at its end; `seconds` is its new length. Raises Fault and SpecError."""
        self._moderate(asked)
        _require_completed(source)
        assert source.result is not None
        total, before = asked.seconds, source.result.seconds
        if not before < total <= self.settings.max_extended_s:
            raise Fault(
                400,
                f"seconds={total:g} does not fit: the video lasts {before:g} s, so its new length lies above that and "
                f"up to {self.settings.max_extended_s:g}",
                code="invalid_value",
                param="seconds",
            )
        _, model = self._model(source.request.get("model", source.model))
        open_length = {"frames": None, "seconds": round(total - before, 3), "image": None}
        seed = _seed(asked.seed)
        spec = VideoSpec(**{**_fields(source.spec), **open_length, "prompt": asked.prompt, "seed": seed})
        spec, seconds = self._checked(spec, model)
        request = {
            **{name: value for name, value in source.request.items() if name != "traceparent"},
            "seconds": _plain(total),
            "source": source.result.artefacts["video"].name,
        }
        return NewJob(owner=owner, kind="extend", spec=spec, request=request, parent=source.id, video_s=seconds or 0.0)

    def source(self, video: Any, owner: str | None) -> Job:
        """The video that an edit or an extension starts from. Raises Fault and JobNotFound."""
        if isinstance(video, Upload):
            raise Fault(
                400,
                'only videos made here can be changed: send {"video": {"id": "video_..."}}',
                code="unsupported",
                param="video",
            )
        video_id = Reference.model_validate(video).id if isinstance(video, dict) else video
        if not isinstance(video_id, str) or not video_id:
            raise Fault(400, 'video is missing; send {"video": {"id": "video_..."}}', code="missing", param="video")
        return self.jobs.get(video_id, owner)

    def _moderate(self, asked: CreateVideo | ChangeVideo) -> None:
        """Refuse what the policy does, before anything else is done."""
        try:
            self.policy.policy.require_allowed(asked.prompt, asked.moderation)
        except Blocked:
            self.tally.count("kinema_moderation_total", decision="blocked")
            raise
        self.tally.count("kinema_moderation_total", decision="allowed")

    def _model(self, asked: str | None) -> tuple[str, Capabilities | None]:
        name = self.settings.model_of(asked)
        if name is None:
            names = {*self.settings.models, *self.settings.aliases, *SORA_NAMES}
            raise Fault(400, unknown("model", str(asked), names), code="model_not_found", param="model")
        return name, known_models(self.jobs.store).get(name)

    def _size(self, asked: CreateVideo, name: str, model: Capabilities | None) -> tuple[int | None, int | None]:
        if asked.size is None and asked.aspect_ratio is not None and model is not None:
            across, down = (int(side) for side in asked.aspect_ratio.split(":"))
            if asked.resolution is None:
                return model.nearest_size(across, down)
            short = int(asked.resolution.removesuffix("p"))  # the other side is what the proportions make it
            return round(short * max(1.0, across / down)), round(short * max(1.0, down / across))
        if asked.size is None:
            return asked.width, asked.height
        width, height = (int(side) for side in asked.size.lower().split("x"))
        if asked.model != name and asked.size in SORA_SIZES + IMAGE_SIZES and model is not None:
            return model.nearest_size(width, height)  # an alias speaks Sora's sizes, the model has its own
        return width, height

    def _checked(self, spec: VideoSpec, model: Capabilities | None) -> tuple[VideoSpec, float | None]:
        """The request resolved, if a worker has said what the model can; and its length."""
        if model is None:
            return spec, spec.seconds
        if spec.solver is not None and spec.solver not in model.solvers:
            message = unknown("solver", spec.solver, model.solvers)
            raise Fault(400, message, code="invalid_value", param="solver")
        spec = spec.resolve(model.defaults, model.stride)
        if spec.shape.width * spec.shape.height > self.settings.max_pixels:
            most = self.settings.max_pixels
            raise Fault(400, f"size {_size_of(spec)} has more than {most} pixels", code="too_large", param="size")
        seconds = _seconds(spec)
        if seconds is not None and seconds > self.settings.max_seconds:
            longest = self.settings.max_seconds
            raise Fault(400, f"seconds={seconds:g} is longer than {longest:g}", code="too_long", param="seconds")
        return spec, seconds


def _require_possible(asked: CreateVideo) -> None:
    """Refuse by name what no model here can do, rather than leave it out. Raises Fault."""
    frames = asked.frame_images or ()
    wishes = {
        "characters": asked.characters,
        "generate_audio": asked.generate_audio,
        "enable_frame_interpolation": asked.enable_frame_interpolation,
        "frame_images": len(frames) > 1 or any(each.frame_type == "last_frame" for each in frames),
        "resolution": asked.resolution and not asked.aspect_ratio,
    }
    for name, wish in wishes.items():
        if wish:
            raise Fault(400, _IMPOSSIBLE[name], code="unsupported", param=name)


def _require_completed(job: Job) -> None:
    if job.status != "completed":
        raise Fault(400, f"{job.id} is {job.status}; wait until it is completed", code="video_not_ready", param="video")


def _fields(spec: VideoSpec) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in spec.__dataclass_fields__}


def _seed(asked: int | None) -> int:
    """The seed; without one another video each time, as clients of the API expect."""
    return random.SystemRandom().randrange(2**31) if asked is None else asked


def _seconds(spec: VideoSpec) -> float | None:
    return None if spec.frames is None or spec.fps is None else (spec.frames - 1) / spec.fps


def _size_of(spec: VideoSpec) -> str | None:
    return f"{spec.width}x{spec.height}" if spec.width and spec.height else None


def _plain(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds:.3f}".rstrip("0").rstrip(".")
