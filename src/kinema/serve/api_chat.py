"""`/v1/chat/completions`: a chat that answers with videos, so that chat front ends need an address and nothing else.

The last message of the person is the prompt. When a video stands in the conversation already, it is made again with the
new words: same noise, size and length, so a small change of words is a small change of the video.
"""

import json
import re
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse

from kinema.errors import JobNotFound
from kinema.serve.api import Api, Caller
from kinema.serve.api_videos import ApiIs, CallerIs
from kinema.serve.events import watch
from kinema.serve.faults import Fault, error_body
from kinema.serve.forms import read_body
from kinema.serve.job import Job, NewJob
from kinema.serve.schema import ChangeVideo, ChatMessage, CreateVideo, NewChat
from kinema.serve.submission import submit

router = APIRouter(prefix="/v1/chat", tags=["chat"])

LINK_S = 7 * 86400.0
STEP_PERCENT = 10

_VIDEO = re.compile(r"video_[0-9a-f]{32}")
_CHORE = "### Task:"
"""How Open WebUI begins when it wants a title or tags of the model rather than an answer."""


@router.post("/completions")
async def complete_chat(request: Request, api: ApiIs, caller: CallerIs) -> Response:
    """Answer the last message with a video, and tell how far it is when streaming."""
    body = await read_body(request, api.settings.max_upload_bytes)
    asked = NewChat.model_validate(body)
    prompt, picture = _wish(asked.messages)
    if prompt.startswith(_CHORE):
        return await _told(asked, "{}")
    base_url = api.settings.public_url or str(request.base_url)

    def start() -> Job:
        return submit(api, caller, request, body, lambda: _new(api, caller, asked, prompt, picture))

    job = await run_in_threadpool(start)
    if asked.stream:
        chunks = _stream(api, job, asked, base_url)
        return StreamingResponse(chunks, media_type="text/event-stream", headers={"cache-control": "no-store"})
    async for now, _ in watch(api.jobs, job.id):
        job = now
    return await _told(asked, _link(api, job, base_url))


def _wish(messages: list[ChatMessage]) -> tuple[str, Any]:
    """The words and the picture of the last message of the person."""
    last = next((message for message in reversed(messages) if message.role == "user"), None)
    if last is None:
        raise Fault(400, "messages holds no message of the user", code="invalid_value", param="messages")
    if isinstance(last.content, str):
        return last.content.strip(), None
    words = [str(part.get("text", "")) for part in last.content or [] if part.get("type") == "text"]
    pictures = [part.get("image_url") for part in last.content or [] if part.get("type") == "image_url"]
    prompt = "\n".join(words).strip()
    if not prompt or len(pictures) > 1:
        raise Fault(
            400, "the last message takes words, and one picture at most", code="invalid_value", param="messages"
        )
    return prompt, {"image_url": pictures[0]} if pictures else None


def _new(api: Api, caller: Caller, asked: NewChat, prompt: str, picture: Any) -> NewJob:
    said = [message.content for message in asked.messages if message.role == "assistant"]
    ids = _VIDEO.findall(" ".join(text for text in said if isinstance(text, str)))
    if ids and picture is None:
        try:
            before = api.jobs.get(ids[-1], caller.sees)
        except JobNotFound:
            before = None
        if before is not None and before.status == "completed":
            return api.desk.remix(before, ChangeVideo(prompt=prompt), caller.owner)
    fields = asked.model_dump(include={"model", "seconds", "size", "seed"}, exclude_none=True)
    wanted = CreateVideo.model_validate({**fields, "prompt": prompt, "input_reference": picture})
    return api.desk.create(wanted, caller.owner, caller.sees)


async def _stream(api: Api, job: Job, asked: NewChat, base_url: str) -> AsyncIterator[str]:
    name, said = _name(), -1
    yield _chunk(name, asked, {"role": "assistant", "content": ""})
    try:
        async for now, _ in watch(api.jobs, job.id):
            job = now
            step = -1 if job.status == "queued" else job.progress // STEP_PERCENT
            if job.status == "running" and step > said:
                yield _chunk(name, asked, {"content": f"{job.progress} % ... "})
                said = step
        link = await run_in_threadpool(_link, api, job, base_url)
        yield _chunk(name, asked, {"content": f"\n\n{link}"})
        yield _chunk(name, asked, {}, "stop")
        if asked.stream_options and asked.stream_options.get("include_usage"):
            yield _data({**_head(name, asked, "chat.completion.chunk"), "choices": [], "usage": _USAGE})
    except (Fault, JobNotFound) as error:
        status, code = (error.status, error.code) if isinstance(error, Fault) else (404, "not_found")
        yield _data(error_body(status, str(error), code))
    yield "data: [DONE]\n\n"


_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
"""Nothing is counted in tokens here."""


def _link(api: Api, job: Job, base_url: str) -> str:
    """What is said about a finished video. Raises Fault for one that failed."""
    if job.status != "completed":
        message = job.error_message or f"the video was {job.status}"
        status = 400 if job.error_code == "invalid_request" else 500
        raise Fault(status, message, code=job.error_code or job.status)
    film, picture = (api.links.make(base_url, job.id, kind, LINK_S)[0] for kind in ("video", "thumbnail"))
    return f"[![the video]({picture})]({film})\n\n[Watch the video]({film})"


async def _told(asked: NewChat, text: str) -> Response:
    name = _name()
    if asked.stream:

        async def chunks() -> AsyncIterator[str]:
            yield _chunk(name, asked, {"role": "assistant", "content": text})
            yield _chunk(name, asked, {}, "stop")
            yield "data: [DONE]\n\n"

        return StreamingResponse(chunks(), media_type="text/event-stream")
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return JSONResponse({**_head(name, asked, "chat.completion"), "choices": [choice], "usage": _USAGE})


def _chunk(name: str, asked: NewChat, delta: dict[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _data({**_head(name, asked, "chat.completion.chunk"), "choices": [choice]})


def _data(message: dict[str, Any]) -> str:
    return f"data: {json.dumps(message, ensure_ascii=False)}\n\n"


def _head(name: str, asked: NewChat, kind: str) -> dict[str, Any]:
    return {"id": name, "object": kind, "created": int(time.time()), "model": asked.model or ""}


def _name() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"
