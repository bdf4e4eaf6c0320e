"""`/mcp`: the tools over streamable HTTP, beside the API and with its keys."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from kinema.serve.api import Api, key_of
from kinema.serve.faults import Fault, error_body
from kinema.serve.mcp_tools import make_mcp


def install_mcp(app: FastAPI) -> None:
    """Serve the tools at `/mcp`. No session is kept, so a server that is started again is the same to its agents."""
    api: Api = app.state.api
    server = make_mcp(api)
    # With keys nobody gets in through a page in somebody's browser, which has none; without, only local names do.
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False) if api.keys.keys else None
    inner = server.streamable_http_app(stateless_http=True, transport_security=security)
    (route,) = (each for each in inner.routes if isinstance(each, Route))
    app.router.routes.append(Route("/mcp", endpoint=_WithKey(route.app)))
    outer = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def running(started: FastAPI) -> AsyncIterator[Any]:
        async with outer(started) as state, server.session_manager.run():
            yield state

    app.router.lifespan_context = running


class _WithKey:
    """Lets in those who have a key, where keys are needed, as often as they may; tools ask what a key may do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            key_of(Request(scope))
        except Fault as fault:
            body = error_body(fault.status, fault.message, fault.code)
            await JSONResponse(body, fault.status, headers=fault.headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)
