"""`/v1/content_provenance_checks`: which marks of origin a file carries; OpenAI's route, for videos too."""

import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse

from kinema.errors import MediaError
from kinema.provenance.authority import trusted_roots
from kinema.provenance.proof import NO_PROOF
from kinema.serve.api_videos import ApiIs, CallerIs
from kinema.serve.faults import Fault
from kinema.serve.forms import Upload, read_body
from kinema.serve.provenance_check import check_provenance

router = APIRouter(prefix="/v1", tags=["provenance"])

_STATES = {"found": "valid", "not found": "not_present", "broken": "invalid", "not checked": "not_present"}


@router.post("/content_provenance_checks")
async def create_check(request: Request, api: ApiIs, caller: CallerIs) -> dict[str, Any]:  # noqa: ARG001 - the key is still wanted
    """Look for marks in a picture or video, sent as a form with `file`."""
    fields = await read_body(request, api.settings.max_upload_bytes)
    file = fields.get("file")
    if not isinstance(file, Upload):
        raise Fault(400, "send the file to check as a form with the field file", code="missing_file", param="file")
    if file.ending is None:
        message = "the file is no picture or video that is read here; send png, jpg, webp, gif, mp4 or webm"
        raise Fault(400, message, code="unsupported_file", param="file")
    try:
        found = await run_in_threadpool(check_provenance, file.content, file.ending, api.settings.max_pixels)
    except MediaError as error:
        raise Fault(400, str(error), code="invalid_value", param="file") from error
    return show_check(found)


@router.get("/provenance/anchors", response_class=PlainTextResponse)
def get_anchors(api: ApiIs, caller: CallerIs) -> PlainTextResponse:  # noqa: ARG001
    """Fetch the certificates to trust for what this server signs, in PEM."""
    roots = trusted_roots()
    if roots is None:
        raise Fault(404, "this server has signed nothing yet", code="no_anchors")
    return PlainTextResponse(roots, media_type="application/pem-certificate-chain")


def show_check(found: dict[str, Any]) -> dict[str, Any]:
    """What was found, in the shape that OpenAI's client reads; our own marks stand beside C2PA's."""
    by_kind = {mark["kind"]: mark for mark in found["marks"]}
    signature, details = by_kind["signature"], by_kind["signature"]["details"]
    results = [
        {
            "type": "c2pa",
            "outcome": _outcome(signature),
            "validation_state": details.get("state") or _STATES[signature["outcome"]],
            "issuer": details.get("issuer"),
            "model": (details.get("generation") or {}).get("model"),
            "generated_at": details.get("signed_at"),
            **_words(signature),
        },
        *(
            {
                "type": name,
                "outcome": _outcome(by_kind[kind]),
                **_words(by_kind[kind]),
                "details": by_kind[kind]["details"],
            }
            for kind, name in (("watermark", "kinema_watermark"), ("AIGC key", "aigc"), ("record", "kinema_record"))
        ),
    ]
    return {
        "object": "content_provenance_check",
        "created_at": int(time.time()),
        "results": results,
        "contradictions": found["contradictions"],
        "note": NO_PROOF,
    }


def _outcome(mark: dict[str, Any]) -> str:
    return "detected" if mark["outcome"] == "found" else "not_detected"


def _words(mark: dict[str, Any]) -> dict[str, str]:
    return {"says": mark["says"], "rests_on": mark["rests_on"]}
