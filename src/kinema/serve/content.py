"""Files of finished videos over HTTP, whole or by byte range."""

import hashlib
import re

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from kinema.serve.artefacts import Artefacts
from kinema.serve.faults import Fault
from kinema.serve.job import Artefact

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def send_artefact(artefacts: Artefacts, artefact: Artefact, request: Request) -> Response:
    """Answer with a file: 200, 206 for a range, 304 when the client has it already. Raises Fault (416)."""
    size = artefact.num_bytes
    tag = f'"{hashlib.sha256(artefact.name.encode()).hexdigest()[:32]}"'  # a name never changes its content
    headers = {"accept-ranges": "bytes", "etag": tag, "cache-control": "private, max-age=3600"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    start, end, status = 0, size, 200
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    if found and found.groups() != ("", "") and request.headers.get("if-range", tag) == tag:
        first, last = found.groups()
        start = max(0, size - int(last)) if first == "" else int(first)
        end = size if first == "" or last == "" else min(size, int(last) + 1)
        status = 206
        if start >= end:
            message = f"the range lies outside the {size} bytes of the file"
            raise Fault(416, message, code="invalid_range", headers={"content-range": f"bytes */{size}"})
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    headers["content-length"] = str(end - start)
    pieces = artefacts.stream(artefact.name, start, end)
    return StreamingResponse(pieces, status, media_type=artefact.media_type, headers=headers)
