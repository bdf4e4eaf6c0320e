"""Stage 5: what each clip shows, in words: from sidecar files, an OpenAI-style API, or a model of transformers."""

import base64
import http.client
import io
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from kinema.data.frames import Times, pick_pictures
from kinema.errors import DataError, SpecError
from kinema.media import Frame

VERSION = 1
"""Raised when the same request would be asked differently."""

COLUMNS = pa.schema(
    [
        pa.field("caption", pa.string()),
        pa.field("captions", pa.list_(pa.string())),
        pa.field("caption_source", pa.string()),
        pa.field("caption_tokens_in", pa.int64()),
        pa.field("caption_tokens_out", pa.int64()),
        pa.field("caption_cost", pa.float64()),
    ]
)
"""`caption` is the main one, `captions` all of them; tokens and cost are what the endpoint counted and charges."""

PROMPTS = Path(__file__).with_name("prompts")
_PICTURE_PX = 512
_REFUSES_ALL = (401, 402, 403, 404, 405)
"""Codes that speak of the key, the account, the model's name or the address: they say nothing of a clip."""


class EndpointError(ConnectionError):
    """The endpoint would refuse every other clip too."""


@dataclass(frozen=True, kw_only=True)
class CaptionConfig:
    """Who writes the captions."""

    endpoint: str | None = None
    """Address of an OpenAI-compatible API, such as http://localhost:8000/v1."""
    model: str = ""
    """Name of the vision model there; without an endpoint, folder or hub id of one that transformers runs here.
    Without either, captions come from sidecar files only."""
    prompts: tuple[str, ...] = ("detailed", "short")
    """Prompts to ask with, one caption each, the first being the main one: names, or paths of .md files."""
    pictures: int = 4
    """Pictures of the clip that the model sees."""
    key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key, if the endpoint wants one."""
    parallel: int = 4
    """Requests at a time."""
    batch: int = 4
    """Clips at a time that a model on this machine looks at."""
    max_tokens: int = 256
    """Longest caption of a model on this machine."""
    device: str = "cpu"
    """Where it runs."""
    tries: int = 4
    """Attempts for a request that the endpoint is too busy for."""
    timeout_s: float = 120.0
    """Time for one answer."""
    price_in: float = 0.0
    """Price of a million tokens read."""
    price_out: float = 0.0
    """Price of a million tokens written."""
    max_cost: float | None = None
    """The run stops asking when its captions have cost this much."""

    def __post_init__(self) -> None:
        if self.endpoint is not None and not self.model:
            raise SpecError("caption.endpoint needs caption.model, the name of the model there")
        if self.endpoint is not None and not self.endpoint.startswith(("http://", "https://")):
            raise SpecError(f"caption.endpoint={self.endpoint!r} is no address; it begins with http:// or https://")
        counts = (len(self.prompts), self.pictures, self.parallel, self.tries, self.batch, self.max_tokens)
        if min(counts) < 1:
            raise SpecError("caption takes one prompt, picture, parallel request, try, clip and token, or more of each")

    @property
    def is_local(self) -> bool:
        """Whether a model on this machine is asked."""
        return self.endpoint is None and bool(self.model)


def prompt_text(name: str) -> str:
    """A prompt by name, or from a file; raises SpecError when there is none."""
    path = Path(name) if name.endswith(".md") else PROMPTS / f"{name}.md"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        known = ", ".join(sorted(each.stem for each in PROMPTS.glob("*.md")))
        raise SpecError(f"there is no prompt {name!r}; known: {known}, or the path of a .md file") from error


def filled_prompts(facts: dict[str, Any], config: CaptionConfig) -> list[str]:
    """The prompts of a clip: each `{fact}` in them is replaced by its value."""
    texts = []
    for text in map(prompt_text, config.prompts):
        for key, value in facts.items():
            text = text.replace("{" + key + "}", str(value))
        texts.append(text)
    return texts


def caption_clip(video: bytes, facts: dict[str, Any], config: CaptionConfig) -> dict[str, Any]:
    """Ask the endpoint for every caption of a clip and give the values of `COLUMNS`; `facts` fill the prompts.

    Raises ConnectionError when the endpoint is down, stays too busy or refuses whoever asks, and DataError when it
    refuses the clip.
    """
    pictures = [_jpeg(picture) for picture in clip_pictures(video, config.pictures)]
    images = [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
    captions, tokens_in, tokens_out = [], 0, 0
    for text in filled_prompts(facts, config):
        content = [{"type": "text", "text": text}, *images]
        answer = _ask({"model": config.model, "messages": [{"role": "user", "content": content}]}, config)
        try:
            captions.append(_said(answer["choices"][0]["message"]["content"]))
            usage = answer.get("usage") or {}
        except (KeyError, IndexError, TypeError):
            raise DataError(f"the endpoint's answer holds no caption: {str(answer)[:200]}") from None
        tokens_in += int(usage.get("prompt_tokens") or 0)
        tokens_out += int(usage.get("completion_tokens") or 0)
    return caption_row(captions, tokens_in, tokens_out, config)


def caption_row(captions: Sequence[str], tokens_in: int, tokens_out: int, config: CaptionConfig) -> dict[str, Any]:
    """The values of `COLUMNS` for captions that a model wrote; raises DataError for an empty one."""
    captions = [caption.strip() for caption in captions]
    if not all(captions):
        raise DataError("the model gave an empty caption")
    return {
        "caption": captions[0],
        "captions": captions,
        "caption_source": config.model,
        "caption_tokens_in": tokens_in,
        "caption_tokens_out": tokens_out,
        "caption_cost": (tokens_in * config.price_in + tokens_out * config.price_out) / 1e6,
    }


def clip_pictures(video: bytes, count: int, longer_side: int | None = _PICTURE_PX) -> list[Frame]:
    """Pictures "h w 3" from the middles of equal parts of a clip, of at most `longer_side` pixels a side."""

    def middles(times: Times) -> set[int]:
        return {int((k + 0.5) * len(times) / count) for k in range(count)}

    return list(pick_pictures(video, middles, lambda picture: picture.rgb(longer_side)).values())


def sidecar_row(captions: list[str]) -> dict[str, Any]:
    """The values of `COLUMNS` for captions that people wrote: they cost nothing."""
    return {
        "caption": captions[0],
        "captions": captions,
        "caption_source": "sidecar",
        "caption_tokens_in": 0,
        "caption_tokens_out": 0,
        "caption_cost": 0.0,
    }


def _jpeg(picture: Frame) -> str:
    """A picture as the address of its own JPEG data."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _said(content: Any) -> str:
    """The text of an answer, which may come in parts; raises TypeError for one that holds none."""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    if not isinstance(content, str):
        raise TypeError
    return content


