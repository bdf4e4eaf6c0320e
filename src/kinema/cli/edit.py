"""`kinema edit`: videos and pictures that are there already become another video."""

import json
import logging
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from kinema.cli import flags, groups, making
from kinema.errors import MediaError, SpecError
from kinema.media import read_metadata
from kinema.spec import (
    Blend,
    Card,
    Cut,
    Edit,
    Extend,
    Join,
    KeyFrame,
    KeyFrames,
    Loop,
    Remix,
    Replace,
    Storyboard,
    Vary,
    VideoSpec,
    edit_files,
)

if TYPE_CHECKING:
    from kinema.provenance.mark import Marks

logger = logging.getLogger(__name__)

_Pictures = tuple[Annotated[str, flags.text("FILE@S")], ...]


@dataclass(frozen=True, kw_only=True)
class EditOptions:
    """Make a video from videos and pictures that are there already; give one edit.

    What is given stays as it is: only what an edit names is made.
    """

    video: Annotated[str | None, tyro.conf.Positional, flags.text("VIDEO"), flags.hint()] = None
    """The video to edit; for --join a part of it, such as clip.mp4:0-1.5."""
    prompt: Annotated[str | None, flags.text("TEXT"), flags.hint("what the video was made from")] = None
    """What to show."""
    extend: Annotated[float | None, flags.number("S"), flags.hint()] = None
    """Go on for S seconds where the video ends."""
    extend_back: Annotated[float | None, flags.number("S"), flags.hint()] = None
    """Begin S seconds before it does."""
    loop: Annotated[float | None, flags.number("S"), flags.hint()] = None
    """Add S seconds that lead from its end back to its beginning."""
    remix: Annotated[bool, flags.hint()] = False
    """Make it anew by the prompt: what is where stays."""
    vary: Annotated[bool, flags.hint()] = False
    """Make another take of it; --count makes several."""
    replace: Annotated[str | None, flags.text("START-END"), flags.hint()] = None
    """Make this span of seconds anew, such as 0.5-1.5, or 1- for all that follows."""
    box: Annotated[str | None, flags.text("L,T,R,B"), flags.hint()] = None
    """Make what is in this box anew: its left, top, right and bottom edge in pixels of the video that is made."""
    mask: Annotated[Path | None, flags.path("FILE"), flags.hint()] = None
    """Make what is white in this picture or video anew."""
    blend: Annotated[Path | None, flags.path("FILE"), flags.hint()] = None
    """Let it turn into this video."""
    over: Annotated[float | None, flags.number("S"), flags.hint("1")] = None
    """How long --blend takes."""
    key: Annotated[_Pictures, tyro.conf.UseAppendAction, flags.hint()] = ()
    """Show a picture at a time of a new video, such as --key first.png@0 --key last.png@2."""
    card: groups.TimedTexts = ()
    """Storyboard: show something else from second S of a new video on; may be repeated."""
    card_image: Annotated[_Pictures, tyro.conf.UseAppendAction, flags.hint()] = ()
    """Storyboard: show a picture at a time, beside --card or alone; at 0, the video starts from it."""
    join: Annotated[
        tuple[Annotated[str, flags.text("FILE[:START-END]")], ...], tyro.conf.UseAppendAction, flags.hint()
    ] = ()
    """Play this part of a video after the first; may be repeated. No model is asked."""
    strength: Annotated[float | None, flags.number("X"), flags.hint("the edit's")] = None
    """How much --remix, --vary, --replace and --blend make anew, above 0 to 1."""
    fit: Annotated[str | None, flags.text("HOW"), flags.hint("they are refused")] = None
    """How pictures and videos of other proportions come into the frame: crop, pad or stretch."""
    out: Annotated[Path | None, flags.path("FILE"), flags.hint("a new name")] = None
    """The file to write: .mp4, .webm, .gif or .webp."""
    model: Annotated[str | None, flags.text("NAME|FOLDER|HUB_ID"), flags.hint("mini")] = None
    """The model: its name, its folder, or its hub id."""
    seconds: Annotated[float | None, flags.number("S"), groups.MODELS] = None
    """Length of a new video (--key, --card)."""
    fps: Annotated[float | None, flags.number("F"), flags.hint("the video's, or the model's")] = None
    """Frames per second of a new video."""
    count: Annotated[int, flags.whole("N"), flags.hint("1")] = 1
    """Make several videos, with the seeds from --seed upwards."""
    sampling: groups.Shared[groups.FineSampling]
    compute: groups.Shared[groups.Compute]
    writing: groups.Shared[groups.Writing]


