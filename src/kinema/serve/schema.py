"""What strangers send, checked: OpenAI's fields, and those of its peers as other names for ours."""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from kinema.serve.forms import Upload

EventType = Literal["video.completed", "video.failed", "video.cancelled"]

SORA_SIZES = ("1280x720", "720x1280", "1024x1792", "1792x1024", "1920x1080", "1080x1920")
IMAGE_SIZES = ("1024x1024", "1536x1024", "1024x1536", "512x512", "256x256")


CallbackUrl = Annotated[str | None, Field(min_length=1, max_length=2000)]
"""Where to tell how this one video ended."""


class Reference(BaseModel):
    """A picture or video that is here already, or stands in the request."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = None
    file_id: str | None = None
    image_url: str | dict[str, str] | None = None


class FrameImage(BaseModel):
    """A picture and which frame it is, in OpenRouter's words."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["image_url"] = "image_url"
    image_url: str | dict[str, str]
    frame_type: Literal["first_frame", "last_frame"] = "first_frame"


class StoryCard(BaseModel):
    """What a video shows from a second on: words, a picture at that time, or both."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    second: float = Field(gt=0)
    prompt: str | None = Field(None, min_length=1, max_length=32_000)
    image: Any = None


class KeyPicture(BaseModel):
    """A picture, and when it is shown."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    second: float = Field(ge=0)
    image: Any


class CreateVideo(BaseModel):
    """`POST /v1/videos`."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    prompt: str = Field(min_length=1, max_length=32_000)
    model: str | None = None
    seconds: float | None = Field(None, validation_alias=AliasChoices("seconds", "duration"), gt=0)
    size: str | None = Field(None, pattern=r"^\d{1,5}[xX]\d{1,5}$")
    aspect_ratio: str | None = Field(None, pattern=r"^[1-9]\d?:[1-9]\d?$")
    resolution: str | None = Field(None, pattern=r"^[1-9]\d{2,3}p$")
    input_reference: Any = Field(None, validation_alias=AliasChoices("input_reference", "image_reference"))
    last_image: Any = Field(None, validation_alias=AliasChoices("last_image", "last_frame"))
    storyboard: list[StoryCard] | None = Field(None, min_length=1, max_length=50)
    key_frames: list[KeyPicture] | None = Field(None, min_length=1, max_length=50)
    fit: Literal["crop", "pad", "stretch"] | None = None
    seed: int | None = None
    negative_prompt: str | None = Field(None, validation_alias=AliasChoices("negative_prompt", "negative"))
    fps: float | None = None
    frames: int | None = Field(None, validation_alias=AliasChoices("num_frames", "frames"))
    width: int | None = None
    height: int | None = None
    steps: int | None = Field(None, validation_alias=AliasChoices("num_inference_steps", "steps"))
    guidance: float | None = Field(None, validation_alias=AliasChoices("guidance_scale", "true_cfg_scale", "guidance"))
    guidance_low: float | None = Field(None, validation_alias=AliasChoices("guidance_scale_2", "guidance_low"))
    step_cache: float | None = None
    enable_teacache: bool = False
    solver: str | None = None
    shift: float | None = Field(None, validation_alias=AliasChoices("flow_shift", "shift"))
    priority: Literal["low", "normal"] = "normal"
    moderation: Literal["auto", "low"] = "auto"
    frame_images: list[FrameImage] | None = Field(None, max_length=2)
    n: Literal[1] = 1
    generate_audio: bool = Field(False, validation_alias=AliasChoices("generate_audio", "generate_sound"))
    enable_frame_interpolation: bool = False
    user: Any = None
    safety_identifier: Any = None
    session_id: Any = None
    metadata: Any = None
    characters: Any = None
    callback_url: CallbackUrl = None


class ChangeVideo(BaseModel):
    """`POST /v1/videos/{id}/remix`: the same again with other words."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    prompt: str = Field(min_length=1, max_length=32_000)
    video: Any = None
    model: str | None = None
    seed: int | None = None
    moderation: Literal["auto", "low"] = "auto"
    callback_url: CallbackUrl = None


class ExtendVideo(ChangeVideo):
    """`POST /v1/videos/extensions`."""

    seconds: float = Field(gt=0)
    direction: Literal["forward", "backward"] = "forward"


Strength = Annotated[float, Field(gt=0, le=1)]
Second = Annotated[float, Field(ge=0)]


