"""What agents can do here, as tools of the Model Context Protocol: ask for videos, follow, fetch and remove them."""

import asyncio
import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import sqlalchemy as sa
from fastapi.concurrency import run_in_threadpool
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceNotFoundError, ToolError
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field, ValidationError

import kinema
from kinema.errors import JobNotFound, KinemaError
from kinema.scratch import scratch_folder
from kinema.serve.api import Api, Caller
from kinema.serve.api_models import list_video_models
from kinema.serve.faults import Fault, as_fault
from kinema.serve.forms import Upload
from kinema.serve.job import Job, NewJob, Result
from kinema.serve.mcp_show import Showing, ShownVideo
from kinema.serve.mcp_tasks import Tasks, takes_tasks
from kinema.serve.schema import CreateVideo, EditVideo, ExtendVideo, StoryCard, WishLoop, WishRemix

T = TypeVar("T")

WAIT_S = 45.0
"""How long a tool waits for its video unless told otherwise: less than clients wait for a tool."""
LOOK_S = 0.3

_ABOUT = (
    "Makes videos from prompts on this machine. generate_video, edit_video, loop_video and extend_video wait a while "
    "for the video; when it takes longer they return its id, and get_video waits on. Nothing is lost meanwhile."
)

VideoId = Annotated[str, Field(description="The id of a video: video_...")]
Prompt = Annotated[str, Field(description="What to show, such as: a red ball rolls to the right")]
Seed = Annotated[int | None, Field(description="The same seed makes the same video again; without one, another.")]
WaitS = Annotated[float, Field(ge=0, le=3600, description="How many seconds to wait for it to be finished.")]


def make_mcp(api: Api, *, is_local: bool = False, need_worker: Callable[[], None] = lambda: None) -> MCPServer[Any]:
    """Make the server of tools; `is_local` when it talks to an agent of this machine's user over stdio.

    `need_worker` is called whenever somebody asks or waits for a video.
    """
    tools = Tools(api, is_local=is_local, need_worker=need_worker)
    with _logging_kept():
        server: MCPServer[Any] = MCPServer(
            "kinema", title="Kinema", version=kinema.__version__, instructions=_ABOUT, extensions=[Tasks(tools)]
        )
    changes = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
    removes = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)
    looks = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    for tool, title, hints in (
        (tools.generate_video, "Make a video", changes),
        (tools.edit_video, "Make a video anew by other words", changes),
        (tools.loop_video, "Let a video lead back to its beginning", changes),
        (tools.extend_video, "Go on where a video ends", changes),
        (tools.get_video, "Look at a video, or wait for it", looks),
        (tools.list_videos, "List videos", looks),
        (tools.cancel_video, "Stop making a video", removes),
        (tools.delete_video, "Delete a video", removes),
        (tools.list_models, "List models", looks),
        (tools.verify_video, "Verify the marks of a video", looks),
    ):
        server.add_tool(tool, title=title, annotations=hints)
    for name, kind, about in (
        ("video.mp4", "video/mp4", "A finished video."),
        ("thumbnail.webp", "image/webp", "A frame of a finished video."),
        ("spritesheet.jpg", "image/jpeg", "Frames of a finished video, side by side."),
    ):
        read = tools.reader(name.partition(".")[0])
        server.resource(f"video://{{video_id}}/{name}", name=name, mime_type=kind, description=about)(read)
    return server