def run(argv: Sequence[str]) -> int:
    """Run the command with the arguments that follow its name; returns the exit code."""
    options = flags.parse(EditOptions, argv, "edit")
    making.check_outputs(options.out, options.count, force=options.writing.force)
    request = request_of(options)
    assert request.edit is not None
    stem = making.slug(request.prompt) if options.video is None else Path(_part(options.video).video).stem
    name = f"{stem}-{request.edit.kind.replace('_', '-')}"
    if isinstance(request.edit, Join):
        return _join(options, request, name)

    from kinema.generate.plan import make_plan  # torch comes in only now, when the request makes sense

    plan = make_plan(request, options.compute.chosen())
    paths = making.outputs(options.out, options.count, plan.spec, name=name, force=options.writing.force)
    making.carry_out(plan, paths, making.marks_of(options.writing), options.writing)
    return 0


def _join(options: EditOptions, request: VideoSpec, name: str) -> int:
    """Join without a model."""
    from kinema.generate.join import settle_join

    spec = settle_join(request)
    if options.count != 1:
        raise SpecError("joining is the same for every seed; drop --count")
    path = making.outputs(options.out, 1, spec, name=name, force=options.writing.force)[0]
    assert spec.frames is not None
    if options.writing.dry_run:
        print(spec.to_json())
        return 0
    began = time.monotonic()
    _write_joined(path, spec, making.marks_of(options.writing))
    result = making.result_of(path, spec, spec.frames, time.monotonic() - began)
    if options.writing.as_json:
        print(json.dumps({"videos": [result], "warnings": []}, ensure_ascii=False))
    elif logger.isEnabledFor(logging.WARNING):
        print(making.summary_of(result), file=sys.stderr)
    return 0


def _write_joined(path: Path, spec: VideoSpec, marks: "Marks") -> None:
    """Write parts of videos; the marks of generated files go along, and nobody's footage is marked as generated."""
    from kinema.generate.join import join_frames
    from kinema.provenance.mark import AIGC_KEY, UNMARKED, write_marked

    assert spec.fps is not None
    assert spec.edit is not None
    is_generated = any(AIGC_KEY.lower() in read_metadata(video) for video in edit_files(spec.edit))
    inherited = replace(marks, watermark=False) if is_generated else replace(UNMARKED, label=marks.label)
    write_marked(path, join_frames(spec), spec.fps, {"edit": spec.to_json()}, inherited, making.ingredients_of(spec))


def request_of(options: EditOptions) -> VideoSpec:
    """The request that the flags make. Raises SpecError, and MediaError for a video whose prompt cannot be read."""
    edit, image = _edit(options)
    given = groups.given(options, "model", "seconds", "fps", "fit") | options.sampling.given()
    if image is not None:
        given["image"] = image
    prompt = options.prompt
    if prompt is None and options.video is not None and not isinstance(edit, Join):
        prompt = _prompt_of(options.video)
    return VideoSpec(prompt=prompt or "", edit=edit, **given)


def _prompt_of(video: str) -> str:
    """What a video that Kinema made was made from."""
    from kinema.generate.record import Record

    try:
        return Record.from_metadata(read_metadata(video), video).spec.prompt
    except MediaError as error:
        if not Path(video).exists() or "does not say how it was made" not in str(error):
            raise
        raise SpecError(f"{video} does not say what it shows; give --prompt TEXT") from error


