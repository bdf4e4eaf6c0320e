"""From what was asked for to a job: names, sizes and lengths that a model has, or a clear no."""

import dataclasses
import functools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from kinema.config import unknown
from kinema.errors import SpecError
from kinema.generate.ability import check_edit, check_kind, check_picture, check_request
from kinema.generate.times import card_frames
from kinema.serve.capabilities import Capabilities, known_models
from kinema.serve.clips import store_clip
from kinema.serve.edits import (
    Planned,
    Source,
    check_plan,
    plan_edit,
    plan_extension,
    plan_join,
    source_of,
)
from kinema.serve.faults import Fault
from kinema.serve.forms import Upload
from kinema.serve.job import Job, Kind, NewJob
from kinema.serve.jobs import Jobs
from kinema.serve.moderation import Blocked, PolicyFile
from kinema.serve.pictures import Pictures
from kinema.serve.schema import (
    IMAGE_SIZES,
    SORA_SIZES,
    ChangeVideo,
    CreateVideo,
    EditVideo,
    ExtendVideo,
    Reference,
    WishJoin,
)
from kinema.serve.settings import SORA_NAMES, ServeSettings
from kinema.serve.tally import Tally
from kinema.spec import Card, KeyFrame, KeyFrames, Storyboard, VideoSpec

USUAL_STEP_CACHE = 0.1
"""What `enable_teacache` of other servers asks for."""

