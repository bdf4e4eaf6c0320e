"""How a request becomes a job: once, within the limits of whoever asks."""

import dataclasses
from collections.abc import Callable
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
    plan: Callable[[], NewJob],
    *,
    part: int = 0,
    callback_url: str | None = None,
) -> Job:
    """Queue a job for a request, or find the one that the same request made before.

    Only what is new is planned, so that a repeated request gets its job though what it started from is there no more.
    `part` tells the jobs of one request apart; `callback_url` is told how this one ended. Raises Fault, QueueFull,
    KeyReused, JobNotFound, and what `plan` raises.
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
    limits = caller.key.limits if caller.key else api.settings.limits
    try:
        known = api.jobs.repeated(caller.owner, repeat)
        return known or api.jobs.submit(_planned(api, caller, plan, callback_url), limits, repeat)[0]
    finally:
        if limits.requests_per_minute is not None:
            request.scope[RATE] = api.jobs.rate(caller.owner, limits.requests_per_minute)


def _planned(api: Api, caller: Caller, plan: Callable[[], NewJob], callback_url: str | None) -> NewJob:
    new = plan()
    traceparent = current_traceparent()
    if traceparent:
        new = dataclasses.replace(new, request={**new.request, "traceparent": traceparent})
    if callback_url is not None:
        new = _calling_back(api, new, callback_url)
    return dataclasses.replace(new, priority=new.priority + caller.key.priority) if caller.key else new


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
