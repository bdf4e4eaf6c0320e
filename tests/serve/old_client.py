"""What the installed openai package can do with videos, and all else that is served; run by test_client_versions.py."""

import asyncio
import base64
import http.server
import inspect
import queue
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import openai

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAYklEQVR4nO3PMQ0AIADAMEAI/qUgCxEcDcmqYJtn7/GzpQNeNaA1"
    "oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaBdQ3UBhOjh6FcAAAAASUVORK5CYII="
)

warnings.simplefilter("ignore", DeprecationWarning)


def refusal(call: Callable[[], Any]) -> openai.APIStatusError:
    try:
        call()
    except openai.APIStatusError as error:
        return error
    raise AssertionError("this was to be refused")


def use(url: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    videos = client.videos
    made = videos.create_and_poll(
        prompt="a red ball", model="sora-2", seconds="4", size="720x1280", poll_interval_ms=20,
        input_reference=("first.png", PNG, "image/png"),
    )  # fmt: skip
    assert (made.status, made.progress, made.seconds) == ("completed", 100, "4"), made
    assert videos.create(prompt="a red ball", extra_body={"seed": 7}).model_extra["seed"] == 7
    assert len(videos.download_content(made.id).read()) == 2048
    assert videos.download_content(made.id, variant="thumbnail").read() == b"thumbnail"
    remixed = videos.remix(made.id, prompt="a blue ball")
    assert remixed.remixed_from_video_id == made.id
    assert videos.poll(remixed.id, poll_interval_ms=20).status == "completed"
    source: dict[str, Any] = {"extra_body": {"video": {"id": made.id}}}
    if hasattr(videos, "edit"):
        assert videos.edit(prompt="at night", video=openai.omit, **source).status == "queued"
        assert videos.extend(prompt="on", seconds="8", video=openai.omit, **source).seconds == "8"
    assert made.id in [video.id for video in videos.list(limit=1)]
    assert videos.retrieve(made.id).id == made.id
    assert videos.delete(made.id).deleted
    if hasattr(videos, "create_character"):
        assert refusal(lambda: videos.create_character(name="Mia", video=PNG)).code == "unsupported"
        assert refusal(lambda: videos.get_character("char_1")).code == "not_found"
    missing = refusal(lambda: videos.retrieve(made.id))
    assert (missing.code, bool(missing.request_id)) == ("not_found", True)
    use_the_rest(client)
    use_webhooks(client)


def use_the_rest(client: openai.OpenAI) -> None:
    picture = client.images.generate(prompt="a red ball", n=2)
    assert picture.data is not None
    assert [base64.b64decode(image.b64_json or "") for image in picture.data] == [PNG, PNG]
    assert client.images.edit(image=("a.png", PNG, "image/png"), prompt="blue").data
    if "stream" in inspect.signature(client.images.generate).parameters:
        events = list(client.images.generate(prompt="x", stream=True, partial_images=1))
        assert [event.type for event in events] == ["image_generation.completed"]
    judged = client.moderations.create(input=["a red ball", "a nude"])
    assert [result.flagged for result in judged.results] == [False, True]
    assert refusal(lambda: client.videos.create(prompt="a nude")).code == "moderation_blocked"
    file = client.files.create(file=("a.png", PNG, "image/png"), purpose="vision")
    assert client.files.content(file.id).read() == PNG
    assert [each.id for each in client.files.list()] == [file.id]
    assert client.files.delete(file.id).deleted
    said = client.chat.completions.create(
        model="mini", messages=[{"role": "user", "content": "a red ball"}], stream=True
    )
    assert "Watch the video" in "".join(chunk.choices[0].delta.content or "" for chunk in said)
    assert {"mini", "sora-2"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("sora-2").id == "sora-2"


def use_webhooks(client: openai.OpenAI) -> None:
    came: queue.Queue[tuple[Any, bytes]] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.put((self.headers, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    wanted = {"name": "a", "url": f"http://127.0.0.1:{server.server_address[1]}/", "event_types": ["video.completed"]}
    hook: Any = client.post("/webhook_endpoints", body=wanted, cast_to=object)
    made = client.videos.create(prompt="a red ball")
    headers, body = came.get(timeout=120)
    event: Any = client.webhooks.unwrap(body, dict(headers), secret=hook["signing_secret"])
    assert (event.type, event.data.id) == ("video.completed", made.id)
    try:
        client.webhooks.verify_signature(body + b" ", dict(headers), secret=hook["signing_secret"])
        raise AssertionError("a forged message was taken")
    except openai.InvalidWebhookSignatureError:
        pass
    server.shutdown()
    server.server_close()


async def use_async(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        made = await client.videos.create_and_poll(prompt="a red ball", poll_interval_ms=20)
        assert (await client.videos.download_content(made.id)).content[:3] == b"\x00\x01\x02"
        assert (await client.videos.remix(made.id, prompt="x")).remixed_from_video_id == made.id
        assert made.id in [video.id async for video in client.videos.list(limit=2)]
        assert (await client.videos.retrieve(made.id)).id == made.id
        source: dict[str, Any] = {"extra_body": {"video": {"id": made.id}}}
        if hasattr(client.videos, "edit"):
            edited = await client.videos.edit(prompt="at night", video=openai.omit, **source)
            extended = await client.videos.extend(prompt="on", seconds="8", video=openai.omit, **source)
            assert (await client.videos.poll(edited.id, poll_interval_ms=20)).status == "completed"
            assert (await client.videos.poll(extended.id, poll_interval_ms=20)).seconds == "8"
        assert (await client.videos.delete(made.id)).deleted
        assert (await client.images.generate(prompt="a red ball")).data
        assert (await client.images.edit(image=("a.png", PNG, "image/png"), prompt="blue")).data
        assert (await client.moderations.create(input="a nude")).results[0].flagged
        file = await client.files.create(file=("a.png", PNG, "image/png"), purpose="vision")
        assert (await client.files.delete(file.id)).deleted


if __name__ == "__main__":
    use(sys.argv[1])
    asyncio.run(use_async(sys.argv[1]))
    sys.stdout.write(openai.__version__)
