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
from kinema.serve import api_health, api_models, api_moderations, api_provenance, api_videos, api_webhooks
from kinema.serve.api import Api
from kinema.serve.api_studio import install_studio
from kinema.serve.artefacts import Artefacts
from kinema.serve.faults import error_body, install_faults
from kinema.serve.jobs import Jobs
from kinema.serve.keys import KeyRing
from kinema.serve.mcp_http import install_mcp
from kinema.serve.moderation import PolicyFile
from kinema.serve.outward import Outward
from kinema.serve.requests import Desk
from kinema.serve.sender import Sender
from kinema.serve.settings import ServeSettings
from kinema.serve.store import Store

logger = logging.getLogger(__name__)


def make_app(
    store: Store, artefacts: Artefacts, settings: ServeSettings | None = None, keys: KeyRing | None = None
) -> FastAPI:
    """Make the application over a store."""
    settings = settings or ServeSettings()
    jobs = Jobs(store, settings.queue)
    policy = PolicyFile(settings.policy)
    sender = Sender(store, Outward(allowed=settings.allowed_networks), settings.queue.keep_s)

    @contextlib.asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        sender.start()
        yield
        await run_in_threadpool(sender.stop)

    about = "Type a prompt, get a video."
    app = FastAPI(title="Kinema", version=kinema.__version__, description=about, lifespan=running)
    app.state.api = Api(
        settings=settings,
        store=store,
        artefacts=artefacts,
        jobs=jobs,
        desk=Desk(settings=settings, jobs=jobs, artefacts=artefacts, policy=policy),
        keys=keys or KeyRing(),
        policy=policy,
    )
    app.include_router(api_health.router)
    app.include_router(api_models.router)  # before the videos: /v1/videos/models is no video
    app.include_router(api_moderations.router)
    app.include_router(api_provenance.router)
    app.include_router(api_videos.router)
    app.include_router(api_webhooks.router)
    install_studio(app)
    install_mcp(app)
    install_faults(app)
    app.add_middleware(RequestIds)
    return app


class RequestIds:
    """Gives every request a name, which its answer and its line in the log carry; no exception gets past it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name, began, status = f"req_{uuid.uuid4().hex}", time.monotonic(), 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                took = f"{1000 * (time.monotonic() - began):.0f}".encode()
                extra = [(b"x-request-id", name.encode()), (b"openai-processing-ms", took)]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except Exception:
            logger.exception("%s failed by a bug", name)
            if status:
                raise  # the answer had begun; closing the connection is all that is left
            await _send_bug(send_named)
        finally:
            took_ms = 1000 * (time.monotonic() - began)
            logger.info("%s %s %s -> %d in %.0f ms", name, scope["method"], scope["path"], status, took_ms)


async def _send_bug(send: Any) -> None:
    body = json.dumps(error_body(500, "the server has a bug; its log says which", "server_error")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})
