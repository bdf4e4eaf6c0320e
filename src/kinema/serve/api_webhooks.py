"""`/v1/webhook_endpoints`: where to tell what happened to videos."""

import time
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool

from kinema.serve.api import Api
from kinema.serve.api_videos import ApiIs, CallerIs
from kinema.serve.faults import Fault
from kinema.serve.forms import read_body
from kinema.serve.outbox import EVENT_TYPES, message_body
from kinema.serve.outward import Outward, Unreachable
from kinema.serve.schema import NewWebhook, RotateSecret, TestWebhook, UpdateWebhook
from kinema.serve.sender import post
from kinema.serve.webhooks import Endpoint, Webhooks

router = APIRouter(prefix="/v1", tags=["webhooks"])

Limit = Annotated[int, Query(ge=1, le=100)]


@router.post("/webhook_endpoints")
async def create_webhook(request: Request, api: ApiIs, caller: CallerIs) -> dict[str, Any]:
    """Add an endpoint; its secret is told now, and never again."""
    asked = NewWebhook.model_validate(await read_body(request, api.settings.max_upload_bytes))

    def create() -> Endpoint:
        _outward(api).resolve(asked.url)
        return _webhooks(api).create(caller.owner, asked.name, asked.url, list(asked.event_types))

    return _show(await _reached(create), with_secret=True)


@router.get("/webhook_endpoints")
def list_webhooks(api: ApiIs, caller: CallerIs, after: str | None = None, limit: Limit = 20) -> dict[str, Any]:
    """List the endpoints, oldest first, a page at a time."""
    found, has_more = _webhooks(api).page(caller.sees, after, limit)
    return _page([_show(each) for each in found], has_more)


@router.get("/webhook_endpoints/{endpoint_id}")
def get_webhook(endpoint_id: str, api: ApiIs, caller: CallerIs) -> dict[str, Any]:
    """Look at an endpoint."""
    return _show(_webhooks(api).get(endpoint_id, caller.sees))


@router.post("/webhook_endpoints/{endpoint_id}")
async def update_webhook(endpoint_id: str, request: Request, api: ApiIs, caller: CallerIs) -> dict[str, Any]:
    """Change an endpoint."""
    asked = UpdateWebhook.model_validate(await read_body(request, api.settings.max_upload_bytes))

    def update() -> Endpoint:
        if asked.url is not None:
            _outward(api).resolve(asked.url)
        return _webhooks(api).update(endpoint_id, caller.sees, **asked.model_dump(exclude_none=True))

    return _show(await _reached(update))


@router.delete("/webhook_endpoints/{endpoint_id}")
def delete_webhook(endpoint_id: str, api: ApiIs, caller: CallerIs) -> dict[str, Any]:
    """Remove an endpoint, and what was still to be told to it."""
    _webhooks(api).delete(endpoint_id, caller.sees)
    return {"id": endpoint_id, "object": "webhook_endpoint.deleted", "deleted": True}


@router.post("/webhook_endpoints/{endpoint_id}/rotate_secret")
async def rotate_secret(endpoint_id: str, request: Request, api: ApiIs, caller: CallerIs) -> dict[str, Any]:
    """Give an endpoint another secret; it is told now, and never again."""
    asked = RotateSecret.model_validate(await read_body(request, api.settings.max_upload_bytes))
    keep = asked.keep_old_secret_active_for_24_hours
    rotated = await run_in_threadpool(_webhooks(api).rotate, endpoint_id, caller.sees, keep_old=keep)
    return _show(rotated, with_secret=True)


@router.post("/webhook_endpoints/{endpoint_id}/test")
async def test_webhook(endpoint_id: str, request: Request, api: ApiIs, caller: CallerIs) -> dict[str, Any]:
    """Send an example at once, and tell the status of the answer."""
    kind = TestWebhook.model_validate(await read_body(request, api.settings.max_upload_bytes)).event_type

    def send() -> int:
        to = _webhooks(api).get(endpoint_id, caller.sees)
        body = message_body(kind, {"id": "video_example"}, api.jobs.clock())
        return post(_outward(api), to.url, to.secrets, f"whd_{uuid.uuid4().hex}", body, time.time())

    status = await _reached(send)
    answer = {"event_type": kind, "status_code": status, "success": True, "webhook_endpoint_id": endpoint_id}
    return {"object": "webhook_endpoint.test", **answer}


@router.get("/webhook_endpoints/{endpoint_id}/deliveries")
def list_deliveries(
    endpoint_id: str, api: ApiIs, caller: CallerIs, after: str | None = None, limit: Limit = 20
) -> dict[str, Any]:
    """Tell what was sent to an endpoint, newest first, and how that went."""
    found, has_more = _webhooks(api).deliveries(endpoint_id, caller.sees, after, limit)
    return _page(found, has_more)


@router.post("/webhook_endpoints/{endpoint_id}/deliveries/{delivery_id}/redeliver")
def redeliver(endpoint_id: str, delivery_id: str, api: ApiIs, caller: CallerIs) -> dict[str, Any]:
    """Send a message again."""
    return _webhooks(api).redeliver(endpoint_id, delivery_id, caller.sees)


@router.get("/webhook_event_types")
def list_event_types(caller: CallerIs) -> dict[str, Any]:  # noqa: ARG001 - the key is still wanted
    """Tell what an endpoint can hear of."""
    return {"object": "list", "data": list(EVENT_TYPES)}


async def _reached(work: Any) -> Any:
    """Run something that needs another machine; a machine that is not there is the asker's mistake."""
    try:
        return await run_in_threadpool(work)
    except Unreachable as error:
        raise Fault(400, str(error), code="endpoint_unreachable", param="url") from None


def _webhooks(api: Api) -> Webhooks:
    return Webhooks(api.store, api.jobs.clock)


def _outward(api: Api) -> Outward:
    return Outward(allowed=api.settings.allowed_networks)


def _page(data: list[dict[str, Any]], has_more: bool) -> dict[str, Any]:
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": data, "has_more": has_more, "first_id": first, "last_id": last}


def _show(endpoint: Endpoint, *, with_secret: bool = False) -> dict[str, Any]:
    shown = {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": list(endpoint.event_types),
        "created_at": int(endpoint.created_at),
        "updated_at": int(endpoint.updated_at),
        "status": "disabled" if endpoint.is_disabled else "enabled",
        "signing_secret_hint": f"whsec_...{endpoint.secret[-4:]}",
    }
    return {**shown, "signing_secret": endpoint.secret} if with_secret else shown
