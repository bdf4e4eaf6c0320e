import asyncio
import base64
import dataclasses
import io
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from openai import omit
from PIL import Image
from tests.serve.doubles import PNG, VIDEO, Place

from kinema.serve.jobs import Jobs
from kinema.serve.keys import KeyRing, make_key
from kinema.serve.settings import Limits, QueueSettings, ServeSettings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # openai marks all of videos as deprecated


def test_every_method_of_the_official_client_works(place: Place) -> None:
    videos = place.client.videos
    made = videos.create_and_poll(
        prompt="a red ball", model="sora-2", seconds="4", size="1280x720", poll_interval_ms=20
    )
    assert (made.status, made.progress, made.model, made.seconds, made.size) == (
        "completed", 100, "sora-2", "4", "80x48",
    )  # fmt: skip
    assert videos.retrieve(made.id).prompt == "a red ball"
    assert videos.download_content(made.id).read() == VIDEO
    assert videos.download_content(made.id, variant="thumbnail").read() == b"thumbnail"
    assert videos.download_content(made.id, variant="spritesheet").read() == b"spritesheet"
    remixed = videos.remix(made.id, prompt="a blue ball")
    assert (remixed.remixed_from_video_id, remixed.prompt) == (made.id, "a blue ball")
    assert videos.poll(remixed.id, poll_interval_ms=20).status == "completed"
    edited = videos.edit(prompt="at night", video=omit, extra_body={"video": {"id": made.id}})  # type: ignore[arg-type]
    extended = videos.extend(
        prompt="it stops", seconds="8", video=omit, extra_body={"video": {"id": made.id}}  # type: ignore[arg-type]
    )  # fmt: skip
    assert extended.seconds == "8"
    assert videos.poll(edited.id, poll_interval_ms=20).status == "completed"
    assert videos.poll(extended.id, poll_interval_ms=20).status == "completed"
    listed = [video.id for video in videos.list(limit=2)]  # follows the cursors
    assert listed == [extended.id, edited.id, remixed.id, made.id]
    deleted = videos.delete(made.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (made.id, True, "video.deleted")
    with pytest.raises(openai.NotFoundError) as missing:
        videos.retrieve(made.id)
    assert (missing.value.code, missing.value.type) == ("not_found", "not_found_error")
    assert missing.value.request_id is not None
    with pytest.raises(openai.BadRequestError, match="characters"):
        videos.create_character(name="Mia", video=PNG)
    with pytest.raises(openai.NotFoundError):
        videos.get_character("char_1")
    assert {"mini", "sora-2", "sora-2-pro"} == {model.id for model in place.client.models.list()}
    assert place.client.models.retrieve("mini").id == "mini"


def test_every_method_of_the_official_asynchronous_client_works(place: Place) -> None:
    async def use() -> None:
        async with openai.AsyncOpenAI(base_url=f"{place.running.url}/v1", api_key="none", max_retries=0) as client:
            videos = client.videos
            made = await videos.create_and_poll(prompt="a red ball", poll_interval_ms=20)
            assert made.status == "completed"
            assert (await videos.download_content(made.id)).content == VIDEO
            remixed = await videos.remix(made.id, prompt="a blue ball")
            assert (await videos.poll(remixed.id, poll_interval_ms=20)).status == "completed"
            source: dict[str, Any] = {"extra_body": {"video": {"id": made.id}}}
            edited = await videos.edit(prompt="at night", video=omit, **source)  # type: ignore[arg-type]
            extended = await videos.extend(prompt="x", seconds="4", video=omit, **source)  # type: ignore[arg-type]
            assert [video.id async for video in videos.list(limit=3)] == [extended.id, edited.id, remixed.id, made.id]
            assert (await videos.retrieve(made.id)).id == made.id
            assert (await videos.delete(made.id)).deleted
            with pytest.raises(openai.BadRequestError):
                await videos.create_character(name="Mia", video=PNG)
            with pytest.raises(openai.NotFoundError):
                await videos.get_character("char_1")

    asyncio.run(use())


def test_json_and_forms_say_the_same_and_peers_words_are_understood(place: Place) -> None:
    place.double.on.clear()
    as_json = {"prompt": "x", "num_inference_steps": 7, "guidance_scale": 2.5, "seed": 3, "num_frames": 33}
    as_form = {**{key: str(value) for key, value in as_json.items()}}
    shown = [
        place.http.post("/v1/videos", json=as_json).json(),
        place.http.post("/v1/videos", data=as_form).json(),
        place.http.post("/v1/videos", data={"prompt": "x", "extra_body": json.dumps(as_json)}).json(),
        place.client.videos.create(prompt="x", extra_body=as_json).model_dump(),
    ]
    for video in shown:
        values = [video[name] for name in ("steps", "guidance", "seed", "frames", "seconds", "size")]
        assert values == [7, 2.5, 3, 33, "4", "64x64"]


def test_what_peers_call_otherwise_is_understood_or_refused_by_name(place: Place) -> None:
    place.double.on.clear()
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"

    def spec_of(**fields: Any) -> Any:
        return place.jobs.get(place.http.post("/v1/videos", json={"prompt": "x", **fields}).json()["id"]).spec

    for words in ({"type": "image_url", "image_url": {"url": url}, "frame_type": "first_frame"}, {"image_url": url}):
        assert spec_of(frame_images=[words]).image is not None
    assert spec_of(enable_teacache="true").step_cache == 0.1
    assert spec_of(step_cache=0.2, enable_teacache=True).step_cache == 0.2
    assert spec_of(true_cfg_scale=3).guidance == 3.0
    wide = spec_of(aspect_ratio="16:9")
    assert (wide.width, wide.height) == (80, 48)
    exact = spec_of(aspect_ratio="3:4", resolution="240p")
    assert (exact.width, exact.height) == (240, 320)
    refused = {
        "generate_audio": True, "enable_frame_interpolation": True, "n": 2, "resolution": "240p",
        "frame_images": [{"image_url": url, "frame_type": "last_frame"}], "aspect_ratio": "wide", "callback_url": "x",
    }  # fmt: skip
    for name, value in refused.items():
        answer = place.http.post("/v1/videos", json={"prompt": "x", name: value})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


def test_a_first_picture_comes_as_a_file_or_as_a_data_url(place: Place) -> None:
    place.double.on.clear()
    as_file = place.client.videos.create(prompt="x", input_reference=("me.png", PNG, "image/png"))
    stored = place.jobs.get(as_file.id).spec.image
    assert stored is not None
    with Image.open(io.BytesIO(place.running.artefacts.read(stored))) as image:
        assert (image.size, image.getpixel((5, 5))) == ((64, 64), (200, 30, 30))
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    answer = place.http.post("/v1/videos", json={"prompt": "x", "input_reference": {"image_url": url}}).json()
    assert place.jobs.get(answer["id"]).spec.image == stored


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "param"),
    [
        ("POST", "/v1/videos", {}, 400, "invalid_value", "prompt"),
        ("POST", "/v1/videos", {"prompt": ""}, 400, "invalid_value", "prompt"),
        ("POST", "/v1/videos", {"prompt": "x", "sise": "64x64"}, 400, "invalid_value", "sise"),
        ("POST", "/v1/videos", {"prompt": "x", "model": "sora-3"}, 400, "model_not_found", "model"),
        ("POST", "/v1/videos", {"prompt": "x", "seconds": "2.1"}, 400, "invalid_value", "seconds"),
        ("POST", "/v1/videos", {"prompt": "x", "seconds": 60}, 400, "too_long", "seconds"),
        ("POST", "/v1/videos", {"prompt": "x", "size": "65x64"}, 400, "invalid_value", "width"),
        ("POST", "/v1/videos", {"prompt": "x", "size": "4096x4096"}, 400, "too_large", "size"),
        ("POST", "/v1/videos", {"prompt": "x", "solver": "eular"}, 400, "invalid_value", "solver"),
        ("POST", "/v1/videos", {"prompt": "x", "characters": [{"id": "c"}]}, 400, "unsupported", "characters"),
        ("POST", "/v1/videos", {"prompt": "x", "input_reference": {"image_url": "http://127.0.0.1/a.png"}}, 400,
         "invalid_url", "input_reference"),
        ("POST", "/v1/videos", {"prompt": "x", "input_reference": {"image_url": "file:///etc/passwd"}}, 400,
         "invalid_value", "input_reference"),
        ("POST", "/v1/videos", {"prompt": "x", "input_reference": {"file_id": "file-1"}}, 404, "not_found", None),
        ("POST", "/v1/videos", "no object", 400, "invalid_json", None),
        ("POST", "/v1/videos/edits", {"prompt": "x"}, 400, "missing", "video"),
        ("POST", "/v1/videos/extensions", {"prompt": "x", "video": "video_1"}, 400, "invalid_value", "seconds"),
        ("POST", "/v1/videos/video_1/remix", {"prompt": "x"}, 404, "not_found", None),
        ("GET", "/v1/videos/video_1", None, 404, "not_found", None),
        ("GET", "/v1/videos/video_1/content?variant=film", None, 400, "invalid_value", "variant"),
        ("GET", "/v1/videos?limit=0", None, 400, "invalid_value", "limit"),
        ("GET", "/v1/videos?after=video_1", None, 404, "not_found", None),
        ("DELETE", "/v1/videos/video_1", None, 404, "not_found", None),
        ("GET", "/v1/models/nothing", None, 404, "model_not_found", "model"),
        ("GET", "/nowhere", None, 404, "not_found", None),
        ("PUT", "/v1/videos", {}, 405, "method_not_allowed", None),
    ],
)  # fmt: skip
def test_every_refusal_has_openai_s_shape(
    place: Place, method: str, path: str, body: Any, status: int, code: str, param: str | None
) -> None:
    answer = place.http.request(method, path, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
    assert error["message"]
    assert error["type"] in ("invalid_request_error", "not_found_error")
    assert answer.headers["x-request-id"].startswith("req_")


def test_a_bug_is_a_500_in_the_same_shape(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Jobs, "page", lambda *_, **__: 1 / 0)
    answer = place.http.get("/v1/videos")
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert answer.headers["x-request-id"].startswith("req_")


def test_a_waiting_video_tells_its_place_and_when_to_ask_again(place: Place) -> None:
    place.double.on.clear()
    ids = [place.client.videos.create(prompt="x").id for _ in range(2)]
    answer = place.http.get(f"/v1/videos/{ids[1]}")
    assert (answer.json()["status"], answer.json()["queue_position"]) == ("queued", 1)
    assert 1000 <= int(answer.headers["openai-poll-after-ms"]) <= 10_000
    refused = place.http.get(f"/v1/videos/{ids[0]}/content")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "video_not_ready")


