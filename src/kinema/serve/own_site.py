"""Pages of other sites may not use a visitor's browser to give this server orders."""

import json

from starlette.types import ASGIApp, Receive, Scope, Send

from kinema.serve.faults import error_body

_SAFE = ("GET", "HEAD", "OPTIONS")
_OWN = (b"", b"same-origin", b"none")
"""What browsers say of the page's own requests, and of those that a person typed; other clients say nothing."""


class OwnSite:
    """Refuses requests that change something when a browser says that another site's page sent them.

    A form needs nobody's leave to be posted across sites, and a server that asks for no key on this machine would obey
    it. A request that carries a key passes: a page must have been given that key.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = dict(scope.get("headers", ()))
        is_other = headers.get(b"sec-fetch-site", b"") not in _OWN and b"authorization" not in headers
        if scope["type"] != "http" or scope["method"] in _SAFE or not is_other:
            await self._app(scope, receive, send)
            return
        message = "a page of another site sent this; open this server's own page, or send a key"
        body = json.dumps(error_body(403, message, "cross_site")).encode()
        fields = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 403, "headers": fields})
        await send({"type": "http.response.body", "body": body})
