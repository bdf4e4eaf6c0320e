"""Request bodies as OpenAI's clients and their peers send them: JSON, or forms with keys like `video[id]`."""

import json
import re
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile

from kinema.serve.faults import Fault

_SIGNS = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF8", "gif"),
    (b"\x1aE\xdf\xa3", "webm"),
)

_HALVES = re.compile("[\\ud800-\\udfff]")

MEDIA_TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "gif": "image/gif", "webp": "image/webp", "mp4": "video/mp4",
    "webm": "video/webm",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that came with a request."""

    content: bytes
    filename: str = ""
    """As its sender calls it; to be shown, never to be used as a path."""

    @property
    def ending(self) -> str | None:
        """What the content is, by its first bytes, not its name: png, jpg, webp, gif, mp4, webm; None if none."""
        head = self.content[:16]
        for sign, ending in _SIGNS:
            if head.startswith(sign):
                return ending
        if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            return "webp"
        return "mp4" if head[4:8] == b"ftyp" else None


async def read_body(request: Request, max_bytes: int) -> dict[str, Any]:
    """Read a request's fields; files become `Upload`. Raises Fault for what is too large or cannot be read."""
    capped = Request(request.scope, _capped(request, max_bytes))
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        fields = await _read_form(capped, max_bytes)
    elif kind in ("application/json", ""):
        fields = _read_json(await capped.body())
    else:
        raise Fault(415, f"content-type {kind!r} is not read here; send JSON or a form", code="unsupported_media_type")
    for name in ("extra_body", "extra_params"):
        more = fields.pop(name, None)
        if isinstance(more, dict):
            fields |= more
    for name, value in fields.items():
        if not (_is_text(name) and _is_text(value)):
            raise Fault(400, "the body has text that is no UTF-8, or null characters", code="invalid_value")
    return {name: value for name, value in fields.items() if value is not None}


def _is_text(value: Any) -> bool:
    """Whether all text in a value can be stored and sent; JSON can spell halves of characters."""
    if isinstance(value, str):
        return "\0" not in value and (value.isascii() or not _HALVES.search(value))
    if isinstance(value, dict):
        return all(_is_text(name) and _is_text(each) for name, each in value.items())
    return all(_is_text(each) for each in value) if isinstance(value, list) else True


def unfold(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Turn bracketed keys into what they stand for: `video[id]`, `list[]`, `nested[a][]`."""
    tree: dict[str, Any] = {}
    for key, value in pairs:
        name, *inner = [key.partition("[")[0], *re.findall(r"\[([^\]]*)\]", key)]
        _put(tree, [name, *inner], value)
    for name, value in tree.items():
        if isinstance(value, list) and len({tuple(sorted(each)) for each in value if isinstance(each, dict)}) > 1:
            message = f"a form cannot tell which object of {name} has which field; send {name} as a text of JSON"
            raise Fault(400, message, code="invalid_form", param=name)
    return tree


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    here: Any = tree
    for i, part in enumerate(path):
        is_last = i + 1 == len(path)
        if not is_last and path[i + 1] == "":
            items = here.setdefault(part, [])
            if not isinstance(items, list):
                raise Fault(400, f"the field {path[0]} is given twice, in two shapes", code="invalid_form")
            _append(items, path, i + 2, value)
            return
        if is_last:
            here[part] = value
            return
        here = here.setdefault(part, {})
        if not isinstance(here, dict):
            raise Fault(400, f"the field {path[0]} is given twice, in two shapes", code="invalid_form")


def _append(items: list[Any], path: list[str], rest: int, value: Any) -> None:
    """Add to a list: a value, or a field of an object; the k-th time that a field comes is for the k-th object."""
    if rest == len(path):
        items.append(value)
        return
    if "" in path[rest:]:
        raise Fault(400, f"the field {path[0]} is nested in a way that is not read here", code="invalid_form")
    for item in items:
        if isinstance(item, dict) and not _has(item, path[rest:]):
            _put(item, path[rest:], value)
            return
    items.append({})
    _put(items[-1], path[rest:], value)


def _has(tree: Any, path: list[str]) -> bool:
    for part in path:
        if not isinstance(tree, dict) or part not in tree:
            return False
        tree = tree[part]
    return True


def _read_json(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise Fault(400, f"the body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(fields, dict):
        raise Fault(400, "the body is no JSON object", code="invalid_json")
    return fields


async def _read_form(request: Request, max_bytes: int) -> dict[str, Any]:
    async with request.form(max_files=8, max_fields=200, max_part_size=max_bytes) as form:
        pairs: list[tuple[str, Any]] = []
        for key, value in form.multi_items():
            if isinstance(value, UploadFile):
                pairs.append((key, Upload(content=await value.read(), filename=value.filename or "")))
            else:
                pairs.append((key, _maybe_json(value)))
    return unfold(pairs)


def _maybe_json(text: str) -> Any:
    """Some clients put JSON into the fields of a form."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _capped(request: Request, max_bytes: int) -> Any:
    too_large = Fault(413, f"the request is larger than {max_bytes} bytes", code="request_too_large")
    if int(request.headers.get("content-length", "0") or 0) > max_bytes:
        raise too_large
    seen = 0

    async def receive() -> Any:
        nonlocal seen
        message = await request.receive()
        seen += len(message.get("body", b""))
        if seen > max_bytes:
            raise too_large
        return message

    return receive