def test_cancelled_shows_as_failed_and_can_be_retried(place: Place) -> None:
    place.double.on.clear()
    video = place.client.videos.create(prompt="x")
    shown = place.http.post(f"/v1/videos/{video.id}/cancel").json()
    assert (shown["status"], shown["error"]["code"]) == ("failed", "cancelled")
    place.double.on.set()
    assert place.http.post(f"/v1/videos/{video.id}/retry").json()["status"] == "queued"
    assert place.client.videos.poll(video.id, poll_interval_ms=20).status == "completed"


def test_parts_of_a_video_can_be_fetched(place: Place) -> None:
    video = place.client.videos.create_and_poll(prompt="x", poll_interval_ms=20)
    part = place.http.get(f"/v1/videos/{video.id}/content", headers={"range": "bytes=5-9"})
    assert (part.status_code, part.content, part.headers["content-type"]) == (206, VIDEO[5:10], "video/mp4")
    assert part.headers["content-range"] == f"bytes 5-9/{len(VIDEO)}"
    end = place.http.get(f"/v1/videos/{video.id}/content", headers={"range": "bytes=-3"})
    assert (end.status_code, end.content) == (206, VIDEO[-3:])
    known = place.http.get(f"/v1/videos/{video.id}/content", headers={"if-none-match": part.headers["etag"]})
    assert known.status_code == 304
    beyond = place.http.get(f"/v1/videos/{video.id}/content", headers={"range": "bytes=9999-"})
    assert (beyond.status_code, beyond.json()["error"]["code"]) == (416, "invalid_range")