def _ask(body: dict[str, Any], config: CaptionConfig) -> Any:
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(config.key_env):
        headers["Authorization"] = f"Bearer {key}"
    url = f"{str(config.endpoint).rstrip('/')}/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    problem = ""
    for attempt in range(config.tries):
        try:
            with urllib.request.urlopen(request, timeout=config.timeout_s) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            said = error.read().decode("utf-8", "replace")[:200]
            if error.code in _REFUSES_ALL:
                raise EndpointError(f"{url} refuses with {error.code}, whatever the clip: {said}") from error
            if error.code not in (408, 409, 429) and error.code < 500:
                raise DataError(f"{url} refuses with {error.code}: {said}") from error
            problem, wait_s = f"{error.code}: {said}", _wait_s(error.headers.get("Retry-After"), attempt)
        except (OSError, ValueError, http.client.HTTPException) as error:
            problem, wait_s = str(error) or type(error).__name__, _wait_s(None, attempt)
        if attempt + 1 < config.tries:
            time.sleep(wait_s)
    raise ConnectionError(f"{url} gave no answer in {config.tries} tries: {problem}")


def _wait_s(asked: str | None, attempt: int) -> float:
    """As long as the endpoint asks for, else twice as long each time."""
    try:
        return max(0.0, min(60.0, float(asked or "")))
    except ValueError:
        return float(min(30.0, 0.5 * 2**attempt))
