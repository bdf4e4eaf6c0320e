"""`/v1/files`: upload once, use often."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from kinema.serve.api_videos import ApiIs, CallerIs
from kinema.serve.files import StoredFile
from kinema.serve.forms import MEDIA_TYPES, read_body
from kinema.serve.schema import NewFile

router = APIRouter(prefix="/v1/files", tags=["files"])


@router.post("")
async def create_file(request: Request, api: ApiIs, caller: CallerIs) -> dict[str, Any]:
    """Upload a file, as a form with `file` and `purpose`."""
    asked = NewFile.model_validate(await read_body(request, api.settings.max_upload_bytes))
    stored = await run_in_threadpool(
        api.files.create,
        caller.owner,
        asked.file.content,
        purpose=asked.purpose,
        filename=asked.file.filename or "file",
        media_type=MEDIA_TYPES.get(asked.file.ending or "", "application/octet-stream"),
        lasts_s=asked.expires_after.seconds if asked.expires_after else None,
        limits=caller.key.limits if caller.key else api.settings.limits,
    )
    return _show(stored)


@router.get("")
def list_files(
    api: ApiIs,
    caller: CallerIs,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    purpose: str | None = None,
) -> dict[str, Any]:
    """List uploaded files, newest first unless told otherwise."""
    found, has_more = api.files.page(caller.sees, after=after, limit=limit, order=order, purpose=purpose)
    first, last = (found[0].id, found[-1].id) if found else (None, None)
    data = [_show(each) for each in found]
    return {"object": "list", "data": data, "has_more": has_more, "first_id": first, "last_id": last}


@router.get("/{file_id}")
def get_file(file_id: str, api: ApiIs, caller: CallerIs) -> dict[str, Any]:
    """Look at a file."""
    return _show(api.files.get(file_id, caller.sees))


@router.delete("/{file_id}")
def delete_file(file_id: str, api: ApiIs, caller: CallerIs) -> dict[str, Any]:
    """Remove a file; videos that were made with it stay."""
    api.files.delete(file_id, caller.sees)
    return {"id": file_id, "object": "file", "deleted": True}


@router.get("/{file_id}/content")
def get_file_content(file_id: str, api: ApiIs, caller: CallerIs) -> Response:
    """Fetch what is in a file."""
    stored = api.files.get(file_id, caller.sees)
    headers = {"content-disposition": "attachment", "x-content-type-options": "nosniff"}
    return Response(api.artefacts.read(stored.artefact), media_type=stored.media_type, headers=headers)


def _show(stored: StoredFile) -> dict[str, Any]:
    return {
        "id": stored.id,
        "object": "file",
        "bytes": stored.num_bytes,
        "created_at": int(stored.created_at),
        "expires_at": int(stored.expires_at) if stored.expires_at else None,
        "filename": stored.filename,
        "purpose": stored.purpose,
        "status": "processed",
        "status_details": None,
    }
