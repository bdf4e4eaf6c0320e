"""`/v1/videos`: the routes that clients of the closed API call."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from kinema.serve.api import Api, Caller, api_of, caller_of
from kinema.serve.content import send_artefact
from kinema.serve.events import stream_events
from kinema.serve.faults import Fault
from kinema.serve.forms import Upload, read_body
from kinema.serve.job import Job, NewJob
from kinema.serve.jobs import Repeat, body_hash
from kinema.serve.schema import ChangeVideo, CreateVideo, ExtendVideo

router = APIRouter(prefix="/v1/videos", tags=["videos"])

CallerIs = Annotated[Caller, Depends(caller_of)]
ApiIs = Annotated[Api, Depends(api_of)]

_STATUS = {"queued": "queued", "running": "in_progress", "completed": "completed", "failed": "failed"}


@router.post("")
async def create_video(request: Request, api: ApiIs, caller: CallerIs) -> Response:
    """Ask for a video."""
    body = await read_body(request, api.settings.max_upload_bytes)

    def submit() -> tuple[Job, bool]:
        return _submit(api, caller, request, body, api.desk.create(CreateVideo.model_validate(body), caller.owner))

    return await _answer(api, submit)


@router.post("/edits")
async def edit_video(request: Request, api: ApiIs, caller: CallerIs) -> Response:
    """Make a finished video again with other words: same noise, size and length."""
    body = await read_body(request, api.settings.max_upload_bytes)

    def submit() -> tuple[Job, bool]:
        asked = ChangeVideo.model_validate(body)
        new = api.desk.remix(api.desk.source(asked.video, caller.sees), asked, caller.owner)
        return _submit(api, caller, request, body, dataclasses.replace(new, kind="edit"))

    return await _answer(api, submit)


@router.post("/extensions")
async def extend_video(request: Request, api: ApiIs, caller: CallerIs) -> Response:
    """Go on where a finished video ends; `seconds` is the length of the whole."""
    body = await read_body(request, api.settings.max_upload_bytes)

    def submit() -> tuple[Job, bool]:
        asked = ExtendVideo.model_validate(body)
        new = api.desk.extend(api.desk.source(asked.video, caller.sees), asked, caller.owner)
        return _submit(api, caller, request, body, new)

    return await _answer(api, submit)


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
def get_video(video_id: str, api: ApiIs, caller: CallerIs, response: Response) -> dict[str, Any]:
    """Look at a video: how far it is, or what it became."""
    job = api.jobs.get(video_id, caller.sees)
    shown = show_video(api, job)
    if not job.has_ended:
        eta_s = shown["eta_s"]
        wait_s = min(10.0, max(1.0, (eta_s or 20.0) / 20))
        response.headers["openai-poll-after-ms"] = f"{1000 * wait_s:.0f}"
    return shown


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

    def submit() -> tuple[Job, bool]:
        source = api.jobs.get(video_id, caller.sees)
        new = api.desk.remix(source, ChangeVideo.model_validate(body), caller.owner)
        return _submit(api, caller, request, {**body, "remix": video_id}, new)

    return await _answer(api, submit)


@router.get("/{video_id}/content")
def get_content(
    video_id: str,
    request: Request,
    api: ApiIs,
    caller: CallerIs,
    variant: Literal["video", "thumbnail", "spritesheet"] = "video",
) -> Response:
    """Fetch a finished video (mp4, byte ranges too), its thumbnail (webp) or its sheet of frames (jpg)."""
    job = api.jobs.get(video_id, caller.sees)
    if job.result is None:
        shown = show_video(api, job)["status"]
        message = f"{video_id} is {shown}; fetch it once it is completed"
        raise Fault(400, message, code="video_not_ready", headers={"x-should-retry": "false"})
    return send_artefact(api.artefacts, job.result.artefacts[variant], request)


@router.get("/{video_id}/events")
def get_events(
    video_id: str,
    request: Request,
    api: ApiIs,
    caller: CallerIs,
    after: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """Follow a video as server-sent events; `Last-Event-ID` goes on where a reader stopped."""
    api.jobs.get(video_id, caller.sees)
    last = request.headers.get("last-event-id", "")
    return stream_events(api.jobs, video_id, int(last) if last.isdecimal() and len(last) < 19 else after)


def show_video(api: Api, job: Job) -> dict[str, Any]:
    """A job as OpenAI's `Video`, with more fields of ours; a cancelled one shows as failed, which all clients know."""
    spec, result = job.spec, job.result
    seconds = job.request.get("seconds")
    if seconds is None and spec.frames is not None and spec.fps is not None:
        seconds = f"{(spec.frames - 1) / spec.fps:g}"
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
        "parent_id": job.parent,
        "served_model": job.model,
        "seed": spec.seed,
        "negative_prompt": spec.negative,
        "fps": spec.fps,
        "frames": spec.frames,
        "steps": spec.steps,
        "guidance": spec.guidance,
        "stage": None if job.has_ended else job.stage,
        "queue_position": api.jobs.position(job),
        "eta_s": api.jobs.eta_s(job),
        "attempt": job.attempt,
        "resumed_step": result.resumed_step if result else None,
        "inference_time_s": job.run_s,
        "stage_durations": result.stage_s if result else None,
    }


def _show_error(job: Job) -> dict[str, Any] | None:
    if job.status == "cancelled":
        return {"code": "cancelled", "message": "the video was cancelled"}
    return {"code": job.error_code, "message": job.error_message} if job.status == "failed" else None


def _submit(api: Api, caller: Caller, request: Request, body: dict[str, Any], new: NewJob) -> tuple[Job, bool]:
    retry = request.headers.get("x-stainless-retry-count", "0")
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= 255:
        raise Fault(400, "Idempotency-Key takes 1 to 255 characters", code="invalid_value", param="Idempotency-Key")
    plain = {
        name: body_hash(value.content.hex()) if isinstance(value, Upload) else value for name, value in body.items()
    }
    repeat = Repeat(
        body_sha256=body_hash({"path": request.url.path, **plain}),
        key=key,
        retry=int(retry) if retry.isdecimal() and len(retry) < 4 else 0,
    )
    limits = caller.key.limits if caller.key else api.settings.limits
    if caller.key:
        new = dataclasses.replace(new, priority=new.priority + caller.key.priority)
    return api.jobs.submit(new, limits, repeat)


async def _answer(api: Api, submit: Callable[[], tuple[Job, bool]]) -> Response:
    def work() -> dict[str, Any]:
        job, _ = submit()
        return show_video(api, job)

    return JSONResponse(await run_in_threadpool(work))