def _edit(options: EditOptions) -> tuple[Edit, str | None]:
    """The one edit that the flags ask for, and the picture that the video starts from."""
    named = {
        "--extend": options.extend is not None,
        "--extend-back": options.extend_back is not None,
        "--loop": options.loop is not None,
        "--remix": options.remix,
        "--vary": options.vary,
        "--replace, --box or --mask": any(each is not None for each in (options.replace, options.box, options.mask)),
        "--blend": options.blend is not None,
        "--key": bool(options.key),
        "--card": bool(options.card or options.card_image),
        "--join": bool(options.join),
    }
    asked = [flag for flag, is_asked in named.items() if is_asked]
    if len(asked) > 1:
        raise SpecError(f"{asked[0]} and {asked[1]} are two edits; give one, and the other to what comes out")
    if not asked:
        raise SpecError(f"no edit is named; give one of {', '.join(named)}")
    if asked[0] in ("--key", "--card"):
        if options.video is not None:
            raise SpecError(
                f"{asked[0]} makes a new video, from the prompt; drop {options.video}, or give an edit of it"
            )
        return _key_frames(options) if options.key else _storyboard(options)
    if options.video is None:
        raise SpecError(f"{asked[0]} needs a video; give its file")
    _check_beside(options, asked[0])
    return _edit_of(options, options.video), None


def _check_beside(options: EditOptions, asked: str) -> None:
    """Refuse flags that the edit does not read."""
    if options.strength is not None and asked not in ("--remix", "--vary", "--replace, --box or --mask", "--blend"):
        raise SpecError(f"--strength does nothing beside {asked}; drop it")
    if options.over is not None and asked != "--blend":
        raise SpecError(f"--over does nothing beside {asked}; drop it")


def _edit_of(options: EditOptions, video: str) -> Edit:
    strength: dict[str, Any] = {} if options.strength is None else {"strength": options.strength}
    if options.extend is not None:
        return Extend(video=video, seconds=options.extend)
    if options.extend_back is not None:
        return Extend(video=video, seconds=options.extend_back, direction="backward")
    if options.loop is not None:
        return Loop(video=video, seconds=options.loop)
    if options.remix:
        return Remix(video=video, **strength)
    if options.vary:
        return Vary(video=video, **strength)
    if options.blend is not None:
        return Blend(video=video, other=str(options.blend), seconds=options.over or 1.0, **strength)
    if options.join:
        return Join(cuts=tuple(map(_part, (video, *options.join))))
    start, end = (None, None) if options.replace is None else _span(options.replace)
    box = None if options.box is None else _box(options.box)
    mask = None if options.mask is None else str(options.mask)
    return Replace(video=video, start=start, end=end, box=box, mask=mask, **strength)


def _key_frames(options: EditOptions) -> tuple[Edit, str | None]:
    frames = sorted((KeyFrame(image=path, second=second) for path, second in map(_timed, options.key)), key=_second)
    return KeyFrames(frames=tuple(frames)), None


def _storyboard(options: EditOptions) -> tuple[Edit, str | None]:
    images = {second: path for path, second in map(_timed, options.card_image)}
    first = images.pop(0.0, None)
    prompts = dict(options.card)
    seconds = sorted({*prompts, *images})
    cards = tuple(Card(second=each, prompt=prompts.get(each), image=images.get(each)) for each in seconds)
    return Storyboard(cards=cards), first


def _second(frame: KeyFrame) -> float:
    return frame.second


def _timed(text: str) -> tuple[str, float]:
    """Read FILE@S."""
    path, _, second = text.rpartition("@")
    try:
        return path, float(second)
    except ValueError:
        raise SpecError(f"{text!r} names no time; it takes FILE@S, such as first.png@0") from None


def _part(text: str) -> Cut:
    """Read FILE or FILE:START-END; a colon that no span follows belongs to the file's name."""
    path, colon, span = text.rpartition(":")
    if not colon or re.fullmatch(r"[\d.]*-[\d.]*", span) is None:
        return Cut(video=text)
    start, end = _span(span)
    return Cut(video=path, start=start, end=end)


def _span(text: str) -> tuple[float | None, float | None]:
    """Read START-END, either of which may be left out."""
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)?-(\d+\.?\d*|\.\d+)?", text.strip())
    if found is None or text.strip() == "-":
        raise SpecError(f"{text!r} is no span of time; it takes START-END in seconds, such as 0.5-1.5, or 1-")
    return tuple(None if part is None else float(part) for part in found.groups())  # type: ignore[return-value]


def _box(text: str) -> tuple[int, int, int, int]:
    found = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", text.replace(" ", ""))
    if found is None:
        raise SpecError(f"box={text!r} is no box; it takes left, top, right and bottom in pixels, such as 0,0,32,32")
    left, top, right, bottom = map(int, found.groups())
    return left, top, right, bottom