_IMPOSSIBLE = {
    "characters": "no model here knows characters; leave them out",
    "generate_audio": "no model here makes sound; leave generate_audio out",
    "enable_frame_interpolation": "frames are not interpolated here; ask for a higher fps",
    "frame_images": "frame_images takes one first_frame and one last_frame",
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
        self._moderate(asked.moderation, *_led_to(asked))
        name, model = self._model(asked.model)
        width, height = self._size(asked, name, model)
        edit = self._story(asked, sees)
        if edit is not None:
            self._require_able(lambda other: check_edit(other, edit, other.name), model)
        image, last_image = self._pictures(asked, sees, field, model)
        spec = VideoSpec(
            prompt=asked.prompt, model=name, negative=asked.negative_prompt, seconds=asked.seconds,
            frames=asked.frames, width=width, height=height, fps=asked.fps, seed=_seed(asked.seed), steps=asked.steps,
            guidance=asked.guidance, guidance_low=asked.guidance_low, solver=asked.solver,
            step_cache=USUAL_STEP_CACHE if asked.step_cache is None and asked.enable_teacache else asked.step_cache,
            shift=asked.shift, image=image, last_image=last_image, edit=edit, fit=asked.fit,
        )  # fmt: skip
        spec, seconds = self._checked(spec, model)
        request = {"model": asked.model or name, "seconds": _plain(asked.seconds or seconds), "size": _size_of(spec)}
        priority = -1 if asked.priority == "low" else 0
        return NewJob(owner=owner, spec=spec, request=request, priority=priority, video_s=seconds or 0.0)

    def remix(self, source: Job, asked: ChangeVideo, owner: str) -> NewJob:
        """The same video with other words: same noise, size and length, unless another seed is asked for."""
        self._moderate(asked.moderation, asked.prompt)
        seconds = source_of(source).seconds
        seed = source.spec.seed if asked.seed is None else _seed(asked.seed)
        spec = VideoSpec(**{**_fields(source.spec), "prompt": asked.prompt, "seed": seed})
        kept = ("model", "size")
        request: dict[str, Any] = {name: source.request[name] for name in kept if name in source.request}
        request["seconds"] = _plain(seconds)
        return NewJob(owner=owner, kind="remix", spec=spec, request=request, parent=source.id, video_s=source.video_s)

    def edit(self, asked: EditVideo, owner: str, sees: str | None) -> NewJob:
        """Something done to a finished video, or to several; uploaded ones too.

        Raises Fault, SpecError, MediaError and JobNotFound.
        """
        self._moderate(asked.moderation, asked.prompt)
        wish = asked.edit
        find = functools.partial(self._source, sees=sees, model=asked.model)
        if isinstance(wish, WishJoin):
            sources = [find(asked.video if cut.video is None else cut.video) for cut in wish.cuts]
            source, planned = sources[0], plan_join(wish.cuts, sources)
            name, model = self._model(asked.model)[0] if source.job is None else source.job.spec.model, None
        else:
            source = find(asked.video)
            name, model = self._model(asked.model or source.model)
            self._require_able(lambda other: check_kind(other, wish.kind, other.name), model)
            planned = plan_edit(wish, source, model, find, functools.partial(self._keep, sees))
        is_like_source = wish.kind in ("remix", "replace", "join")
        seed = source.seed if asked.seed is None and is_like_source else None
        return self._change(source, planned, asked, (name, model), seed, owner, "edit")

    def extend(self, asked: ExtendVideo, owner: str, sees: str | None) -> NewJob:
        """The video with more at its end or before its beginning; `seconds` is its new length.

        Raises Fault, SpecError, MediaError and JobNotFound.
        """
        self._moderate(asked.moderation, asked.prompt)
        source = self._source(asked.video, sees, asked.model)
        total, before = asked.seconds, source.seconds
        if not before < total <= self.settings.max_extended_s:
            raise Fault(
                400,
                f"seconds={total:g} does not fit: the video lasts {before:g} s, so its new length lies above that and "
                f"up to {self.settings.max_extended_s:g}",
                code="invalid_value",
                param="seconds",
            )
        name, model = self._model(asked.model or source.model)
        planned = plan_extension(source, total, asked.direction, model)
        return self._change(source, planned, asked, (name, model), None, owner, "extend")

    def _change(
        self,
        source: Source,
        planned: Planned,
        asked: ChangeVideo,
        by: tuple[str, Capabilities | None],
        seed: int | None,
        owner: str,
        kind: Kind,
    ) -> NewJob:
        """The job of an edit: at the size and with the settings of its source, unless another model makes it."""
        name, model = by
        self._require_able(functools.partial(check_plan, planned), model)
        for what, length, most in (
            ("the video would last", planned.total_s, self.settings.max_extended_s),
            ("it would make anew", planned.new_s, self.settings.max_seconds),
        ):
            if length > most:
                raise Fault(400, f"{what} {length:g} s, longer than {most:g}", code="too_long", param="seconds")
        seed = _seed(asked.seed) if seed is None else seed
        spec = VideoSpec(prompt=asked.prompt, width=source.width, height=source.height, model=name, seed=seed)
        before = source.spec
        if before is not None and name == before.model:
            kept = ("negative", "steps", "guidance", "guidance_low", "solver", "shift", "step_cache")
            spec = dataclasses.replace(spec, **{field: getattr(before, field) for field in kept})
        spec = dataclasses.replace(spec, edit=planned.edit)
        if planned.edit.kind != "join":
            spec, _ = self._checked(spec, model)
        request = {
            "model": asked.model or source.model or name,
            "seconds": _plain(planned.total_s),
            "size": _size_of(spec),
        }
        parent = None if source.job is None else source.job.id
        return NewJob(owner=owner, kind=kind, spec=spec, request=request, parent=parent, video_s=planned.new_s)

    def _story(self, asked: CreateVideo, sees: str | None) -> Storyboard | KeyFrames | None:
        if asked.storyboard and asked.key_frames:
            message = "storyboard and key_frames both lay out the video; give one"
            raise Fault(400, message, code="unsupported", param="key_frames")
        if asked.storyboard:
            cards = [
                Card(
                    second=card.second,
                    prompt=card.prompt,
                    image=None if card.image is None else self._keep(sees, card.image, "storyboard.image"),
                )
                for card in asked.storyboard
            ]
            return Storyboard(cards=tuple(cards))
        if asked.key_frames:
            frames = [
                KeyFrame(second=frame.second, image=self._keep(sees, frame.image, "key_frames.image"))
                for frame in asked.key_frames
            ]
            return KeyFrames(frames=tuple(frames))
        return None

    def _pictures(
        self, asked: CreateVideo, sees: str | None, field: str, model: Capabilities | None
    ) -> tuple[str | None, str | None]:
        """The first and the last picture of a new video, in the store. Raises Fault for what it cannot use."""
        given: dict[str, tuple[Any, str]] = {}
        for frame in asked.frame_images or ():
            given[frame.frame_type.partition("_")[0]] = ({"image_url": frame.image_url}, "frame_images")
        if asked.input_reference is not None:
            given["first"] = (asked.input_reference, field)
        if asked.last_image is not None:
            given["last"] = (asked.last_image, "last_image")
        if "last" in given and "first" not in given:
            message = f"{given['last'][1]} ends on a picture, which takes one to start from: give input_reference too"
            raise Fault(400, message, code="missing", param=given["last"][1])
        if model is not None:
            self._require_pictures({which: where for which, (_, where) in given.items()}, field, model)
        first, last = (self._keep(sees, *given[which]) if which in given else None for which in ("first", "last"))
        return first, last

    def _require_pictures(self, given: dict[str, str], field: str, model: Capabilities) -> None:
        """Refuse pictures that a model cannot use, and their absence where it needs them. Raises Fault.

        `given` says which field each came in, `field` where the first one belongs.
        """
        which: Literal["first", "last"]
        for which, where in (("first", field), ("last", "last_image")):
            if which in given:
                self._require_able(functools.partial(_check_picture, which), model, given[which])
            if which not in given and which in model.needs:
                raise Fault(400, f"{model.name} makes videos from pictures; give {where}", code="missing", param=where)

    def _keep(self, sees: str | None, reference: Any, field: str) -> str:
        return self.pictures.store(reference, sees, field)

    def _require_able(
        self, check: Callable[[Capabilities], None], model: Capabilities | None, param: str = "model"
    ) -> None:
        """Refuse what the engine refuses, in its words, and name the models here that it would not refuse it.

        Raises Fault.
        """
        if model is None:
            return
        try:
            check(model)
        except SpecError as error:
            known = known_models(self.jobs.store)
            names = [name for name in self.settings.models if name in known and _passes(check, known[name])]
            here = f"here: {' or '.join(names)}" if names else "no model here can"
            raise Fault(400, f"{error} ({here})", code="unsupported", param=param) from None

    def _source(self, video: Any, sees: str | None, model: str | None) -> Source:
        """The video that an edit or an extension starts from: one made here, or one that is sent or was uploaded.

        Raises Fault, MediaError and JobNotFound.
        """
        if isinstance(video, Upload):
            return self._clip(video, model)
        asked = Reference.model_validate(video) if isinstance(video, dict) else Reference(id=video or None)
        if asked.file_id is not None:
            return self._clip(Upload(content=self.pictures.files.read(asked.file_id, sees)), model)
        if not asked.id:
            message = (
                'video is missing; send {"video": {"id": "video_..."}}, {"video": {"file_id": "file-..."}} or a file'
            )
            raise Fault(400, message, code="missing", param="video")
        return source_of(self.jobs.get(asked.id, sees))

    def _clip(self, upload: Upload, asked_model: str | None) -> Source:
        name, model = self._model(asked_model)
        if model is None:
            message = f"no worker has said yet what {name} can make; start one, or try again soon"
            raise Fault(503, message, code="model_not_ready", param="model", headers={"retry-after": "5"})
        return store_clip(upload, self.pictures, model, self.settings.max_extended_s)

    def _moderate(self, level: Literal["auto", "low"], *prompts: str) -> None:
        """Refuse what the policy does, before anything else is done."""
        try:
            for prompt in prompts:
                self.policy.policy.require_allowed(prompt, level)
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
        assert spec.width is not None
        assert spec.height is not None
        self._require_able(lambda other: check_request(other, spec, other.name), model)
        if spec.width * spec.height > self.settings.max_pixels:
            most = self.settings.max_pixels
            raise Fault(400, f"size {_size_of(spec)} has more than {most} pixels", code="too_large", param="size")
        seconds = _seconds(spec)
        if seconds is not None and seconds > self.settings.max_seconds:
            longest = self.settings.max_seconds
            raise Fault(400, f"seconds={seconds:g} is longer than {longest:g}", code="too_long", param="seconds")
        if isinstance(spec.edit, Storyboard):
            card_frames(spec, model.stride)
        return spec, seconds


def _require_possible(asked: CreateVideo) -> None:
    """Refuse by name what no model here can do, rather than leave it out. Raises Fault."""
    frames = asked.frame_images or ()
    wishes = {
        "characters": asked.characters,
        "generate_audio": asked.generate_audio,
        "enable_frame_interpolation": asked.enable_frame_interpolation,
        "frame_images": len({each.frame_type for each in frames}) < len(frames),
        "resolution": asked.resolution and not asked.aspect_ratio,
    }
    for name, wish in wishes.items():
        if wish:
            raise Fault(400, _IMPOSSIBLE[name], code="unsupported", param=name)


def _led_to(asked: CreateVideo) -> Iterator[str]:
    """The texts that the video is led to; below a guidance of 1 the negative prompt is one of them."""
    yield asked.prompt
    yield from (card.prompt for card in asked.storyboard or [] if card.prompt is not None)
    scales = [scale for scale in (asked.guidance, asked.guidance_low) if scale is not None]
    if asked.negative_prompt is not None and any(scale < 1 for scale in scales):
        yield asked.negative_prompt


def _check_picture(which: Literal["first", "last"], model: Capabilities) -> None:
    check_picture(model, which, model.name)


def _passes(check: Callable[[Capabilities], None], model: Capabilities) -> bool:
    try:
        check(model)
    except SpecError:
        return False
    return True


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
