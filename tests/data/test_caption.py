import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kinema.data.caption import CaptionConfig, caption_clip, prompt_text
from kinema.data.captioner import EndpointCaptioner
from kinema.data.store import Row
from kinema.errors import DataError, SpecError

FACTS = {"seconds": "2.0", "camera": "pan left", "motion": "0.10"}


class Endpoint:
    """A vision model behind HTTP that answers with the codes it is told, then with captions."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.content: Any = None
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.requests.append(body)
                endpoint.keys.append(self.headers["Authorization"])
                code = endpoint.codes.pop(0) if endpoint.codes else 200
                text = f"caption {len(endpoint.requests)}"
                usage = {"prompt_tokens": 1000, "completion_tokens": 20}
                message = {"content": endpoint.content(text) if endpoint.content else text}
                answer = json.dumps({"choices": [{"message": message}], "usage": usage}).encode()
                self.send_response(code)
                self.send_header("Retry-After", "0")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.server.shutdown()
    made.thread.join()
    made.server.server_close()


@pytest.fixture(scope="session")
def video(footage: Path) -> bytes:
    return (footage / "it's one.mp4").read_bytes()


def test_each_prompt_brings_a_caption_with_its_cost(
    endpoint: Endpoint, video: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "secret")
    config = CaptionConfig(
        endpoint=endpoint.url, model="m", key_env="SOME_KEY", pictures=3, price_in=2.0, price_out=5.0
    )
    row = caption_clip(video, FACTS, config)
    assert row["captions"] == ["caption 1", "caption 2"]
    assert row["caption"] == "caption 1"
    assert row["caption_cost"] == pytest.approx((2000 * 2 + 40 * 5) / 1e6)
    content = endpoint.requests[0]["messages"][0]["content"]
    assert [part["type"] for part in content] == ["text", "image_url", "image_url", "image_url"]
    assert "the camera is pan left" in content[0]["text"]
    assert "{" not in content[0]["text"]
    assert endpoint.keys == ["Bearer secret"] * 2


def test_a_busy_endpoint_is_asked_again(endpoint: Endpoint, video: bytes) -> None:
    endpoint.codes = [429, 503]
    config = CaptionConfig(endpoint=endpoint.url, model="m", prompts=("short",))
    assert caption_clip(video, FACTS, config)["caption"] == "caption 3"


def test_an_endpoint_that_stays_down_is_the_worlds_fault_and_a_refusal_the_clips(
    endpoint: Endpoint, video: bytes
) -> None:
    config = CaptionConfig(endpoint=endpoint.url, model="m", prompts=("short",), tries=2)
    endpoint.codes = [500, 500]
    with pytest.raises(ConnectionError, match="in 2 tries: 500"):
        caption_clip(video, FACTS, config)
    endpoint.codes = [400]
    with pytest.raises(DataError, match="refuses with 400"):
        caption_clip(video, FACTS, config)


def test_a_prompt_may_be_a_file_and_a_mistyped_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.md"
    path.write_text("Say it in French.\n")
    assert prompt_text(str(path)) == "Say it in French."
    with pytest.raises(SpecError, match="known: detailed, short"):
        prompt_text("shrt")
    with pytest.raises(SpecError, match=r"caption\.model"):
        CaptionConfig(endpoint="http://localhost")


def test_an_answer_in_parts_is_joined_and_one_without_text_is_no_caption(endpoint: Endpoint, video: bytes) -> None:
    config = CaptionConfig(endpoint=endpoint.url, model="m", prompts=("short",))
    endpoint.content = lambda text: [{"type": "text", "text": text}, {"type": "text", "text": " more"}]
    assert caption_clip(video, FACTS, config)["caption"] == "caption 1 more"
    endpoint.content = lambda text: None  # a refusal, or a model that only thought
    with pytest.raises(DataError, match="holds no caption"):
        caption_clip(video, FACTS, config)


def captioner(video: bytes, config: CaptionConfig) -> Callable[[], Row]:
    """Asks about a clip like any other, again and again."""
    asks = EndpointCaptioner(SimpleNamespace(bytes_of=lambda name: video), config)  # type: ignore[arg-type]
    clip = {"clip_id": "a", "start_s": 0.0, "end_s": 2.0, "camera": "static", "motion": 0.1}
    return lambda: asks((clip, []))


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_wrong_key_or_address_is_no_clips_fault_and_is_not_tried_for_each(
    endpoint: Endpoint, video: bytes, code: int
) -> None:
    ask = captioner(video, CaptionConfig(endpoint=endpoint.url, model="m", prompts=("short",)))
    endpoint.codes = [code]
    with pytest.raises(ConnectionError, match=f"refuses with {code}"):
        ask()
    with pytest.raises(ConnectionError, match=f"not asked: .* refuses with {code}"):
        ask()
    assert len(endpoint.requests) == 1


def test_an_endpoint_that_stays_silent_is_not_asked_about_all_clips(endpoint: Endpoint, video: bytes) -> None:
    ask = captioner(video, CaptionConfig(endpoint=endpoint.url, model="m", prompts=("short",), tries=1))
    endpoint.codes = [503] * 7 + [200] + [503] * 8
    ends = []
    for _ in range(17):
        try:
            ends.append(ask()["caption"])
        except ConnectionError as error:
            ends.append("not asked" if str(error).startswith("not asked") else "silent")
    assert ends == ["silent"] * 7 + ["caption 8"] + ["silent"] * 8 + ["not asked"]


def test_an_endpoint_is_an_address() -> None:
    with pytest.raises(SpecError, match="begins with http://"):
        CaptionConfig(endpoint="localhost:8000/v1", model="m")
