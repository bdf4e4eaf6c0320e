import asyncio
import base64
import io
import threading
import time
from typing import Any

import openai
import pytest
from PIL import Image
from tests.serve.doubles import PNG, Place

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PREVIEW = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


def _open(content: str | None) -> Image.Image:
    assert content is not None
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_the_official_client_makes_pictures(place: Place) -> None:
    made = place.client.images.generate(prompt="a red ball", n=2, size="1024x1024", extra_body={"seed": 5})
    assert made.data is not None
    assert [image.model_extra["seed"] for image in made.data] == [5, 6]  # type: ignore[index]
    with _open(made.data[0].b64_json) as image:
        assert (image.format, image.size) == ("PNG", (64, 64))
    job = place.jobs.get(made.data[0].model_extra["id"])  # type: ignore[index]
    assert (job.spec.frames, job.spec.prompt) == (1, "a red ball")
    assert place.client.videos.list().data == []  # they are no videos


@pytest.mark.parametrize("form", ["jpeg", "webp"])
def test_pictures_come_in_the_format_that_was_asked_for(place: Place, form: Any) -> None:
    made = place.client.images.generate(prompt="x", output_format=form, output_compression=50)
    assert made.data is not None
    with _open(made.data[0].b64_json) as image:
        assert image.format == form.upper()


def test_a_picture_comes_as_a_link_that_needs_no_key(place: Place) -> None:
    made = place.client.images.generate(prompt="x", response_format="url")
    assert made.data is not None
    assert place.http.get(str(made.data[0].url)).content == PNG


def test_an_edit_is_where_a_video_from_the_picture_ends(place: Place) -> None:
    made = place.client.images.edit(image=("a.png", PNG, "image/png"), prompt="the ball is blue")
    assert made.data is not None
    job = place.jobs.get(made.data[0].model_extra["id"])  # type: ignore[index]
    assert (job.kind, job.spec.frames, job.spec.image is not None) == ("image", 17, True)


def test_pictures_stream_as_they_come_to_be(place: Place) -> None:
    place.double.preview = PREVIEW
    seen = []
    for event in place.client.images.generate(prompt="x", stream=True, partial_images=2):
        seen.append(event.type)
        place.double.shown.set()
        with _open(event.b64_json) as image:
            assert image.size == (64, 64)
    assert seen == ["image_generation.partial_image", "image_generation.completed"]
    with open_stream(place) as events:
        assert [event.type for event in events] == ["image_edit.completed"]  # no partial ones were asked for


def open_stream(place: Place) -> Any:
    return place.client.images.edit(image=[("a.png", PNG)], prompt="x", stream=True)


def test_the_asynchronous_client_makes_pictures(place: Place) -> None:
    async def use() -> None:
        async with openai.AsyncOpenAI(base_url=f"{place.running.url}/v1", api_key="none", max_retries=0) as client:
            made = await client.images.generate(prompt="a red ball")
            assert made.data is not None
            assert made.data[0].b64_json == base64.b64encode(PNG).decode()
            edited = await client.images.edit(image=[("a.png", PNG, "image/png")], prompt="x")
            assert edited.data is not None
            assert edited.data[0].b64_json
            stream = await client.images.generate(prompt="x", stream=True)
            assert [event.type async for event in stream] == ["image_generation.completed"]

    asyncio.run(use())


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"n": 11}, "n"),
        ({"n": 2, "stream": True}, "n"),
        ({"output_format": "gif"}, "output_format"),
        ({"background": "transparent"}, "background"),
        ({"size": "big"}, "size"),
        ({"model": "dall-e-9"}, "model"),
        ({"prompt": "a nude"}, "prompt"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_pictures_that_cannot_be_made_are_refused(place: Place, body: dict[str, Any], param: str) -> None:
    answer = place.http.post("/v1/images/generations", json={"prompt": "x", **body})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_masks_and_several_pictures_are_refused(place: Place) -> None:
    with pytest.raises(openai.BadRequestError, match="mask"):
        place.client.images.edit(image=("a.png", PNG), mask=("m.png", PNG), prompt="x")
    with pytest.raises(openai.BadRequestError, match="send one"):
        place.client.images.edit(image=[("a.png", PNG), ("b.png", PNG)], prompt="x")


def test_a_picture_that_failed_is_an_error_in_both_ways(place: Place) -> None:
    place.double.failure = "it burst"
    with pytest.raises(openai.InternalServerError, match="it burst"):
        place.client.images.generate(prompt="x")
    with pytest.raises(openai.APIError, match="it burst"):
        list(place.client.images.generate(prompt="x", stream=True))


def test_a_client_that_goes_takes_its_pictures_along(place: Place) -> None:
    place.double.on.clear()
    for more in ({}, {"stream": True}):
        threading.Thread(target=_ask_and_go, args=(place, more), daemon=True).start()
        deadline = time.monotonic() + 60
        while place.jobs.counts() != {"cancelled": 1 if not more else 2}:
            assert time.monotonic() < deadline, place.jobs.counts()
            time.sleep(0.05)


def _ask_and_go(place: Place, more: dict[str, Any]) -> None:
    client = place.client.with_options(timeout=3.0)
    try:
        for _ in client.images.generate(prompt="x", **more):  # type: ignore[call-overload]
            pass
    except openai.APITimeoutError:
        pass
    except Exception:  # a stream that times out is an error of the transport
        return
