"""The description of the API: bodies that are read by hand, and every status that can come back."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from kinema.serve import schema

_BODIES: dict[str, type[BaseModel]] = {
    "/v1/videos": schema.CreateVideo,
    "/v1/videos/edits": schema.EditVideo,
    "/v1/videos/extensions": schema.ExtendVideo,
    "/v1/videos/{video_id}/remix": schema.ChangeVideo,
    "/v1/images/generations": schema.NewImage,
    "/v1/images/edits": schema.EditImage,
    "/v1/chat/completions": schema.NewChat,
    "/v1/moderations": schema.Moderate,
    "/v1/files": schema.NewFile,
    "/v1/content_provenance_checks": schema.CheckFile,
    "/v1/webhook_endpoints": schema.NewWebhook,
    "/v1/webhook_endpoints/{endpoint_id}": schema.UpdateWebhook,
    "/v1/webhook_endpoints/{endpoint_id}/rotate_secret": schema.RotateSecret,
    "/v1/webhook_endpoints/{endpoint_id}/test": schema.TestWebhook,
}
"""What `POST` takes, where FastAPI cannot know since `forms.read_body` reads it."""

_FORMS = ("/v1/files", "/v1/content_provenance_checks")
_JOBS = ("/v1/videos", "/v1/images", "/v1/chat")
_WORDS = {
    400: "The request does not fit.",
    401: "A key is missing or wrong.",
    403: "The key may not do this.",
    404: "There is no such thing.",
    409: "The picture was cancelled.",
    413: "The request is too large.",
    415: "The body is neither JSON nor a form.",
    416: "The range lies outside of the file.",
    422: "The idempotency key was used for another request.",
    429: "Too many requests, or the queue or the owner's share is full; the headers say when to ask again.",
    500: "The server has a bug, or the work failed.",
    503: "The store is away, or no worker has said yet what the model can make.",
}
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


def install_openapi(app: FastAPI) -> None:
    """Make the app describe itself in full, at `/openapi.json`."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _description(app)
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]  # as FastAPI's own documentation has it


def _description(app: FastAPI) -> dict[str, Any]:
    described = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    parts = described.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Error"] = _ERROR
    parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    described["security"] = [{"key": []}, {}]
    for model in set(_BODIES.values()):
        schemas.update(_schema(model))
    schemas["Upload"] = {"type": "string", "format": "binary"}
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if method == "post" and path in _BODIES:
                fields = {"$ref": f"#/components/schemas/{_BODIES[path].__name__}"}
                kinds = ("multipart/form-data",) if path in _FORMS else ("application/json", "multipart/form-data")
                operation["requestBody"] = {"required": True, "content": {kind: {"schema": fields} for kind in kinds}}
            _add_responses(path, method, operation)
    return described


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """A model and those inside it, by name."""
    whole = model.model_json_schema(ref_template="#/components/schemas/{model}")
    inner: dict[str, Any] = whole.pop("$defs", {})
    return {**inner, model.__name__: whole}


def _add_responses(path: str, method: str, operation: dict[str, Any]) -> None:
    codes = {500, 503}
    if path.startswith("/v1"):
        codes |= {400, 401, 403, 429}
        if (
            "{" in path
            or path == "/v1/provenance/anchors"
            or any(each["name"] == "after" for each in operation.get("parameters", ()))
        ):
            codes |= {404}
        if method == "post" and path in _BODIES:
            codes |= {404, 413, 415}
        if method == "post" and path.startswith((*_JOBS, "/v1/files")):
            codes |= {409, 422}
        if path.endswith("/content"):
            codes |= {416}
            operation["responses"]["304"] = {"description": "The client has it already."}
            operation["responses"]["206"] = {"description": "A part of it."}
    operation["responses"].pop("422", None)
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for code in sorted(codes):
        if str(code) not in operation["responses"]:
            operation["responses"][str(code)] = {"description": _WORDS[code], "content": error}
