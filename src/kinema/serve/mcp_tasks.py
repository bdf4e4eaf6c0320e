"""The Tasks extension of the Model Context Protocol: a job of the queue is a task that its client asks after.

Specification: https://github.com/modelcontextprotocol/ext-tasks, of 2026-07-28. A task is handed out only to clients
that declare the extension in that very request; it is a row of the queue by then, and outlives any restart.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from fastapi.concurrency import run_in_threadpool
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver import require_client_extension
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolRequestParams, CallToolResult, RequestParams
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field

from kinema.errors import JobNotFound
from kinema.serve.job import Job
from kinema.serve.store import EVENTS

if TYPE_CHECKING:
    from kinema.serve.mcp_tools import Tools

IDENTIFIER = "io.modelcontextprotocol/tasks"
LONG_TOOLS = ("generate_video", "edit_video", "loop_video", "extend_video")

Request = ServerRequestContext[Any, Any]


class TaskParams(RequestParams):
    """Which task is meant."""

    task_id: str = Field(alias="taskId")


class UpdateParams(TaskParams):
    """Answers to a task's questions; tasks here ask none."""

    input_responses: dict[str, Any] = Field(default_factory=dict, alias="inputResponses")


def takes_tasks(request: Request) -> bool:
    """Whether the client of this request can be given a task in place of a result."""
    capabilities = request.session.client_capabilities
    declared = capabilities.extensions if capabilities else None
    return request.protocol_version in MODERN_PROTOCOL_VERSIONS and IDENTIFIER in (declared or {})


class Tasks(Extension):
    """Gives tasks for videos that take their time, and says how they are."""

    identifier = IDENTIFIER

    def __init__(self, tools: "Tools") -> None:
        self._tools = tools

    def methods(self) -> Sequence[MethodBinding]:
        """What clients ask of tasks."""
        return (
            MethodBinding("tasks/get", TaskParams, self._get),
            MethodBinding("tasks/update", UpdateParams, self._update),
            MethodBinding("tasks/cancel", TaskParams, self._cancel),
        )

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: Request, call_next: CallNext
    ) -> HandlerResult:
        """Give the task of a video that is not finished, instead of its present state."""
        result = await call_next(ctx)
        if params.name not in LONG_TOOLS or not takes_tasks(ctx) or not isinstance(result, CallToolResult):
            return result
        if result.is_error or not isinstance(result.structured_content, dict):
            return result
        job = await self._job(ctx, result.structured_content["id"])
        return result if job.has_ended else {"resultType": "task", **await self._shown(job)}

    async def _get(self, ctx: Request, params: TaskParams) -> HandlerResult:
        job = await self._job(ctx, params.task_id)
        shown = await self._shown(job)
        if job.status in ("completed", "failed"):
            result = await run_in_threadpool(self._tools.showing(ctx).result, job)
            shown["result"] = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {"resultType": "complete", **shown}

    async def _update(self, ctx: Request, params: UpdateParams) -> HandlerResult:
        await self._job(ctx, params.task_id)
        return {"resultType": "complete"}

    async def _cancel(self, ctx: Request, params: TaskParams) -> HandlerResult:
        job = await self._job(ctx, params.task_id, writes=True)
        await run_in_threadpool(self._tools.api.jobs.cancel, job.id)
        return {"resultType": "complete"}

    async def _job(self, ctx: Request, task_id: str, *, writes: bool = False) -> Job:
        require_client_extension(ctx, IDENTIFIER)
        try:
            caller = self._tools.caller(getattr(ctx.request, "headers", None), writes=writes)
            return await run_in_threadpool(self._tools.api.jobs.get, task_id, caller.sees)
        except (JobNotFound, ToolError) as error:
            raise MCPError(code=INVALID_PARAMS, message=str(error)) from None

    async def _shown(self, job: Job) -> dict[str, Any]:
        api = self._tools.api

        def read() -> tuple[float, float | None]:
            newest = sa.select(sa.func.max(EVENTS.c.at)).where(EVENTS.c.job_id == job.id)
            with api.store.read() as db:
                at = db.execute(newest).scalar()
            return float(at or job.created_at), api.jobs.eta_s(job)

        updated_at, eta_s = await run_in_threadpool(read)
        # A tool that ran and failed is a completed task with an error as its result, says the specification.
        status = {"queued": "working", "running": "working", "failed": "completed"}.get(job.status, job.status)
        shown: dict[str, Any] = {
            "taskId": job.id,
            "status": status,
            "createdAt": _iso(job.created_at),
            "lastUpdatedAt": _iso(updated_at),
            "ttlMs": None if job.expires_at is None else int(1000 * (job.expires_at - job.created_at)),
        }
        if not job.has_ended:
            shown["pollIntervalMs"] = int(1000 * min(10.0, max(1.0, (eta_s or 20.0) / 20)))
            shown["statusMessage"] = (
                "waiting" if job.status == "queued" else f"{job.stage or 'starting'}, {job.progress} %"
            )
        return shown


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
