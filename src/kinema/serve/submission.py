"""How a request becomes a job: once, within the limits of whoever asks."""

import dataclasses
from typing import Any

from fastapi import Request

from kinema.errors import SpecError
from kinema.serve.api import Api, Caller
from kinema.serve.faults import Fault
from kinema.serve.forms import Upload
from kinema.serve.job import Job, NewJob
from kinema.serve.jobs import Repeat, body_hash
from kinema.serve.outward import Outward, Unreachable
from kinema.serve.throttle import RATE
from kinema.serve.tracing import current_traceparent
from kinema.serve.webhooks import Webhooks


def submit(
    api: Api,
    caller: Caller,
    request: Request,
    body: dict[str, Any],
    new: NewJob,
    *,
    part: int = 0,
    callback_url: str | None = None,
) -> Job:
    """Queue a job for a request, or find the one that the same request made before.

    `part` tells the jobs of one request apart; `callback_url` is told how this one ended. Raises Fault, QueueFull and
    KeyReused.
    """
    retry = request.headers.get("x-stainless-retry-count", "0")
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= 255:
        raise Fault(400, "Idempotency-Key takes 1 to 255 characters", code="invalid_value", param="Idempotency-Key")
    repeat = Repeat(
        body_sha256=body_hash({"path": request.url.path, **({"part": part} if part else {}), **_plain(body)}),
        key=f"{key} part {part}" if key and part else key,
        retry=int(retry) if retry.isascii() and retry.isdecimal() and len(retry) < 4 else 0,
    )
    traceparent = current_traceparent()
    if traceparent:
        new = dataclasses.replace(new, request={**new.request, "traceparent": traceparent})
    if callback_url is not None:
        new = _calling_back(api, new, callback_url)
    limits = caller.key.limits if caller.key else api.settings.limits
    if caller.key:
        new = dataclasses.replace(new, priority=new.priority + caller.key.priority)
    try:
        return api.jobs.submit(new, limits, repeat)[0]
    finally:
        if limits.requests_per_minute is not None:
            request.scope[RATE] = api.jobs.rate(new.owner, limits.requests_per_minute)


def _calling_back(api: Api, new: NewJob, url: str) -> NewJob:
    """The job with an address that hears of it, which must be one that webhooks may reach. Raises Fault."""
    try:
        Outward(allowed=api.settings.allowed_networks).resolve(url)
    except (SpecError, Unreachable) as error:
        raise Fault(400, f"callback_url: {error}", code="invalid_url", param="callback_url") from None
    Webhooks(api.store, api.jobs.clock).open_callbacks(new.owner)
    return dataclasses.replace(new, request={**new.request, "callback_url": url})


def _plain(value: Any) -> Any:
    if isinstance(value, Upload):
        return body_hash(value.content.hex())
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
