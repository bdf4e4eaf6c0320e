"""What strangers send, checked: OpenAI's fields, and those of its peers as other names for ours."""

from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

EventType = Literal["video.completed", "video.failed", "video.cancelled"]

SORA_SIZES = ("1280x720", "720x1280", "1024x1792", "1792x1024", "1920x1080", "1080x1920")


class Reference(BaseModel):
    """A picture or video that is here already, or stands in the request."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = None
    file_id: str | None = None
    image_url: str | None = None


class CreateVideo(BaseModel):
    """`POST /v1/videos`."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    prompt: str = Field(min_length=1, max_length=32_000)
    model: str | None = None
    seconds: float | None = Field(None, validation_alias=AliasChoices("seconds", "duration"), gt=0)
    size: str | None = Field(None, pattern=r"^\d{1,5}[xX]\d{1,5}$")
    input_reference: Any = Field(None, validation_alias=AliasChoices("input_reference", "image_reference"))
    seed: int | None = None
    negative_prompt: str | None = Field(None, validation_alias=AliasChoices("negative_prompt", "negative"))
    fps: float | None = None
    frames: int | None = Field(None, validation_alias=AliasChoices("num_frames", "frames"))
    width: int | None = None
    height: int | None = None
    steps: int | None = Field(None, validation_alias=AliasChoices("num_inference_steps", "steps"))
    guidance: float | None = Field(None, validation_alias=AliasChoices("guidance_scale", "guidance"))
    solver: str | None = None
    shift: float | None = Field(None, validation_alias=AliasChoices("flow_shift", "shift"))
    priority: Literal["low", "normal"] = "normal"
    moderation: Literal["auto", "low"] = "auto"
    user: Any = None
    safety_identifier: Any = None
    metadata: Any = None
    characters: Any = None


class ChangeVideo(BaseModel):
    """`POST /v1/videos/{id}/remix` and `/v1/videos/edits`: the same again with other words."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    prompt: str = Field(min_length=1, max_length=32_000)
    video: Any = None
    model: str | None = None
    seed: int | None = None
    moderation: Literal["auto", "low"] = "auto"


class ExtendVideo(ChangeVideo):
    """`POST /v1/videos/extensions`."""

    seconds: float = Field(gt=0)


class ModeratedPart(BaseModel):
    """A part of a mixed input."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: Any = None


class NewWebhook(BaseModel):
    """`POST /v1/webhook_endpoints`."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(min_length=1, max_length=2000)
    event_types: list[EventType] = Field(min_length=1, max_length=10)
    name: str = Field(min_length=1, max_length=255)


class UpdateWebhook(BaseModel):
    """`POST /v1/webhook_endpoints/{id}`."""

    model_config = ConfigDict(extra="forbid")

    url: str | None = Field(None, min_length=1, max_length=2000)
    event_types: list[EventType] | None = Field(None, min_length=1, max_length=10)
    name: str | None = Field(None, min_length=1, max_length=255)


class RotateSecret(BaseModel):
    """`POST /v1/webhook_endpoints/{id}/rotate_secret`."""

    model_config = ConfigDict(extra="forbid")

    keep_old_secret_active_for_24_hours: bool = False


class TestWebhook(BaseModel):
    """`POST /v1/webhook_endpoints/{id}/test`."""

    __test__ = False
    model_config = ConfigDict(extra="forbid")

    event_type: EventType


class Moderate(BaseModel):
    """`POST /v1/moderations`."""

    model_config = ConfigDict(extra="forbid")

    input: str | list[str] | list[ModeratedPart]
    model: str | None = None