class _Wish(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class WishRemix(_Wish):
    """Make the video anew: what is where stays, what it is follows the prompt."""

    kind: Literal["remix"] = "remix"
    strength: Strength = 0.7


class WishVary(_Wish):
    """Make another take of the video."""

    kind: Literal["vary"]
    strength: Strength = 0.4


class WishReplace(_Wish):
    """Make a span of time, a region, or both anew; nothing else changes."""

    kind: Literal["replace"]
    start: Second | None = None
    end: Second | None = None
    box: Annotated[list[int], Field(min_length=4, max_length=4)] | None = None
    mask: Any = None
    strength: Strength = 1.0


class WishLoop(_Wish):
    """Add an end that leads back to the beginning."""

    kind: Literal["loop"]
    seconds: float = Field(gt=0)


class WishBlend(_Wish):
    """Let the video turn into another one."""

    kind: Literal["blend"]
    other: Any
    seconds: float = Field(gt=0)
    strength: Strength = 0.7


class WishedCut(_Wish):
    """A part of a video, or all of it."""

    video: Any = None
    start: Second | None = None
    end: Second | None = None


class WishJoin(_Wish):
    """Play parts of videos one after the other."""

    kind: Literal["join"]
    cuts: list[WishedCut] = Field(min_length=1, max_length=50)


Wish = Annotated[WishRemix | WishVary | WishReplace | WishLoop | WishBlend | WishJoin, Field(discriminator="kind")]


class EditVideo(ChangeVideo):
    """`POST /v1/videos/edits`: the video made anew by the prompt, unless `edit` says what else is to be done to it."""

    edit: Wish = Field(default_factory=WishRemix)


class NewImage(BaseModel):
    """`POST /v1/images/generations`. `quality`, `style` and `input_fidelity` are known and change nothing."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    prompt: str = Field(min_length=1, max_length=32_000)
    model: str | None = None
    n: int = Field(1, ge=1, le=10)
    size: str | None = Field(None, pattern=r"^(auto|\d{1,5}[xX]\d{1,5})$")
    response_format: Literal["url", "b64_json"] = "b64_json"
    output_format: Literal["png", "jpeg", "webp"] = "png"
    output_compression: int | None = Field(None, ge=0, le=100)
    background: Literal["auto", "opaque"] = "auto"
    moderation: Literal["auto", "low"] = "auto"
    stream: bool = False
    partial_images: int = Field(0, ge=0, le=3)
    seed: int | None = None
    negative_prompt: str | None = None
    steps: int | None = Field(None, validation_alias=AliasChoices("num_inference_steps", "steps"))
    guidance: float | None = Field(None, validation_alias=AliasChoices("guidance_scale", "guidance"))
    quality: Any = None
    style: Any = None
    user: Any = None
    safety_identifier: Any = None


class EditImage(NewImage):
    """`POST /v1/images/edits`."""

    image: Any
    input_fidelity: Any = None


class ChatMessage(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="ignore")

    role: str
    content: str | list[dict[str, Any]] | None = None


class NewChat(BaseModel):
    """`POST /v1/chat/completions`; what only language models know, such as `temperature`, is passed over."""

    model_config = ConfigDict(extra="ignore")

    messages: list[ChatMessage] = Field(min_length=1, max_length=1000)
    model: str | None = None
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    seconds: float | None = Field(None, gt=0)
    size: str | None = None
    seed: int | None = None


class ModeratedPart(BaseModel):
    """A part of a mixed input."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text", "image_url"]
    text: str | None = Field(None, max_length=100_000)
    image_url: Any = None


class ExpiresAfter(BaseModel):
    """When an uploaded file goes by itself."""

    model_config = ConfigDict(extra="forbid")

    anchor: Literal["created_at"]
    seconds: int = Field(ge=3600, le=2_592_000)


class NewFile(BaseModel):
    """`POST /v1/files`."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    file: Upload
    purpose: Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
    expires_after: ExpiresAfter | None = None


class CheckFile(BaseModel):
    """`POST /v1/content_provenance_checks`."""

    model_config = ConfigDict(extra="allow", arbitrary_types_allowed=True)

    file: Upload


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

    input: (
        Annotated[str, Field(max_length=1_000_000)]
        | Annotated[list[Annotated[str, Field(max_length=100_000)]], Field(max_length=100)]
        | Annotated[list[ModeratedPart], Field(max_length=100)]
    )
    model: str | None = None