class Tools:
    """The tools, over one server's queue."""

    def __init__(self, api: Api, *, is_local: bool, need_worker: Callable[[], None]) -> None:
        self.api = api
        self._is_local, self._need_worker = is_local, need_worker

    async def generate_video(
        self,
        ctx: Context[Any, Any],
        prompt: Prompt,
        model: Annotated[str | None, Field(description="One of list_models; without it, the first.")] = None,
        seconds: Annotated[float | None, Field(description="Length; without it, the model's.")] = None,
        size: Annotated[str | None, Field(description="WIDTHxHEIGHT in pixels; without it, the model's.")] = None,
        seed: Seed = None,
        negative_prompt: Annotated[str | None, Field(description="What to leave out.")] = None,
        first_image: Annotated[
            str | None, Field(description="A picture to start from: a data: URL, or a path on this machine.")
        ] = None,
        storyboard: Annotated[
            list[StoryCard] | None, Field(description="What else is shown from which second on, each with its prompt.")
        ] = None,
        wait_s: WaitS = WAIT_S,
    ) -> Annotated[CallToolResult, ShownVideo]:
        """Make a video from a prompt."""
        asked = {
            "prompt": prompt, "model": model, "seconds": seconds, "size": size, "seed": seed,
            "negative_prompt": negative_prompt,
        }  # fmt: skip

        def new(caller: Caller) -> NewJob:
            picture = None if first_image is None else self._picture(first_image)
            return self.api.desk.create(
                CreateVideo.model_validate(asked | {"input_reference": picture, "storyboard": storyboard}),
                caller.owner,
                caller.sees,
            )

        return await self._ask(ctx, new, wait_s)

    async def edit_video(
        self,
        ctx: Context[Any, Any],
        video_id: VideoId,
        prompt: Prompt,
        strength: Annotated[float, Field(gt=0, le=1, description="How much is made anew; 1 is everything.")] = 0.7,
        seed: Seed = None,
        wait_s: WaitS = WAIT_S,
    ) -> Annotated[CallToolResult, ShownVideo]:
        """Make a finished video anew by other words: what is where stays, what it is follows the prompt."""
        wish = WishRemix(strength=strength)
        return await self._edit(ctx, EditVideo(prompt=prompt, video=video_id, seed=seed, edit=wish), wait_s)

    async def loop_video(
        self,
        ctx: Context[Any, Any],
        video_id: VideoId,
        prompt: Prompt,
        seconds: Annotated[float, Field(gt=0, description="How long the way back to the beginning is.")] = 1.0,
        seed: Seed = None,
        wait_s: WaitS = WAIT_S,
    ) -> Annotated[CallToolResult, ShownVideo]:
        """Add an end to a finished video that leads back to its beginning, so that it can play round and round."""
        wish = WishLoop(kind="loop", seconds=seconds)
        return await self._edit(ctx, EditVideo(prompt=prompt, video=video_id, seed=seed, edit=wish), wait_s)

    async def extend_video(
        self,
        ctx: Context[Any, Any],
        video_id: VideoId,
        prompt: Prompt,
        seconds: Annotated[float, Field(gt=0, description="The length of the whole, old and new together.")],
        direction: Annotated[
            Literal["forward", "backward"], Field(description="After its end, or before its beginning.")
        ] = "forward",
        seed: Seed = None,
        wait_s: WaitS = WAIT_S,
    ) -> Annotated[CallToolResult, ShownVideo]:
        """Make a new video that holds a finished one and goes on from its last frames, or leads to its first ones."""
        asked = ExtendVideo(prompt=prompt, video=video_id, seconds=seconds, seed=seed, direction=direction)
        return await self._ask(ctx, lambda caller: self.api.desk.extend(asked, caller.owner, caller.sees), wait_s)

    async def _edit(self, ctx: Context[Any, Any], asked: EditVideo, wait_s: float) -> CallToolResult:
        return await self._ask(ctx, lambda caller: self.api.desk.edit(asked, caller.owner, caller.sees), wait_s)

    async def get_video(
        self, ctx: Context[Any, Any], video_id: VideoId, wait_s: WaitS = 0.0
    ) -> Annotated[CallToolResult, ShownVideo]:
        """Look at a video, and fetch it when it is finished."""
        caller = self.caller(ctx.headers)
        return await self._wait(ctx, caller, video_id, wait_s)

    async def list_videos(
        self,
        ctx: Context[Any, Any],
        limit: Annotated[int, Field(ge=1, le=100)] = 20,
        after: Annotated[str | None, Field(description="The last id of the page before.")] = None,
    ) -> dict[str, Any]:
        """List videos, newest first."""
        caller, showing = self.caller(ctx.headers), self.showing(ctx)

        def work() -> dict[str, Any]:
            jobs, has_more = self.api.jobs.page(caller.sees, after=after, limit=limit)
            return {"videos": [showing.data(job) for job in jobs], "has_more": has_more}

        return await _said(work)

    async def cancel_video(self, ctx: Context[Any, Any], video_id: VideoId) -> Annotated[CallToolResult, ShownVideo]:
        """Stop a video at its next step; one that has ended stays as it is."""
        caller, showing = self.caller(ctx.headers, writes=True), self.showing(ctx)
        return await _said(lambda: showing.result(self.api.jobs.cancel(video_id, caller.sees)))

    async def delete_video(self, ctx: Context[Any, Any], video_id: VideoId) -> CallToolResult:
        """Remove a video and its files for good, and stop making it if it is not finished."""
        caller = self.caller(ctx.headers, writes=True)
        await _said(lambda: self.api.jobs.delete(video_id, caller.sees))
        return CallToolResult(content=[TextContent(text=f"{video_id} is deleted.")])

    async def list_models(self, ctx: Context[Any, Any]) -> dict[str, Any]:
        """List the models, with the sizes, lengths and inputs of each."""
        caller = self.caller(ctx.headers)
        return {"models": (await _said(lambda: list_video_models(self.api, caller)))["data"]}

    async def verify_video(self, ctx: Context[Any, Any], video_id: VideoId) -> dict[str, Any]:
        """Say which marks of origin a finished video carries, and what each of them rests on."""
        caller = self.caller(ctx.headers)

        def work() -> dict[str, Any]:
            from kinema.provenance.proof import NO_PROOF
            from kinema.provenance.verify import verify

            artefact = self._finished(video_id, caller).artefacts["video"]
            with scratch_folder() as folder:
                found = verify(self.api.artefacts.fetch(artefact.name, folder / "video.mp4"))
            marks = [
                {"kind": mark.kind, "outcome": mark.outcome, "says": mark.says, "rests_on": mark.rests_on}
                for mark in found.marks
            ]
            return {
                "id": video_id, "is_marked": found.is_marked, "is_broken": found.is_broken, "marks": marks,
                "contradictions": list(found.contradictions), "note": NO_PROOF,
            }  # fmt: skip

        return await _said(work)

    def reader(self, variant: str) -> Callable[..., Any]:
        """The function that reads one file of a video, as a resource."""

        async def read(video_id: str, ctx: Context[Any, Any]) -> bytes:
            caller = self.caller(ctx.headers)

            def work() -> bytes:
                return self.api.artefacts.read(self._finished(video_id, caller).artefacts[variant].name)

            try:
                return await _said(work)
            except ToolError as error:
                raise ResourceNotFoundError(str(error)) from None

        return read

    def caller(self, headers: Any, *, writes: bool = False) -> Caller:
        """Who asks, by the key in their headers; over stdio, whoever started this. Raises ToolError."""
        keys = self.api.keys
        if headers is None or not keys.keys:
            return Caller(owner="", sees=None, key=None)
        key = keys.find(headers.get("authorization", "").partition(" ")[2].strip())
        if key is None:
            raise ToolError("this server wants an API key: Authorization: Bearer sk-...")
        if writes and not key.can_write:
            raise ToolError(f"the key {key.name!r} may look, but not change anything")
        return Caller(owner=key.name, sees=key.name, key=key)

    def showing(self, ctx: Any) -> Showing:
        """How videos are shown to the one who asks (`ctx`: anything that has the `request`)."""
        request = ctx.request_context.request if isinstance(ctx, Context) else ctx.request
        base_url = None if request is None else str(request.base_url)
        return Showing(api=self.api, base_url=base_url, is_local=self._is_local)

    async def _ask(self, ctx: Context[Any, Any], new: Callable[[Caller], NewJob], wait_s: float) -> CallToolResult:
        caller = self.caller(ctx.headers, writes=True)
        job = await _said(lambda: self._submit(new(caller), caller))
        return await self._wait(ctx, caller, job.id, 0.0 if takes_tasks(ctx.request_context) else wait_s)

    def _finished(self, video_id: str, caller: Caller) -> Result:
        job = self.api.jobs.get(video_id, caller.sees)
        if job.result is None:
            raise Fault(400, f"{video_id} is {job.status}; ask once it is completed", code="video_not_ready")
        return job.result

    def _submit(self, new: NewJob, caller: Caller) -> Job:
        limits = caller.key.limits if caller.key else self.api.settings.limits
        if caller.key:
            new = dataclasses.replace(new, priority=new.priority + caller.key.priority)
        return self.api.jobs.submit(new, limits)[0]

    async def _wait(self, ctx: Context[Any, Any], caller: Caller, video_id: str, wait_s: float) -> CallToolResult:
        """Wait for a video, telling how far it is; the job goes on whether anybody waits or not."""
        deadline, told = time.monotonic() + wait_s, ""
        while True:
            job = await _said(lambda: self.api.jobs.get(video_id, caller.sees))
            if not job.has_ended:
                await run_in_threadpool(self._need_worker)
            state = "waiting" if job.status == "queued" else job.stage or "starting"
            if wait_s and f"{state} {job.progress}" != told:
                told = f"{state} {job.progress}"
                await ctx.report_progress(job.progress, 100, f"{state}, {job.progress} %")
            if job.has_ended or time.monotonic() >= deadline:
                return await _said(functools.partial(self.showing(ctx).result, job))
            await asyncio.sleep(min(LOOK_S, max(0.0, deadline - time.monotonic())))

    def _picture(self, first_image: str) -> Any:
        if first_image.startswith("data:") or not self._is_local:
            return {"image_url": first_image}
        path, most = Path(first_image).expanduser(), self.api.settings.max_upload_bytes
        try:
            if path.stat().st_size > most:
                raise ToolError(f"first_image {first_image} is larger than {most} bytes")
            return Upload(content=path.read_bytes())
        except OSError as error:
            raise ToolError(f"first_image {first_image} cannot be read: {error.strerror}") from None


@contextlib.contextmanager
def _logging_kept() -> Iterator[None]:
    """Keep the logging of the process as it is: the SDK sets it up anew, which is not its business here."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn every refusal of the server into one line for the agent."""
    try:
        yield
    except JobNotFound as error:
        what = str(error).partition(";")[0]  # what follows is said to those who speak HTTP
        raise ToolError(f"{what}; list_videos says which there are") from None
    except (Fault, KinemaError, ValidationError, sa.exc.OperationalError) as error:
        raise ToolError(as_fault(error).message) from None


async def _said(work: Callable[[], T]) -> T:
    with _told():
        return await run_in_threadpool(work)