def test_events_can_be_read_again_from_any_point(place: Place) -> None:
    video = place.client.videos.create_and_poll(prompt="x", poll_interval_ms=20)
    whole = _events(place.http.get(f"/v1/videos/{video.id}/events").text)
    assert [kind for _, kind in whole] == ["video.queued", "video.in_progress", "video.progress", "video.completed"]
    headers = {"last-event-id": whole[1][0]}
    assert _events(place.http.get(f"/v1/videos/{video.id}/events", headers=headers).text) == whole[2:]


def _events(text: str) -> list[tuple[str, str]]:
    blocks = [block for block in text.split("\n\n") if block.startswith("id: ")]
    return [(block.split("\n")[0][4:], block.split("\n")[1][7:]) for block in blocks]


def test_the_same_order_is_made_once(place: Place) -> None:
    place.double.on.clear()

    def order(prompt: str, **headers: str) -> httpx2.Response:
        return place.http.post("/v1/videos", json={"prompt": prompt}, headers=headers)

    first = order("x", **{"idempotency-key": "k"}).json()["id"]
    assert order("x", **{"idempotency-key": "k"}).json()["id"] == first
    reused = order("y", **{"idempotency-key": "k"})
    assert (reused.status_code, reused.json()["error"]["code"]) == (422, "idempotency_key_reused")
    second = order("x", **{"x-stainless-retry-count": "0"}).json()["id"]
    assert order("x", **{"x-stainless-retry-count": "1"}).json()["id"] == second != first


