"""`/v1/images`: single pictures, from words alone or from a picture and words; while they come to be, if wanted.

A new picture is a video of one frame. An edited one is the last frame of a short video that begins with the given
picture: what the words say happens to it.
"""

import asyncio
import base64
import dataclasses
import functools
import io
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from PIL import Image

from kinema.serve.api import Api, Caller
from kinema.serve.api_videos import ApiIs, CallerIs
from kinema.serve.events import watch
from kinema.serve.faults import Fault, error_body
from kinema.serve.forms import Upload, read_body
from kinema.serve.job import Job, NewJob
from kinema.serve.schema import CreateVideo, EditImage, NewImage
from kinema.serve.submission import submit

router = APIRouter(prefix="/v1/images", tags=["images"])

LINK_S = 3600.0
_QUALITY = 95


@router.post("/generations")
async def generate_image(request: Request, api: ApiIs, caller: CallerIs) -> Response:
    """Make pictures from words."""
    body = await read_body(request, api.settings.max_upload_bytes)
    asked = NewImage.model_validate(body)
    return await _answer(api, caller, request, body, asked, "image_generation", None)


@router.post("/edits")
async def edit_image(request: Request, api: ApiIs, caller: CallerIs) -> Response:
    """Make pictures from a picture and words: a form with `image` and `prompt`."""
    body = await read_body(request, api.settings.max_upload_bytes)
    asked = EditImage.model_validate(body)
    images = asked.image if isinstance(asked.image, list) else [asked.image]
    if len(images) != 1 or not isinstance(images[0], Upload | dict | str):
        raise Fault(400, f"image is {len(images)} pictures; send one", code="unsupported", param="image")
    return await _answer(api, caller, request, body, asked, "image_edit", images[0])


async def _answer(
    api: Api, caller: Caller, request: Request, body: dict[str, Any], asked: NewImage, kind: str, picture: Any
) -> Response:
    if asked.stream and asked.n > 1:
        raise Fault(
            400, f"n={asked.n} does not fit a stream; ask for one picture at a time", code="unsupported", param="n"
        )
    jobs = await run_in_threadpool(_submit_all, api, caller, request, body, asked, picture)
    if asked.stream:
        events = _stream(api, jobs[0], asked, kind)
        return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-store"})
    try:
        done = [await _wait(api, job, request) for job in jobs]
    except BaseException:
        _cancel_soon(api, jobs)  # nobody could fetch the others
        raise
    data = [await run_in_threadpool(_show, api, job, asked, str(request.base_url)) for job in done]
    return JSONResponse({"created": int(time.time()), "data": data, **_facts(done[0], asked)})


def _submit_all(
    api: Api, caller: Caller, request: Request, body: dict[str, Any], asked: NewImage, picture: Any
) -> list[Job]:
    fields = asked.model_dump(include=set(CreateVideo.model_fields) - {"n"}, exclude_none=True)
    if fields.get("size") == "auto":
        del fields["size"]
    if picture is None:
        fields["frames"] = 1
    else:
        fields["input_reference"] = picture
    wanted = CreateVideo.model_validate(fields)

    @functools.cache
    def first() -> NewJob:
        return api.desk.create(wanted, caller.owner, caller.sees, "image")

    def plan(part: int) -> NewJob:
        spec = dataclasses.replace(first().spec, seed=(first().spec.seed + part) % 2**31)
        return dataclasses.replace(first(), kind="image", spec=spec)

    jobs: list[Job] = []
    for i in range(asked.n):
        try:
            jobs.append(submit(api, caller, request, body, functools.partial(plan, i), part=i))
        except Exception:
            _cancel(api, jobs)
            raise
    return jobs


async def _wait(api: Api, job: Job, request: Request) -> Job:
    async for now, _ in watch(api.jobs, job.id):
        job = now
        if await request.is_disconnected():
            raise Fault(400, "the client has gone", code="client_gone")
    _require_done(job)
    return job


async def _stream(api: Api, job: Job, asked: NewImage, kind: str) -> AsyncIterator[str]:
    shown = 0
    try:
        async for now, events in watch(api.jobs, job.id):
            job = now
            for event in events:
                if event.type == "video.preview" and shown < asked.partial_images:
                    _, _, preview = str(event.data["image"]).partition("base64,")
                    content = await run_in_threadpool(_recoded, base64.b64decode(preview), asked)
                    partial = {"partial_image_index": shown, "b64_json": base64.b64encode(content).decode()}
                    yield _event(f"{kind}.partial_image", job, asked, partial)
                    shown += 1
        _require_done(job)
        content = await run_in_threadpool(_content, api, job, asked)
        final = {"b64_json": base64.b64encode(content).decode(), "usage": None}
        yield _event(f"{kind}.completed", job, asked, final)
    except Fault as fault:
        error = error_body(fault.status, fault.message, fault.code, fault.param)
        yield f"event: error\ndata: {json.dumps(error)}\n\n"
    finally:
        if not job.has_ended:
            _cancel_soon(api, [job])


def _event(kind: str, job: Job, asked: NewImage, data: dict[str, Any]) -> str:
    shown = {"type": kind, "created_at": int(time.time()), **_facts(job, asked), **data}
    return f"event: {kind}\ndata: {json.dumps(shown)}\n\n"


def _facts(job: Job, asked: NewImage) -> dict[str, Any]:
    size = f"{job.spec.width}x{job.spec.height}" if job.spec.width else "auto"
    return {"size": size, "quality": "auto", "background": "opaque", "output_format": asked.output_format}


def _require_done(job: Job) -> None:
    if job.status == "completed":
        return
    if job.status == "cancelled":
        raise Fault(409, "the picture was cancelled", code="cancelled", headers={"x-should-retry": "false"})
    status = 400 if job.error_code == "invalid_request" else 500
    raise Fault(status, job.error_message or "the picture failed", code=job.error_code or "server_error")


def _show(api: Api, job: Job, asked: NewImage, base_url: str) -> dict[str, Any]:
    shown = {"id": job.id, "seed": job.spec.seed}
    if asked.response_format == "url":
        return {**shown, "url": api.links.make(api.settings.public_url or base_url, job.id, "image", LINK_S)[0]}
    return {**shown, "b64_json": base64.b64encode(_content(api, job, asked)).decode()}


def _content(api: Api, job: Job, asked: NewImage) -> bytes:
    assert job.result is not None
    return _recoded(api.artefacts.read(job.result.artefacts["image"].name), asked)


def _recoded(content: bytes, asked: NewImage) -> bytes:
    """A picture of ours in the format that was asked for."""
    with Image.open(io.BytesIO(content)) as image:
        if image.format == asked.output_format.upper():
            return content
        recoded = io.BytesIO()
        quality = _QUALITY if asked.output_compression is None else max(1, asked.output_compression)
        options = {} if asked.output_format == "png" else {"quality": quality}
        image.convert("RGB").save(recoded, asked.output_format.upper(), **options)
    return recoded.getvalue()


def _cancel(api: Api, jobs: list[Job]) -> None:
    for job in jobs:
        api.jobs.cancel(job.id)


def _cancel_soon(api: Api, jobs: list[Job]) -> None:
    """Cancel jobs in another thread, which goes on when this task is ended because its client has gone."""
    asyncio.get_running_loop().run_in_executor(None, _cancel, api, jobs)
