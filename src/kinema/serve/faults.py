"""Every 4xx and 5xx in the shape that OpenAI's clients read."""

import logging
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from kinema.errors import JobNotFound, KinemaError, MediaError, SpecError
from kinema.serve.job import KeyReused, QueueFull
from kinema.serve.moderation import Blocked

logger = logging.getLogger(__name__)

_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}

_AWAY = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError, OSError)
"""The database or the files cannot be reached, or take no more: a full disk, a lost connection."""


class Fault(Exception):  # noqa: N818 - an answer with its status
    """An answer other than the one asked for."""

    def __init__(
        self, status: int, message: str, *, code: str, param: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param, self.headers = status, message, code, param, headers


def error_body(status: int, message: str, code: str, param: str | None = None) -> dict[str, Any]:
    """The body of an error answer."""
    kind = _KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def install_faults(app: FastAPI) -> None:
    """Make the app answer every error in this shape."""
    ours = (Fault, KinemaError, *_AWAY, sa.exc.DataError)
    for kind in (*ours, HTTPException, ClientDisconnect, RequestValidationError, ValidationError):
        app.add_exception_handler(kind, _answer)


async def _answer(_: Request, error: Exception) -> JSONResponse:
    fault = as_fault(error)
    body = error_body(fault.status, fault.message, fault.code, fault.param)
    return JSONResponse(body, fault.status, headers=fault.headers)


def as_fault(error: Exception) -> Fault:
    """The answer that an error becomes."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, QueueFull):
        wait_s = error.retry_after_s
        if wait_s is None:
            headers = {"x-should-retry": "false"}
        else:
            headers = {"retry-after": f"{wait_s:.0f}", "retry-after-ms": f"{1000 * wait_s:.0f}"}
        return Fault(429, str(error), code=error.code, headers=headers)
    if isinstance(error, KeyReused):
        return Fault(422, str(error), code="idempotency_key_reused", headers={"x-should-retry": "false"})
    if isinstance(error, Blocked):
        return Fault(400, str(error), code="moderation_blocked", param="prompt", headers={"x-should-retry": "false"})
    if isinstance(error, JobNotFound):
        return Fault(404, str(error), code="not_found")
    if isinstance(error, SpecError | MediaError):
        return Fault(400, str(error), code="invalid_value", param=_param(str(error)))
    if isinstance(error, sa.exc.DataError):
        return Fault(400, "the request holds a value that the store does not take", code="invalid_value")
    if isinstance(error, _AWAY):
        logger.error("the store is away: %s", getattr(error, "orig", error))
        return Fault(503, "the store is away; try again soon", code="store_away", headers={"retry-after": "2"})
    if isinstance(error, ClientDisconnect):
        return Fault(400, "the request broke off before its end", code="incomplete_request")  # nobody reads it
    if isinstance(error, HTTPException):
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
        return Fault(error.status_code, str(error.detail), code=code, headers=dict(error.headers or {}))
    if isinstance(error, RequestValidationError | ValidationError):
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path")) or None
        return Fault(400, f"{param}: {first['msg']}", code="invalid_value", param=param)
    return Fault(500, str(error), code="server_error")


def _param(message: str) -> str | None:
    """The field that a SpecError is about: its messages begin with it."""
    word = message.partition("=")[0].partition(" ")[0]
    return word if word.isidentifier() else None
