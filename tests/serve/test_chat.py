import asyncio
import re
from typing import Any

import openai
import pytest
from tests.serve.doubles import PNG, VIDEO, Place

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def _say(text: Any, *before: dict[str, Any]) -> dict[str, Any]:
    return {"model": "mini", "messages": [*before, {"role": "user", "content": text}]}


def _film(place: Place, text: str) -> bytes:
    found = re.search(r"\[Watch the video\]\((.+?)\)", text)
    assert found
    return place.http.get(found[1]).content


def test_a_chat_answers_with_a_video(place: Place) -> None:
    answer = place.client.chat.completions.create(**_say("a red ball"))
    choice = answer.choices[0]
    assert (choice.finish_reason, answer.object, answer.model) == ("stop", "chat.completion", "mini")
    assert _film(place, choice.message.content or "") == VIDEO


def test_a_chat_streams_how_far_the_video_is(place: Place) -> None:
    chunks = list(
        place.client.chat.completions.create(**_say("x"), stream=True, stream_options={"include_usage": True})
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert _film(place, text) == VIDEO
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_next_message_is_the_same_video_in_other_words(place: Place) -> None:
    first = place.client.chat.completions.create(**_say("a red ball", extra := {"role": "system", "content": "x"}))
    text = first.choices[0].message.content
    before = [extra, {"role": "user", "content": "a red ball"}, {"role": "assistant", "content": text}]
    place.client.chat.completions.create(**_say("a blue ball", *before))
    latest, original = place.client.videos.list().data
    assert latest.remixed_from_video_id == original.id
    assert latest.prompt == "a blue ball"
    stranger = {"role": "assistant", "content": f"video_{'0' * 32}"}
    place.client.chat.completions.create(**_say("a cone", stranger))
    assert place.client.videos.list().data[0].remixed_from_video_id is None


def test_a_picture_in_the_message_is_where_the_video_begins(place: Place) -> None:
    import base64

    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    parts = [{"type": "text", "text": "it rolls"}, {"type": "image_url", "image_url": {"url": url}}]
    place.client.chat.completions.create(**_say(parts), extra_body={"seconds": 1, "seed": 3})
    job = place.jobs.page()[0][0]
    assert (job.spec.prompt, job.spec.seed, job.spec.frames, job.spec.image is not None) == ("it rolls", 3, 9, True)


def test_the_asynchronous_client_chats(place: Place) -> None:
    async def use() -> None:
        async with openai.AsyncOpenAI(base_url=f"{place.running.url}/v1", api_key="none", max_retries=0) as client:
            stream = await client.chat.completions.create(**_say("x"), stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            assert "Watch the video" in text

    asyncio.run(use())


def test_chores_of_chat_programs_make_no_video(place: Place) -> None:
    answer = place.client.chat.completions.create(**_say("### Task:\nGenerate a title"))
    assert answer.choices[0].message.content == "{}"
    assert place.client.videos.list().data == []


@pytest.mark.parametrize(
    "messages",
    [[], [{"role": "assistant", "content": "x"}], [{"role": "user", "content": ""}], [{"role": "user", "content": []}],
     [{"role": "user", "content": "p0rn"}], [{"role": "user"}], [{}], "x"],
)  # fmt: skip
def test_a_conversation_without_a_wish_is_refused(place: Place, messages: Any) -> None:
    answer = place.http.post("/v1/chat/completions", json={"model": "mini", "messages": messages})
    assert answer.status_code == 400, answer.text


def test_a_video_that_failed_is_said_in_both_ways(place: Place) -> None:
    place.double.failure = "it burst"
    with pytest.raises(openai.InternalServerError, match="it burst"):
        place.client.chat.completions.create(**_say("x"))
    with pytest.raises(openai.APIError, match="it burst"):
        list(place.client.chat.completions.create(**_say("x"), stream=True))
