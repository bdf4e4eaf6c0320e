"""`/v1/videos`: the routes that clients of the closed API call."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from kinema.serve.api import Api, Caller, api_of, caller_by_key, caller_of
from kinema.serve.content import send_artefact
from kinema.serve.edits import show_edit
from kinema.serve.events import stream_events
from kinema.serve.faults import Fault
from kinema.serve.forms import read_body
from kinema.serve.job import Job, NewJob, made_by
from kinema.serve.links import MAX_LINK_S
from kinema.serve.schema import ChangeVideo, CreateVideo, EditVideo, ExtendVideo
from kinema.serve.submission import submit
from kinema.serve.webhooks import callbacks_id
from kinema.spec import Storyboard

router = APIRouter(prefix="/v1/videos", tags=["videos"])

CallerIs = Annotated[Caller, Depends(caller_of)]
ApiIs = Annotated[Api, Depends(api_of)]

Variant = Literal["video", "thumbnail", "spritesheet", "image"]

_STATUS = {"queued": "queued", "running": "in_progress", "completed": "completed", "failed": "failed"}


def caller_of_content(request: Request, video_id: str, api: ApiIs) -> Caller:
    """Who fetches a file: whoever has a signed link to it, or by their key."""
    if "signature" not in request.query_params:
        return caller_by_key(request)
    if not api.links.is_good(video_id, request.query_params):
        raise Fault(403, "this link is not good, or no longer; ask for a new one", code="invalid_link")
    return Caller(owner="", sees=None, key=None)


@router.post("")
async def create_video(request: Request, api: ApiIs, caller: CallerIs) -> Response:
    """Ask for a video."""
    body = await read_body(request, api.settings.max_upload_bytes)

    def order() -> Job:
        asked = CreateVideo.model_validate(body)

        def plan() -> NewJob:
            return api.desk.create(asked, caller.owner, caller.sees)

        return submit(api, caller, request, body, plan, callback_url=asked.callback_url)

    return await _answer(api, order)


@router.post("/edits")
async def edit_video(request: Request, api: ApiIs, caller: CallerIs) -> Response:
    """Make a finished video anew by other words: what is where stays. `edit` names other things to be done to it."""
    body = await read_body(request, api.settings.max_upload_bytes)

    def order() -> Job:
        asked = EditVideo.model_validate(body)

        def plan() -> NewJob:
            return api.desk.edit(asked, caller.owner, caller.sees)

        return submit(api, caller, request, body, plan, callback_url=asked.callback_url)

    return await _answer(api, order)


@router.post("/extensions")
async def extend_video(request: Request, api: ApiIs, caller: CallerIs) -> Response:
    """Go on where a finished video ends; `seconds` is the length of the whole."""
    body = await read_body(request, api.settings.max_upload_bytes)

    def order() -> Job:
        asked = ExtendVideo.model_validate(body)

        def plan() -> NewJob:
            return api.desk.extend(asked, caller.owner, caller.sees)

        return submit(api, caller, request, body, plan, callback_url=asked.callback_url)

    return await _answer(api, order)


@router.post("/characters")
def create_character(caller: CallerIs) -> Response:  # noqa: ARG001 - the key is still wanted
    """Characters need a model that knows them; none here does."""
    raise Fault(400, "no model here knows characters", code="unsupported", param="video")


@router.get("/characters/{character_id}")
def get_character(character_id: str, caller: CallerIs) -> Response:  # noqa: ARG001
    """Look at a character; there is none."""
    raise Fault(404, f"there is no character {character_id!r}: no model here knows characters", code="not_found")


@router.get("")
def list_videos(
    api: ApiIs,
    caller: CallerIs,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> dict[str, Any]:
    """List videos, newest first unless told otherwise, a page at a time."""
    jobs, has_more = api.jobs.page(caller.sees, after=after, limit=limit, order=order)
    data = [show_video(api, job) for job in jobs]
    first, last = (jobs[0].id, jobs[-1].id) if jobs else (None, None)
    return {"object": "list", "data": data, "has_more": has_more, "first_id": first, "last_id": last}


@router.get("/{video_id}")
async def get_video(video_id: str, api: ApiIs, caller: CallerIs) -> Response:
    """Look at a video: how far it is, or what it became."""

    def look() -> Response:
        job, position = api.jobs.look(video_id, caller.sees)
        shown, headers = show_video(api, job, position), {}
        if not job.has_ended:
            wait_s = min(10.0, max(1.0, (shown["eta_s"] or 20.0) / 20))
            headers["openai-poll-after-ms"] = f"{1000 * wait_s:.0f}"
        return JSONResponse(shown, headers=headers)

    return await api.look(look)  # what clients ask most: it goes no way round


@router.delete("/{video_id}")
def delete_video(video_id: str, api: ApiIs, caller: CallerIs) -> dict[str, Any]:
    """Stop a video if it has not ended, and remove it with its files."""
    job = api.jobs.delete(video_id, caller.sees)
    return {**show_video(api, job), "object": "video.deleted", "deleted": True, "status": "deleted"}


@router.post("/{video_id}/cancel")
def cancel_video(video_id: str, api: ApiIs, caller: CallerIs) -> dict[str, Any]:
    """Stop a video at its next step; one that has ended stays as it is."""
    return show_video(api, api.jobs.cancel(video_id, caller.sees))


@router.post("/{video_id}/retry")
def retry_video(video_id: str, api: ApiIs, caller: CallerIs) -> dict[str, Any]:
    """Queue a failed or cancelled video again."""
    return show_video(api, api.jobs.retry(video_id, caller.sees))


@router.post("/{video_id}/remix")
async def remix_video(video_id: str, request: Request, api: ApiIs, caller: CallerIs) -> Response:
    """Make a finished video again with other words."""
    body = await read_body(request, api.settings.max_upload_bytes)

    def order() -> Job:
        asked = ChangeVideo.model_validate(body)

        def plan() -> NewJob:
            return api.desk.remix(api.jobs.get(video_id, caller.sees), asked, caller.owner)

        return submit(api, caller, request, {**body, "remix": video_id}, plan, callback_url=asked.callback_url)

    return await _answer(api, order)


@router.get("/{video_id}/content")
def get_content(
    video_id: str,
    request: Request,
    api: ApiIs,
    caller: Annotated[Caller, Depends(caller_of_content)],
    variant: Variant = "video",
) -> Response:
    """Fetch a finished video (mp4, byte ranges too), its thumbnail (webp) or its sheet of frames (jpg)."""
    job = api.jobs.get(video_id, caller.sees)
    if job.result is None:
        shown = show_video(api, job)["status"]
        message = f"{video_id} is {shown}; fetch it once it is completed"
        raise Fault(400, message, code="video_not_ready", headers={"x-should-retry": "false"})
    if variant not in job.result.artefacts:
        has = ", ".join(job.result.artefacts)
        raise Fault(404, f"{video_id} has no {variant}; it has {has}", code="not_found", param="variant")
    return send_artefact(api.artefacts, job.result.artefacts[variant], request)


@router.get("/{video_id}/link")
def get_link(
    video_id: str,
    request: Request,
    api: ApiIs,
    caller: CallerIs,
    variant: Variant = "video",
    seconds: Annotated[float, Query(ge=1, le=MAX_LINK_S)] = 3600.0,
) -> dict[str, Any]:
    """Get a link to a file of a video that needs no key for so many seconds."""
    api.jobs.get(video_id, caller.sees)
    base_url = api.settings.public_url or str(request.base_url)
    url, until = api.links.make(base_url, video_id, variant, seconds)
    return {"url": url, "expires_at": until}


@router.get("/{video_id}/events")
def get_events(
    video_id: str,
    request: Request,
    api: ApiIs,
    caller: CallerIs,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
) -> Response:
    """Follow a video as server-sent events; `Last-Event-ID` goes on where a reader stopped."""
    api.jobs.get(video_id, caller.sees)
    last = request.headers.get("last-event-id", "")
    return stream_events(api.jobs, video_id, int(last) if last.isdecimal() and len(last) < 19 else after)


def show_video(api: Api, job: Job, position: int | None = None) -> dict[str, Any]:
    """A job as OpenAI's `Video`, with more fields of ours; a cancelled one shows as failed, which all clients know.

    `position` saves asking for its place in line.
    """
    spec, result = job.spec, job.result
    position = api.jobs.position(job) if position is None else position
    seconds = job.request.get("seconds")
    if seconds is None and spec.frames is not None and spec.fps is not None:
        seconds = f"{(spec.frames - 1) / spec.fps:g}"
    callback_url = job.request.get("callback_url")
    frames = spec.frames
    if result is not None and spec.fps is not None:
        frames = round(result.seconds * spec.fps) + 1  # an edit's own frames are those of the part that was made
    size = f"{spec.width}x{spec.height}" if spec.width and spec.height else job.request.get("size")
    return {
        "id": job.id,
        "object": "video",
        "status": _STATUS.get(job.status, "failed"),
        "progress": job.progress,
        "created_at": int(job.created_at),
        "completed_at": int(job.ended_at) if job.status == "completed" and job.ended_at else None,
        "expires_at": int(job.expires_at) if job.expires_at else None,
        "model": job.request.get("model", job.model),
        "prompt": spec.prompt,
        "seconds": seconds or "",
        "size": size or "",
        "remixed_from_video_id": job.parent if job.kind in ("remix", "edit") else None,
        "error": _show_error(job),
        "kind": job.kind,
        "edit": spec.edit.kind if spec.edit else None,
        "edit_settings": show_edit(spec.edit),
        "storyboard": _show_cards(spec.edit) if isinstance(spec.edit, Storyboard) else None,
        "parent_id": job.parent,
        "has_uploads": any(made_by(name) is None for name in spec.files()),
        "served_model": job.model,
        "seed": spec.seed,
        "negative_prompt": spec.negative,
        "fps": spec.fps,
        "frames": frames,
        "steps": spec.steps,
        "guidance": spec.guidance,
        "guidance_low": spec.guidance_low,
        "solver": spec.solver,
        "shift": spec.shift,
        "step_cache": spec.step_cache,
        "stage": None if job.has_ended else job.stage,
        "queue_position": position,
        "eta_s": api.jobs.eta_s(job, position),
        "attempt": job.attempt,
        "resumed_step": result.resumed_step if result else None,
        "inference_time_s": job.run_s,
        "peak_memory_mb": result.peak_memory_mb if result else None,
        "stage_durations": result.stage_s if result else None,
        "callback_url": callback_url,
        "webhook_endpoint_id": callbacks_id(job.owner) if callback_url else None,
    }


def _show_cards(story: Storyboard) -> list[dict[str, Any]]:
    return [{"second": card.second, "prompt": card.prompt} for card in story.cards]


def _show_error(job: Job) -> dict[str, Any] | None:
    if job.status == "cancelled":
        return {"code": "cancelled", "message": "the video was cancelled"}
    return {"code": job.error_code, "message": job.error_message} if job.status == "failed" else None


async def _answer(api: Api, order: Callable[[], Job]) -> Response:
    def work() -> dict[str, Any]:
        return show_video(api, order())

    return JSONResponse(await run_in_threadpool(work))
