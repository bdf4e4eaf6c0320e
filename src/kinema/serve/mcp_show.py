"""A video as an agent sees it: a line to read, a link to the file, a thumbnail, and the same as data."""

import base64
from dataclasses import dataclass
from typing import Any

from mcp_types import CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent
from pydantic import BaseModel, ConfigDict, Field

from kinema.serve.api import Api
from kinema.serve.api_videos import show_video
from kinema.serve.job import Job


class ShownVideo(BaseModel):
    """A video, or how far it is."""

    model_config = ConfigDict(extra="allow")

    id: str
    status: str = Field(description="queued, in_progress, completed or failed")
    progress: int = Field(description="Percent.")
    prompt: str
    model: str
    seconds: str
    size: str
    seed: int | None = None
    eta_s: float | None = Field(None, description="Seconds until it is done, as far as that is known.")
    queue_position: int | None = Field(None, description="How many videos stand before it.")
    error: dict[str, Any] | None = None
    url: str | None = Field(None, description="Where the finished video is, over HTTP.")
    file: str | None = Field(None, description="Where the finished video is, on this machine.")


@dataclass(frozen=True, kw_only=True)
class Showing:
    """How videos are shown to one agent."""

    api: Api
    base_url: str | None = None
    """Under which address the agent reaches the API; None over stdio."""
    is_local: bool = False
    """Whether the agent runs on this machine for the same person, so that a path means the same to both."""

    def data(self, job: Job) -> dict[str, Any]:
        """A video as data."""
        shown = show_video(self.api, job)
        if job.result is not None:
            if self.base_url is not None:
                shown["url"] = f"{self.base_url.rstrip('/')}/v1/videos/{job.id}/content"
            path = self.api.artefacts.local_path(job.result.artefacts["video"].name) if self.is_local else None
            if path is not None:
                shown["file"] = str(path)
        return ShownVideo.model_validate(shown).model_dump(mode="json", exclude_none=True)

    def result(self, job: Job) -> CallToolResult:
        """A video as the result of a tool; one that failed is an error that says why."""
        data = self.data(job)
        content: list[ContentBlock] = [TextContent(text=_line(job, data))]
        if job.result is not None:
            video, thumbnail = job.result.artefacts["video"], job.result.artefacts["thumbnail"]
            content.append(
                ResourceLink(
                    name=f"{job.id}.mp4",
                    title=job.spec.prompt[:120],
                    uri=f"video://{job.id}/video.mp4",
                    mime_type=video.media_type,
                    size=video.num_bytes,
                )
            )
            picture = base64.b64encode(self.api.artefacts.read(thumbnail.name)).decode()
            content.append(ImageContent(data=picture, mime_type=thumbnail.media_type))
        return CallToolResult(content=content, structured_content=data, is_error=job.status == "failed")


def _line(job: Job, data: dict[str, Any]) -> str:
    what = f'{job.id}, "{job.spec.prompt[:200]}"'
    if job.status == "completed":
        where = data.get("file") or data.get("url") or f"video://{job.id}/video.mp4"
        return f"{what} is ready: {data['seconds']} s, {data['size']}, seed {data.get('seed')}. It is at {where}"
    if job.status == "failed":
        return f"{what} failed: {job.error_message}"
    if job.status == "cancelled":
        return f"{what} was cancelled."
    eta_s = data.get("eta_s")
    left = "" if eta_s is None else f", about {max(1, round(eta_s))} s left"
    if job.status == "queued":
        state = f"waits behind {data['queue_position']} others" if data.get("queue_position") else "is next in line"
    else:
        state = f"is at {job.progress} %"
    return f"{what} {state}{left}. Ask get_video for it later, with wait_s to wait."
