import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.serve.doubles import Place
from tests.serve.studio import Stage

from kinema.serve.feed import Feed
from kinema.serve.job import NewJob
from kinema.serve.jobs import Jobs
from kinema.serve.keys import KeyRing, make_key
from kinema.serve.leases import Leases
from kinema.serve.settings import ServeSettings
from kinema.serve.store import Store
from kinema.spec import VideoSpec

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # openai marks all of videos as deprecated


def ask(store: Store, owner: str = "") -> str:
    return Jobs(store).submit(NewJob(owner=owner, spec=VideoSpec(prompt="a red ball")))[0].id


def test_the_feed_tells_of_all_videos_in_order_and_goes_on_anywhere(store: Store) -> None:
    first, second = ask(store), ask(store)
    Jobs(store).cancel(first)
    events = Feed(store, None).after(0)
    assert [(event.job_id, event.type) for event in events] == [
        (first, "video.queued"), (second, "video.queued"), (first, "video.cancelled"),
    ]  # fmt: skip
    assert Feed(store, None).after(events[1].seq) == events[2:]
    assert Feed(store, None).after(0, limit=2) == events[:2]
    assert Feed(store, None).newest() == events[-1].seq


def test_the_feed_tells_nobody_of_the_videos_of_others(store: Store) -> None:
    mine, _ = ask(store, "anna"), ask(store, "ben")
    assert {event.job_id for event in Feed(store, "anna").after(0)} == {mine}


def test_only_the_last_preview_of_a_running_video_is_told_again(store: Store) -> None:
    job_id = ask(store, "anna")
    leases = Leases(store, "worker")
    job = leases.claim(["mini"])
    assert job is not None
    for picture in ("data:1", "data:2"):
        leases.preview(job, picture)
    (preview,) = Feed(store, "anna").previews()
    assert (preview.job_id, preview.data["image"]) == (job_id, "data:2")
    assert Feed(store, "ben").previews() == []
    leases.cancelled(job)
    assert Feed(store, None).previews() == []


def read_events(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    event: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        else:
            yield event
            event = {}


def test_the_stream_says_first_where_it_begins_and_then_what_happens(place: Place) -> None:
    place.double.on.clear()
    before = place.client.videos.create(prompt="earlier").id
    with place.http.stream("GET", "/v1/events") as answer:
        events = read_events(answer.iter_lines())
        began = next(events)
        assert began == {"retry": "1000", "id": str(Feed(place.running.store, None).newest())}
        made = place.client.videos.create(prompt="a red ball").id
        told = next(events)
        assert (told["event"], json.loads(told["data"])["id"]) == ("video.queued", made)
    with place.http.stream("GET", "/v1/events", headers={"last-event-id": "0"}) as answer:
        events = read_events(answer.iter_lines())
        next(events)
        assert [json.loads(next(events)["data"])["id"] for _ in range(2)] == [before, made]


def test_a_server_that_stops_lets_go_of_its_followers(tmp_path: Path) -> None:
    place = Stage(tmp_path)
    with httpx2.Client(base_url=place.url) as http, http.stream("GET", "/v1/events") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "retry: 1000"
        place.stop()
        assert [line for line in lines if line.startswith("event")] == []  # and the stream is at its end, unbroken
    place.close()


def test_the_stream_wants_a_key_and_tells_its_owner_only(open_place: Callable[..., Any]) -> None:
    (anna, anna_key), (ben, ben_key) = make_key("anna"), make_key("ben")
    place = open_place(ServeSettings(), KeyRing(keys=(anna_key, ben_key)), token=anna)
    place.double.on.clear()
    assert place.http.get("/v1/events").status_code == 401
    mine = place.client.videos.create(prompt="a red ball").id
    place.client.with_options(api_key=ben).videos.create(prompt="a blue ball")
    heard: list[str] = []
    headers = {"authorization": f"Bearer {anna}", "last-event-id": "0"}
    with httpx2.Client(base_url=place.running.url) as http, http.stream("GET", "/v1/events", headers=headers) as answer:
        events = read_events(answer.iter_lines())
        next(events)
        heard.append(json.loads(next(events)["data"])["id"])
        threading.Timer(0.1, place.client.videos.delete, [mine]).start()
        told = [json.loads(next(events)["data"]) for _ in range(2)]
    assert heard == [mine]
    assert [(event["id"], event["type"]) for event in told] == [(mine, "video.cancelled"), (mine, "video.deleted")]
