"""Every method of `client.videos` that the installed openai package has; run by test_client_versions.py."""

import asyncio
import sys
import warnings
from typing import Any

import openai

warnings.simplefilter("ignore", DeprecationWarning)


def use(url: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    videos = client.videos
    made = videos.create_and_poll(
        prompt="a red ball", model="sora-2", seconds="4", size="720x1280", poll_interval_ms=20,
        input_reference=("first.png", b"\x89PNG\r\n\x1a\n" + bytes(32), "image/png"),
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
    missing: openai.NotFoundError | None = None
    try:
        videos.retrieve(made.id)
    except openai.NotFoundError as error:
        missing = error
    assert missing is not None
    assert (missing.code, bool(missing.request_id)) == ("not_found", True)


async def use_async(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        made = await client.videos.create_and_poll(prompt="a red ball", poll_interval_ms=20)
        assert (await client.videos.download_content(made.id)).content[:3] == b"\x00\x01\x02"
        assert (await client.videos.remix(made.id, prompt="x")).remixed_from_video_id == made.id
        assert made.id in [video.id async for video in client.videos.list(limit=2)]
        assert (await client.videos.delete(made.id)).deleted


if __name__ == "__main__":
    use(sys.argv[1])
    asyncio.run(use_async(sys.argv[1]))
    sys.stdout.write(openai.__version__)
