"""Edits over HTTP: what is asked for becomes the engine's edit, on files of the store; what no model can is refused."""

import base64
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import omit
from tests.serve.doubles import MODEL, PNG, VIDEO, Place

from kinema.config import to_dict
from kinema.serve.capabilities import Capabilities
from kinema.serve.job import NewJob
from kinema.serve.jobs import Jobs, forget
from kinema.serve.pictures import UNUSED_S, sweep_pictures
from kinema.serve.settings import QueueSettings, ServeSettings
from kinema.serve.store import INPUTS, METADATA, VERSION, Store
from kinema.spec import (
    Blend,
    Card,
    Cut,
    Extend,
    Join,
    KeyFrame,
    KeyFrames,
    Loop,
    Remix,
    Replace,
    Storyboard,
    Vary,
    VideoSpec,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CARDS = [{"second": 1.0, "prompt": "it stops"}, {"second": 1.5, "prompt": "it turns blue"}]


@pytest.fixture
def made(place: Place) -> Any:
    """A finished video of two seconds; the double works no more."""
    video = place.client.videos.create_and_poll(prompt="a red ball", extra_body={"seed": 7}, poll_interval_ms=20)
    place.double.on.clear()
    return video


def _spec(place: Place, path: str, **body: Any) -> VideoSpec:
    answer = place.http.post(path, json={"prompt": "x", **body})
    assert answer.status_code == 200, answer.text
    return place.jobs.get(answer.json()["id"]).spec


def _refused(place: Place, path: str, **body: Any) -> dict[str, Any]:
    answer = place.http.post(path, json={"prompt": "x", **body})
    assert answer.status_code == 400, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error


def _file(place: Place, video_id: str) -> str:
    result = place.jobs.get(video_id).result
    assert result is not None
    return result.artefacts["video"].name


def test_an_extension_goes_on_from_the_last_frames(place: Place, made: Any) -> None:
    extended = place.client.videos.extend(
        prompt="on", seconds="3", video=omit, extra_body={"video": {"id": made.id}}  # type: ignore[arg-type]
    )  # fmt: skip
    job = place.jobs.get(extended.id)
    assert job.spec.edit == Extend(video=_file(place, made.id), seconds=1.0)
    assert (job.spec.width, job.spec.height, job.spec.steps, job.video_s) == (64, 64, 20, 1.0)
    assert (extended.seconds, job.kind, job.parent) == ("3", "extend", made.id)
    before = _spec(place, "/v1/videos/extensions", video=made.id, seconds=3, direction="backward")
    assert before.edit == Extend(video=_file(place, made.id), seconds=1.0, direction="backward")
    error = _refused(place, "/v1/videos/extensions", video=made.id, seconds=3.2)
    assert (error["param"], "use 3 or 3.5" in error["message"]) == ("seconds", True)
    error = _refused(place, "/v1/videos/extensions", video=made.id, seconds=2.2)
    assert "use 2.5" in error["message"]


def test_an_edit_makes_the_video_anew_by_other_words(place: Place, made: Any) -> None:
    edited = place.client.videos.edit(
        prompt="at night", video=omit, extra_body={"video": {"id": made.id}}  # type: ignore[arg-type]
    )  # fmt: skip
    job = place.jobs.get(edited.id)
    assert job.spec.edit == Remix(video=_file(place, made.id))
    assert (job.spec.prompt, job.spec.seed, job.kind, edited.seconds) == ("at night", 7, "edit", "2")
    assert edited.remixed_from_video_id == made.id
    form = {"prompt": "x", "video[id]": made.id, "edit[kind]": "remix", "edit[strength]": "0.5"}
    shown = place.http.post("/v1/videos/edits", data=form).json()
    assert place.jobs.get(shown["id"]).spec.edit == Remix(video=_file(place, made.id), strength=0.5)
    assert shown["edit"] == "remix"


def test_every_edit_of_the_engine_can_be_asked_for(place: Place, made: Any) -> None:
    name = _file(place, made.id)

    def edit(**wish: Any) -> Any:
        return _spec(place, "/v1/videos/edits", video=made.id, edit=wish).edit

    assert edit(kind="vary") == Vary(video=name)
    assert edit(kind="loop", seconds=1) == Loop(video=name, seconds=1.0)
    assert edit(kind="replace", start=0.5, end=1) == Replace(video=name, start=0.5, end=1.0)
    assert edit(kind="replace", box=[0, 0, 32, 32]) == Replace(video=name, box=(0, 0, 32, 32))
    assert edit(kind="blend", other={"id": made.id}, seconds=1) == Blend(video=name, other=name, seconds=1.0)
    cuts = [{"video": made.id, "end": 1}, {"start": 1}]
    assert edit(kind="join", cuts=cuts) == Join(cuts=(Cut(video=name, end=1.0), Cut(video=name, start=1.0)))
    masked = edit(kind="replace", mask=_picture())
    assert masked.mask.startswith("inputs/")
    loop = place.jobs.page(limit=6)[0][5]
    assert (loop.request["seconds"], loop.video_s, loop.spec.edit) == ("3", 1.0, Loop(video=name, seconds=1.0))


@pytest.mark.parametrize(
    "wish",
    [
        {"kind": "remix", "strength": 0.5},
        {"kind": "vary", "strength": 0.3},
        {"kind": "loop", "seconds": 1.0},
        {"kind": "replace", "start": 0.5, "end": 1.0, "strength": 0.8},
        {"kind": "replace", "box": [0, 0, 32, 32], "strength": 1.0},
        {"kind": "blend", "other": {"id": "MADE"}, "seconds": 1.0, "strength": 0.7},
        {"kind": "join", "cuts": [{"video": {"id": "MADE"}, "end": 1.0}, {"video": {"id": "MADE"}, "start": 1.0}]},
    ],
)
def test_a_video_tells_the_edit_that_made_it_as_the_api_takes_it(place: Place, made: Any, wish: dict[str, Any]) -> None:
    asked = json.loads(json.dumps(wish).replace("MADE", made.id))
    body = {"prompt": "x", "video": {"id": made.id}, "edit": asked}
    shown = place.http.post("/v1/videos/edits", json=body).json()
    assert (shown["edit_settings"], shown["parent_id"], shown["has_uploads"]) == (asked, made.id, False)


def test_a_video_tells_how_much_an_extension_added_and_that_uploads_went_in(place: Place, made: Any) -> None:
    body = {"prompt": "x", "video": {"id": made.id}, "seconds": 3, "direction": "backward"}
    shown = place.http.post("/v1/videos/extensions", json=body).json()
    assert shown["edit_settings"] == {"kind": "extend", "seconds": 1.0, "direction": "backward"}
    assert [shown[name] for name in ("solver", "shift", "guidance_low", "step_cache")] == ["unipc", 1.0, None, None]
    body = {"prompt": "x", "video": {"id": made.id}, "edit": {"kind": "replace", "mask": _picture()}}
    shown = place.http.post("/v1/videos/edits", json=body).json()
    assert (shown["edit_settings"]["mask"], shown["has_uploads"]) == (None, True)
    first = place.http.post("/v1/videos", json={"prompt": "x", "input_reference": _picture()}).json()
    assert (first["edit_settings"], first["has_uploads"], first["parent_id"]) == (None, True, None)


def _picture() -> dict[str, str]:
    return {"image_url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"}


def test_a_storyboard_comes_as_json_and_through_the_official_client(place: Place) -> None:
    place.double.on.clear()
    wanted = Storyboard(cards=(Card(second=1.0, prompt="it stops"), Card(second=1.5, prompt="it turns blue")))
    assert _spec(place, "/v1/videos", storyboard=CARDS).edit == wanted
    form = {"prompt": "x", "storyboard": json.dumps(CARDS)}
    assert place.jobs.get(place.http.post("/v1/videos", data=form).json()["id"]).spec.edit == wanted
    video = place.client.videos.create(prompt="x", seconds="4", extra_body={"storyboard": CARDS})
    spec = place.jobs.get(video.id).spec
    assert (spec.edit, spec.frames) == (wanted, 33)
    mixed = [CARDS[0], {"second": 1.5, "image": _picture()}]
    with pytest.raises(openai.BadRequestError, match="as a text of JSON"):
        place.client.videos.create(prompt="x", extra_body={"storyboard": mixed})
    pictured = _spec(place, "/v1/videos", storyboard=[{"second": 1, "image": _picture()}]).edit
    assert isinstance(pictured, Storyboard)
    assert (pictured.cards[0].image or "").startswith("inputs/")


def test_pictures_are_given_at_any_time(place: Place) -> None:
    place.double.on.clear()
    framed = [{"image_url": _picture()["image_url"], "frame_type": kind} for kind in ("first_frame", "last_frame")]
    both = _spec(place, "/v1/videos", frame_images=framed)
    assert both.image == both.last_image is not None
    assert _spec(place, "/v1/videos", input_reference=_picture(), last_image=_picture()).last_image == both.image
    keys = _spec(place, "/v1/videos", key_frames=[{"second": 1, "image": _picture()}]).edit
    assert keys == KeyFrames(frames=(KeyFrame(second=1.0, image=str(both.image)),))


@pytest.mark.parametrize(
    ("path", "body", "code", "param"),
    [
        ("edits", {"edit": {"kind": "loop", "seconds": 0.3}}, "invalid_value", "loop"),
        ("edits", {"edit": {"kind": "loop", "seconds": 30}}, "too_long", "seconds"),
        ("edits", {"edit": {"kind": "turn"}}, "invalid_value", "edit"),
        ("edits", {"edit": {"kind": "remix", "strength": 2}}, "invalid_value", "edit.remix.strength"),
        ("edits", {"edit": {"kind": "replace"}}, "invalid_value", "replace"),
        ("", {"storyboard": [{"second": 9, "prompt": "late"}]}, "invalid_value", None),
        ("", {"storyboard": [{"second": 1}]}, "invalid_value", None),
        ("", {"storyboard": CARDS[::-1]}, "invalid_value", "cards"),
        ("", {"storyboard": CARDS, "key_frames": [{"second": 1, "image": "x"}]}, "unsupported", "key_frames"),
        ("", {"last_image": {"image_url": "data:image/png;base64,"}}, "missing", "last_image"),
        ("", {"storyboard": [{"second": 1, "prompt": "a nude child"}]}, "moderation_blocked", "prompt"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    place: Place, made: Any, path: str, body: Any, code: str, param: str | None
) -> None:
    error = _refused(place, f"/v1/videos/{path}".rstrip("/"), **body, **({"video": made.id} if path else {}))
    assert error["code"] == code, error
    if param is not None:
        assert error["param"] == param, error


TEXT_ONLY = dataclasses.replace(MODEL, pictures=())
CAUSAL = dataclasses.replace(MODEL, pictures=("first",), is_causal=True)
FROM_PICTURE = dataclasses.replace(MODEL, pictures=("first",), needs=("first",))
BETWEEN_PICTURES = dataclasses.replace(MODEL, needs=("first", "last"))


@pytest.mark.parametrize(
    ("model", "path", "body", "says"),
    [
        (TEXT_ONLY, "edits", {"edit": {"kind": "loop", "seconds": 1}}, "and cannot close a loop; use mini or wan2.2"),
        (TEXT_ONLY, "extensions", {"seconds": 3}, "cannot extend a video"),
        (TEXT_ONLY, "", {"storyboard": CARDS}, "cannot follow a storyboard"),
        (TEXT_ONLY, "", {"input_reference": "PNG"}, "makes videos from text only"),
        (CAUSAL, "edits", {"edit": {"kind": "loop", "seconds": 1}}, "block by block and cannot close a loop; use mini"),
        (CAUSAL, "edits", {"edit": {"kind": "blend", "other": "MADE", "seconds": 1}}, "cannot blend videos"),
        (CAUSAL, "edits", {"edit": {"kind": "replace", "start": 0.5, "end": 1}}, "cannot meet what comes after"),
        (CAUSAL, "edits", {"edit": {"kind": "replace", "end": 1, "box": [0, 0, 32, 32]}}, "cannot meet what comes"),
        (CAUSAL, "extensions", {"seconds": 3, "direction": "backward"}, "cannot begin before a video does"),
        (CAUSAL, "", {"storyboard": [{"second": 1, "image": "PNG"}]}, "cannot end on a picture; use mini, wan2.2-5b"),
        (CAUSAL, "", {"key_frames": [{"second": 1, "image": "PNG"}]}, "cannot meet key frames"),
        (CAUSAL, "", {"last_image": "PNG", "input_reference": "PNG"}, "cannot end on a picture"),
        (CAUSAL, "", {"enable_teacache": True}, "drop step_cache"),
        (MODEL, "", {"guidance_scale_2": 3}, "guidance_low steers nothing"),
        (FROM_PICTURE, "edits", {"edit": {"kind": "replace", "start": 1}}, "starts from a picture and cannot replace"),
        (FROM_PICTURE, "extensions", {"seconds": 3, "direction": "backward"}, "cannot begin before a video does"),
        (FROM_PICTURE, "", {}, "give input_reference"),
        (BETWEEN_PICTURES, "edits", {"edit": {"kind": "replace", "start": 1}}, "the last frame is to be made"),
        (BETWEEN_PICTURES, "edits", {"edit": {"kind": "replace", "end": 1}}, "the first frame is to be made"),
        (BETWEEN_PICTURES, "edits", {"edit": {"kind": "replace", "box": [0, 0, 9, 9]}}, "cannot replace a region"),
        (BETWEEN_PICTURES, "extensions", {"seconds": 3}, "from one picture to another and cannot extend a video"),
    ],
)  # fmt: skip
def test_what_a_model_cannot_do_is_refused_before_there_is_a_job(
    place: Place, made: Any, model: Capabilities, path: str, body: Any, says: str
) -> None:
    place.double.leases.offer("mini", json.dumps(to_dict(model)))
    before = len(place.jobs.page()[0])
    told = json.loads(json.dumps(body).replace('"PNG"', json.dumps(_picture())).replace('"MADE"', f'"{made.id}"'))
    error = _refused(place, f"/v1/videos/{path}".rstrip("/"), **told, **({"video": made.id} if path else {}))
    assert error["type"] == "invalid_request_error"
    assert error["code"] == ("missing" if "give input" in says else "unsupported")
    assert says in error["message"]
    assert "no model here can" in error["message"] or error["code"] == "missing"
    assert len(place.jobs.page()[0]) == before


def test_what_such_a_model_can_do_is_taken(place: Place, made: Any) -> None:
    for model, wish in (
        (CAUSAL, {"kind": "replace", "start": 0.5}),
        (CAUSAL, {"kind": "remix"}),
        (BETWEEN_PICTURES, {"kind": "replace", "start": 0.5, "end": 1}),
        (BETWEEN_PICTURES, {"kind": "blend", "other": {"id": made.id}, "seconds": 1}),
        (FROM_PICTURE, {"kind": "vary"}),
    ):
        place.double.leases.offer("mini", json.dumps(to_dict(model)))
        _spec(place, "/v1/videos/edits", video=made.id, edit=wish)
    spec = _spec(place, "/v1/videos/extensions", video=made.id, seconds=3)
    assert spec.edit == Extend(video=_file(place, made.id), seconds=1.0)


def test_a_refusal_names_the_models_here_that_can(open_place: Callable[..., Place]) -> None:
    place = open_place(ServeSettings(models=("mini", "other")))
    video = place.client.videos.create_and_poll(prompt="a red ball", poll_interval_ms=20)
    place.double.on.clear()
    for name, model in (("mini", CAUSAL), ("other", MODEL)):
        place.double.leases.offer(name, json.dumps(to_dict(dataclasses.replace(model, name=name))))
    error = _refused(place, "/v1/videos/edits", video=video.id, edit={"kind": "replace", "end": 1})
    assert error["message"].startswith("mini makes video block by block")
    assert error["message"].endswith("(here: other)")


def test_the_list_of_models_tells_what_each_can_do(place: Place) -> None:
    def told(model: Capabilities) -> dict[str, Any]:
        place.double.leases.offer("mini", json.dumps(to_dict(model)))
        (mini,) = [row for row in place.http.get("/v1/videos/models").json()["data"] if row["id"] == "mini"]
        return mini

    pair, causal = told(BETWEEN_PICTURES), told(CAUSAL)
    assert (pair["inputs"], pair["needs"]) == (["text", "image", "last_image"], ["image", "last_image"])
    assert ("extensions" in pair["verbs"], "extend" in pair["edits"], "loop" in pair["edits"]) == (False, False, True)
    assert ("extensions" in causal["verbs"], "loop" in causal["edits"]) == (True, False)
    assert (causal["extends"], told(MODEL)["extends"]) == (["forward"], ["forward", "backward"])
    old = {**to_dict(MODEL), "edits": ["join"]}
    place.double.leases.offer("mini", json.dumps(old))  # by a worker of an earlier version
    assert place.http.get("/v1/videos/models").status_code == 200


def test_an_edited_video_can_be_fetched_and_edited_again(place: Place, made: Any) -> None:
    place.double.on.set()
    edits = place.client.videos
    loop = place.http.post(
        "/v1/videos/edits", json={"prompt": "x", "video": made.id, "edit": {"kind": "loop", "seconds": 1}}
    ).json()
    done = edits.poll(loop["id"], poll_interval_ms=20)
    assert (done.seconds, done.model_dump()["frames"]) == ("3", 25)
    assert edits.download_content(done.id).read() == VIDEO
    remixed = edits.remix(done.id, prompt="y")
    spec = place.jobs.get(remixed.id).spec
    assert (spec.prompt, spec.edit) == ("y", Loop(video=_file(place, made.id), seconds=1.0))


def test_pictures_go_with_the_last_job_that_needs_them(place: Place) -> None:
    place.double.on.clear()
    store, artefacts = place.running.store, place.running.artefacts
    ids = [place.http.post("/v1/videos", json={"prompt": "x", "input_reference": _picture()}).json()["id"]
           for _ in range(2)]  # fmt: skip
    (name,) = artefacts.names("inputs")
    later = place.jobs.clock() + 2 * UNUSED_S
    removed: list[str] = []

    def remove(file: str) -> bool:
        removed.append(file)
        artefacts.remove(file)
        return len(removed) > 1  # the first time something is left

    for i, job_id in enumerate(ids):
        sweep_pictures(store, remove, later)
        assert (removed, artefacts.names("inputs")) == ([], [name]), i
        place.jobs.delete(job_id)
        forget(store, job_id, later, QueueSettings())
    sweep_pictures(store, remove, place.jobs.clock())  # a request may be about to use it
    assert removed == []
    sweep_pictures(store, remove, later)
    assert (removed, artefacts.names("inputs")) == ([name], [])
    for _ in range(2):
        sweep_pictures(store, remove, later)
    assert removed == [name, name]
    with pytest.raises(Exception, match="send it again"):
        Jobs(store).submit(_new(name))


def _new(image: str) -> NewJob:
    return NewJob(spec=VideoSpec(prompt="x", image=image))


def test_an_older_store_learns_which_pictures_its_jobs_need(store: Store) -> None:
    with store.write() as db:
        db.execute(INPUTS.insert().values(name="inputs/a.png", job_id="", at=1.0))
    job = Jobs(store).submit(_new("inputs/a.png"))[0]
    with store.write() as db:
        METADATA.drop_all(db, tables=[INPUTS])
        db.execute(VERSION.update().values(version=4))
    again = Store.open(store.url)
    with again.read() as db:
        rows = {(row.name, row.job_id) for row in db.execute(INPUTS.select())}
    again.close()
    assert rows == {("inputs/a.png", ""), ("inputs/a.png", job.id)}


def test_a_picture_is_no_video_to_edit(place: Place) -> None:
    with pytest.raises(openai.BadRequestError, match="send mp4 or webm") as refused:
        place.client.videos.edit(prompt="x", video=PNG)
    assert refused.value.code == "invalid_value"
