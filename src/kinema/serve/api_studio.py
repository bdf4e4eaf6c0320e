"""The page at `/`, its files, and the stream that keeps it up to date."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Request, Response
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from kinema.serve.api_videos import ApiIs, CallerIs
from kinema.serve.feed import Feed, stream_feed

WEB = Path(__file__).with_name("web")

_HEADERS = {
    "cache-control": "no-cache",  # asks each time whether it has changed; a new version shows at once
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
    "connect-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

router = APIRouter()


@router.get("/", include_in_schema=False)
def show_page() -> Response:
    """Show the page; it needs no key itself, and asks for one when the API does."""
    return FileResponse(WEB / "index.html", headers=_HEADERS)


@router.get("/v1/events", tags=["videos"])
def follow_all(
    request: Request, api: ApiIs, caller: CallerIs, after: Annotated[int | None, Query(ge=0, lt=2**63)] = None
) -> Response:
    """Follow all videos as server-sent events, from now on or from where `Last-Event-ID` says a reader stopped."""
    last = request.headers.get("last-event-id", "")
    return stream_feed(
        Feed(api.store, caller.sees),
        int(last) if last.isdecimal() and len(last) < 19 else after,
        lambda: bool(getattr(request.app.state, "is_stopping", False)),
    )


class _Files(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers.update(_HEADERS)
        return answer


def install_studio(app: FastAPI) -> None:
    """Serve the page with its files, and its stream."""
    app.include_router(router)
    app.mount("/studio", _Files(directory=WEB), name="studio")
