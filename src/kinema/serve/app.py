"""The HTTP application. It holds no model: what it accepts becomes a job, and a worker makes it."""

import contextlib
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import kinema
from kinema.log import CONTEXT
from kinema.serve import (
    api_chat,
    api_files,
    api_health,
    api_images,
    api_models,
    api_moderations,
    api_provenance,
    api_videos,
    api_webhooks,
)
from kinema.serve.api import Api
from kinema.serve.api_studio import install_studio
from kinema.serve.artefacts import Artefacts
from kinema.serve.faults import error_body, install_faults
from kinema.serve.files import Files
from kinema.serve.jobs import Jobs
from kinema.serve.keys import KeyRing
from kinema.serve.links import Links
from kinema.serve.mcp_http import install_mcp
from kinema.serve.moderation import PolicyFile
from kinema.serve.openapi import install_openapi
from kinema.serve.outward import Outward
from kinema.serve.own_site import OwnSite
from kinema.serve.pictures import Pictures
from kinema.serve.requests import Desk
from kinema.serve.sender import Sender
from kinema.serve.settings import ServeSettings
from kinema.serve.store import Store
from kinema.serve.tally import Tally
from kinema.serve.throttle import RATE, Throttle
from kinema.serve.tracing import span

logger = logging.getLogger(__name__)

_METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")


def make_app(
    store: Store, artefacts: Artefacts, settings: ServeSettings | None = None, keys: KeyRing | None = None
) -> FastAPI:
    """Make the application over a store."""
    settings = settings or ServeSettings()
    jobs = Jobs(store, settings.queue)
    policy, tally = PolicyFile(settings.policy), Tally()
    files = Files(store, artefacts, jobs.clock)
    outward = Outward(allowed=settings.allowed_networks, timeout_s=30.0, max_bytes=settings.max_upload_bytes)
    pictures = Pictures(database=store, artefacts=artefacts, files=files, outward=outward)
    sender = Sender(store, Outward(allowed=settings.allowed_networks), settings.queue.keep_s)

    @contextlib.asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        sender.start()
        yield
        await run_in_threadpool(sender.stop)

    about = "Type a prompt, get a video."
    app = FastAPI(
        title="Kinema",
        version=kinema.__version__,
        description=about,
        lifespan=running,
        docs_url=None,  # FastAPI's pages of documentation run scripts from elsewhere, beside the key in the browser
        redoc_url=None,
    )
    app.state.api = Api(
        settings=settings,
        store=store,
        artefacts=artefacts,
        jobs=jobs,
        desk=Desk(settings=settings, jobs=jobs, policy=policy, pictures=pictures, tally=tally),
        keys=keys or KeyRing(),
        policy=policy,
        files=files,
        links=Links(store, jobs.clock),
        tally=tally,
        throttle=Throttle(),
    )
    app.include_router(api_health.router)
    app.include_router(api_models.router)  # before the videos: /v1/videos/models is no video
    app.include_router(api_videos.router)  # early: routes are tried in their order, and this one is asked most
    app.include_router(api_chat.router)
    app.include_router(api_files.router)
    app.include_router(api_images.router)
    app.include_router(api_moderations.router)
    app.include_router(api_provenance.router)
    app.include_router(api_webhooks.router)
    install_studio(app)
    install_mcp(app)
    install_openapi(app)
    install_faults(app)
    app.add_middleware(OwnSite)
    app.add_middleware(RequestIds, tally=tally)
    return app


class RequestIds:
    """Gives every request a name, which its answer and its line in the log carry; no exception gets past it."""

    def __init__(self, app: ASGIApp, tally: Tally) -> None:
        self._app, self._tally = app, tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name, began, answered, status = f"req_{uuid.uuid4().hex}", time.monotonic(), 0.0, 0

        async def send_named(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], time.monotonic()
                took = f"{1000 * (time.monotonic() - began):.0f}".encode()
                extra = [(b"x-request-id", name.encode()), (b"openai-processing-ms", took)]
                if RATE in scope:
                    extra += [(header.encode(), text.encode()) for header, text in scope[RATE].headers().items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        about = CONTEXT.set({"request_id": name})
        try:
            parent = dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1")
            with span(f"{scope['method']} request", parent, **{"url.path": scope["path"], "kinema.request.id": name}):
                await self._app(scope, receive, send_named)
        except Exception:
            logger.exception("%s failed by a bug", name)
            if status:
                raise  # the answer had begun; closing the connection is all that is left
            await _send_bug(send_named)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            took_s = (answered or time.monotonic()) - began
            self._tally.observe(
                "kinema_http_request_seconds",
                took_s,
                method=scope["method"] if scope["method"] in _METHODS else "other",
                route=route,
                status=str(status),
            )
            took_ms = 1000 * (time.monotonic() - began)
            fields = {"method": scope["method"], "path": scope["path"], "status": status, "ms": round(took_ms, 1)}
            logger.info("%s %s %s -> %d in %.0f ms", name, *fields.values(), extra={"fields": fields})
            CONTEXT.reset(about)


async def _send_bug(send: Any) -> None:
    body = json.dumps(error_body(500, "the server has a bug; its log says which", "server_error")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})