@pytest.mark.parametrize("path", ["/v1/videos/edits", "/v1/videos/extensions", "/v1/videos/{id}/remix"])
def test_an_order_is_known_again_though_what_it_started_from_was_deleted(place: Place, path: str) -> None:
    source = place.client.videos.create_and_poll(prompt="x", poll_interval_ms=20)
    place.double.on.clear()
    body: dict[str, Any] = {"prompt": "y"} if "{" in path else {"prompt": "y", "video": {"id": source.id}}
    if path.endswith("extensions"):
        body["seconds"] = "3"

    def order() -> httpx2.Response:
        return place.http.post(path.format(id=source.id), json=body, headers={"idempotency-key": "k"})

    first = order().json()["id"]
    place.client.videos.delete(source.id)
    assert (order().json()["id"], order().status_code) == (first, 200)
    place.client.videos.delete(first)
    late = order()
    assert (late.status_code, late.json()["error"]["code"]) == (404, "not_found")
    assert "another Idempotency-Key" in late.json()["error"]["message"]
    assert place.client.videos.list().data == []


def test_a_full_queue_is_a_429_that_says_when_to_retry(open_place: Callable[..., Place]) -> None:
    place = open_place(ServeSettings(queue=QueueSettings(max_queued=1)))
    place.double.on.clear()
    place.client.videos.create(prompt="x")
    with pytest.raises(openai.RateLimitError) as refused:
        place.client.videos.create(prompt="y")
    assert refused.value.code == "queue_full"
    assert refused.value.response.headers["retry-after-ms"] == "5000"


def test_keys_are_needed_own_their_videos_and_have_limits(open_place: Callable[..., Place]) -> None:
    (mine, my_key), (yours, your_key), (guest, guest_key) = (make_key(name) for name in ("me", "you", "guest"))
    my_key = dataclasses.replace(my_key, limits=Limits(video_s_per_day=3.0))
    guest_key = dataclasses.replace(guest_key, can_write=False)
    place = open_place(ServeSettings(), KeyRing(keys=(my_key, your_key, guest_key)), token=mine)
    video = place.client.videos.create_and_poll(prompt="x", poll_interval_ms=20)
    assert place.http.get("/v1/videos").status_code == 401
    assert place.http.get("/v1/videos").json()["error"]["type"] == "authentication_error"
    with pytest.raises(openai.NotFoundError):
        place.client.with_options(api_key=yours).videos.retrieve(video.id)
    assert place.client.with_options(api_key=yours).videos.list().data == []
    with pytest.raises(openai.PermissionDeniedError):
        place.client.with_options(api_key=guest).videos.create(prompt="x")
    with pytest.raises(openai.RateLimitError) as refused:
        place.client.videos.create(prompt="y")
    assert (refused.value.code, refused.value.response.headers["x-should-retry"]) == ("insufficient_quota", "false")


def test_a_request_that_is_too_large_is_refused(open_place: Callable[..., Place]) -> None:
    place = open_place(ServeSettings(max_upload_bytes=1000))
    with pytest.raises(openai.APIStatusError) as refused:
        place.client.videos.create(prompt="x", input_reference=("a.png", PNG + bytes(2000), "image/png"))
    assert (refused.value.status_code, refused.value.code) == (413, "request_too_large")


def test_health_readiness_models_and_metrics(place: Place) -> None:
    assert place.http.get("/health").json() == {"status": "ok"}
    assert place.http.get("/ready").status_code == 503
    place.double.leases.alive(["mini"])
    assert place.http.get("/ready").json() == {"status": "ready", "workers": 1}
    models = {row["id"]: row for row in place.http.get("/v1/videos/models").json()["data"]}
    assert models["sora-2"]["default_size"] == models["mini"]["default_size"] == "64x64"
    place.client.videos.create_and_poll(prompt="x", poll_interval_ms=20)
    metrics = place.http.get("/metrics").text
    assert 'kinema_jobs{status="completed"} 1' in metrics
    assert "kinema_workers 1" in metrics


def test_the_process_of_the_api_loads_no_model() -> None:
    code = "import sys, kinema.serve.app; print(sorted({'torch', 'transformers', 'av'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
