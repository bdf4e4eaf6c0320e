import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
import sqlalchemy as sa
import standardwebhooks
from tests.serve.doubles import Place
from tests.serve.receiver import Receiver

from kinema.serve.job import NewJob
from kinema.serve.jobs import Jobs
from kinema.serve.outbox import RETRY_S, claim_due, settle
from kinema.serve.outward import Outward
from kinema.serve.sender import Sender
from kinema.serve.settings import ServeSettings
from kinema.serve.store import VERSION, Store
from kinema.serve.webhooks import Webhooks, callbacks_id
from kinema.spec import VideoSpec

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
HERE = ("127.0.0.0/8",)


@pytest.fixture
def there() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def place(open_place: Callable[..., Place]) -> Place:
    return open_place(ServeSettings(allowed_networks=HERE))


def _until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_the_official_client_makes_endpoints_and_verifies_what_they_are_told(place: Place, there: Receiver) -> None:
    hooks = place.client.webhooks
    made = hooks.create(name="mine", url=f"{there.url}/hook", event_types=["video.completed", "video.failed"])
    assert made.signing_secret.startswith("whsec_")
    assert hooks.retrieve(made.id).url == f"{there.url}/hook"
    assert [each.id for each in hooks.list()] == [made.id]
    assert hooks.event_types.list().data == ["video.completed", "video.failed", "video.cancelled"]
    video = place.client.videos.create_and_poll(prompt="x", poll_interval_ms=20)
    _until(lambda: there.requests)
    _, headers, body = there.requests[0]
    event: Any = hooks.unwrap(body, headers, secret=made.signing_secret)
    assert (event.type, event.data.id) == ("video.completed", video.id)
    standardwebhooks.Webhook(made.signing_secret).verify(body, headers)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        hooks.unwrap(body + b" ", headers, secret=made.signing_secret)
    tested = hooks.test(made.id, event_type="video.failed")
    assert (tested.status_code, tested.success, tested.event_type) == (200, True, "video.failed")
    changed = hooks.update(made.id, name="other", url=f"{there.url}/else", event_types=["video.failed"])
    assert (changed.name, changed.url, changed.event_types) == ("other", f"{there.url}/else", ["video.failed"])
    assert hooks.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        hooks.retrieve(made.id)


def test_after_a_rotation_both_secrets_are_good_only_if_asked_for(place: Place, there: Receiver) -> None:
    hooks = place.client.webhooks
    first = hooks.create(name="mine", url=there.url, event_types=["video.completed"])
    second = hooks.rotate_secret(first.id, keep_old_secret_active_for_24_hours=True)
    hooks.test(first.id, event_type="video.completed")
    _, headers, body = there.requests[-1]
    for secret in (first.signing_secret, second.signing_secret):
        hooks.verify_signature(body, headers, secret=secret)
    third = hooks.rotate_secret(first.id)
    hooks.test(first.id, event_type="video.completed")
    _, headers, body = there.requests[-1]
    hooks.verify_signature(body, headers, secret=third.signing_secret)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        hooks.verify_signature(body, headers, secret=second.signing_secret)


def test_what_was_sent_is_listed_and_can_be_sent_again(place: Place, there: Receiver) -> None:
    made = place.client.webhooks.create(name="mine", url=there.url, event_types=["video.completed"])
    place.client.videos.create_and_poll(prompt="x", poll_interval_ms=20)
    path = f"/v1/webhook_endpoints/{made.id}/deliveries"
    _until(lambda: [each["status"] for each in place.http.get(path).json()["data"]] == ["delivered"])
    delivery = place.http.get(path).json()["data"][0]
    assert (delivery["attempts"], delivery["status_code"], delivery["event"]["type"]) == (1, 200, "video.completed")
    assert place.http.post(f"{path}/{delivery['id']}/redeliver").json()["status"] == "waiting"
    _until(lambda: len(there.requests) == 2)
    assert there.requests[0][1]["webhook-id"] == there.requests[1][1]["webhook-id"]


def test_one_video_calls_back_and_its_owner_verifies_that(place: Place, there: Receiver) -> None:
    hooks, videos = place.client.webhooks, place.client.videos
    made = videos.create(prompt="x", extra_body={"callback_url": f"{there.url}/job/7"})
    shown: Any = made.model_dump()
    assert shown["callback_url"] == f"{there.url}/job/7"
    secret = hooks.rotate_secret(shown["webhook_endpoint_id"], keep_old_secret_active_for_24_hours=True).signing_secret
    videos.poll(made.id, poll_interval_ms=20)
    other = videos.create_and_poll(prompt="x", poll_interval_ms=20)  # brings no address, so nobody hears of it
    _until(lambda: there.requests)
    path, headers, body = there.requests[0]
    event: Any = hooks.unwrap(body, headers, secret=secret)
    assert (path, event.type, event.data.id) == ("/job/7", "video.completed", made.id)
    assert other.model_dump()["webhook_endpoint_id"] is None
    deliveries = f"/v1/webhook_endpoints/{shown['webhook_endpoint_id']}/deliveries"
    _until(lambda: [each["status"] for each in place.http.get(deliveries).json()["data"]] == ["delivered"])
    told = place.http.get(deliveries).json()["data"][0]
    assert told["url"] == f"{there.url}/job/7"
    place.http.post(f"{deliveries}/{told['id']}/redeliver")
    _until(lambda: len(there.requests) == 2)
    assert there.requests[1][1]["webhook-id"] == headers["webhook-id"]


def test_every_verb_takes_a_callback_and_none_is_passed_on(place: Place, there: Receiver) -> None:
    called = {"callback_url": there.url}
    first = place.client.videos.create_and_poll(prompt="x", poll_interval_ms=20)
    for path, more in (
        (f"/v1/videos/{first.id}/remix", {}),
        ("/v1/videos/edits", {"video": first.id}),
        ("/v1/videos/extensions", {"video": first.id, "seconds": 3}),
    ):
        shown = place.http.post(path, json={"prompt": "x", **more, **called}).json()
        assert shown["callback_url"] == there.url, shown
        place.client.videos.poll(shown["id"], poll_interval_ms=20)
        again = place.http.post(f"/v1/videos/{shown['id']}/remix", json={"prompt": "y"}).json()
        assert again["callback_url"] is None
    _until(lambda: len(there.requests) == 3)
    endpoints = place.http.get("/v1/webhook_endpoints").json()["data"]
    assert [(each["name"], each["url"]) for each in endpoints] == [("callback_url", "")]


@pytest.mark.parametrize(
    "url", ["https://10.0.0.1/x", "http://169.254.169.254/latest", "http://[::1]/", "ftp://a.example", "x", ""]
)
def test_a_callback_that_must_not_be_reached_makes_no_video(place: Place, url: str) -> None:
    answer = place.http.post("/v1/videos", json={"prompt": "x", "callback_url": url})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "callback_url")
    assert place.jobs.page() == ([], False)


def test_the_endpoint_of_callbacks_has_no_address_to_change(place: Place, there: Receiver) -> None:
    made = place.http.post("/v1/videos", json={"prompt": "x", "callback_url": there.url}).json()
    path = f"/v1/webhook_endpoints/{made['webhook_endpoint_id']}"
    refused = place.http.post(path, json={"url": there.url})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "url")
    assert place.http.post(path, json={"event_types": ["video.failed"]}).json()["event_types"] == ["video.failed"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"url": "https://10.0.0.1/x"}, "url"),
        ({"url": "http://169.254.169.254/latest"}, "url"),
        ({"url": "ftp://a.example"}, "url"),
        ({"event_types": ["video.exploded"]}, "event_types.0"),
        ({"event_types": []}, "event_types"),
        ({"name": ""}, "name"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_endpoints_that_cannot_be_told_are_refused(place: Place, body: dict[str, Any], param: str) -> None:
    asked = {"url": "http://127.0.0.1:9/", "name": "a", "event_types": ["video.failed"], **body}
    answer = place.http.post("/v1/webhook_endpoints", json=asked)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_testing_an_endpoint_that_is_not_there_says_so(place: Place, there: Receiver) -> None:
    made = place.client.webhooks.create(name="mine", url=there.url, event_types=["video.completed"])
    there.close()
    with pytest.raises(openai.BadRequestError) as refused:
        place.client.webhooks.test(made.id, event_type="video.completed")
    assert refused.value.code == "endpoint_unreachable"


class Desk:
    """A queue with an endpoint, a clock of its own, and a sender that sends when it is told to."""

    def __init__(self, store: Store, there: Receiver) -> None:
        self.now, self.store = time.time(), store
        self.jobs = Jobs(store, clock=lambda: self.now)
        self.hooks = Webhooks(store, lambda: self.now)
        types = ["video.completed", "video.failed", "video.cancelled"]
        self.endpoint = self.hooks.create("me", "mine", there.url, types)
        self.sender = Sender(store, Outward(allowed=HERE), 86400.0, lambda: self.now)

    def send(self) -> int:
        with ThreadPoolExecutor(1) as pool:
            return self.sender.send_due(pool)

    def end_a_job(self, owner: str = "me") -> str:
        job = self.jobs.submit(NewJob(owner=owner, spec=VideoSpec(prompt="x")))[0]
        self.jobs.cancel(job.id)
        return job.id

    @property
    def told(self) -> list[dict[str, Any]]:
        return self.hooks.deliveries(self.endpoint.id, "me", None, 100)[0]


@pytest.fixture
def desk(store: Store, there: Receiver) -> Desk:
    return Desk(store, there)


def test_an_endpoint_hears_of_its_owner_s_videos_only(desk: Desk, there: Receiver) -> None:
    desk.end_a_job("you")
    mine = desk.end_a_job("me")
    assert desk.send() == 1
    assert json.loads(there.requests[0][2])["data"] == {"id": mine}


def test_a_failing_endpoint_is_told_again_and_again_for_a_day(desk: Desk, there: Receiver) -> None:
    desk.end_a_job()
    began = desk.now
    there.answers = [500] * (len(RETRY_S) + 1)
    for wait_s in (*RETRY_S, None):
        assert desk.send() == 1
        assert desk.send() == 0
        desk.now += 1.2 * wait_s if wait_s else 0.0
    assert (desk.told[0]["status"], desk.told[0]["attempts"]) == ("failed", len(RETRY_S) + 1)
    assert 20 * 3600 < desk.now - began < 36 * 3600
    assert len({headers["webhook-id"] for _, headers, _ in there.requests}) == 1


def test_a_redirect_and_a_private_address_count_as_failures(desk: Desk, there: Receiver) -> None:
    there.answers, there.headers = [301], {"location": "http://127.0.0.1:1/"}
    desk.end_a_job()
    desk.send()
    assert (desk.told[0]["status"], desk.told[0]["status_code"]) == ("waiting", 301)
    desk.hooks.update(desk.endpoint.id, "me", url="https://192.168.0.1/")
    desk.now += 10
    desk.send()
    assert "not a public address" in desk.told[0]["error"]
    assert len(there.requests) == 1


def test_gone_disables_the_endpoint_until_it_is_changed(desk: Desk, there: Receiver) -> None:
    there.answers = [410]
    desk.end_a_job()
    desk.send()
    assert desk.hooks.get(desk.endpoint.id, "me").is_disabled
    desk.end_a_job()
    assert len(desk.told) == 1
    desk.hooks.update(desk.endpoint.id, "me", name="back")
    desk.end_a_job()
    assert desk.send() == 1


def test_callbacks_are_tried_again_and_end_alone(desk: Desk, there: Receiver) -> None:
    desk.hooks.delete(desk.endpoint.id, "me")
    for _ in range(2):
        desk.hooks.open_callbacks("me")
    desk.endpoint = desk.hooks.get(callbacks_id("me"), "me")
    for path in ("first", "second"):
        request = {"callback_url": f"{there.url}/{path}"}
        job = desk.jobs.submit(NewJob(owner="me", spec=VideoSpec(prompt="x"), request=request))[0]
        desk.jobs.cancel(job.id)
    desk.end_a_job()
    there.answers = [410, 500]
    assert desk.send() == 2
    assert sorted(each["status"] for each in desk.told) == ["failed", "waiting"]
    assert not desk.hooks.get(desk.endpoint.id, "me").is_disabled
    desk.now += 10
    assert desk.send() == 1
    assert [path for path, _, _ in there.requests][2:] == ["/second"]
    assert desk.told[0]["status"] == "delivered"


def test_an_older_store_learns_where_each_message_goes(desk: Desk) -> None:
    desk.end_a_job()
    with desk.store.write() as db:
        db.execute(sa.DDL("ALTER TABLE webhook_deliveries DROP COLUMN url"))
        db.execute(VERSION.update().values(version=6))
    again = Store.open(desk.store.url)
    assert claim_due(again, desk.now)[0].url == desk.endpoint.url
    again.close()


def test_a_message_whose_sender_died_is_sent_again(desk: Desk, there: Receiver) -> None:
    desk.end_a_job()
    (lost,) = claim_due(desk.store, desk.now)
    assert desk.send() == 0
    desk.now += 61
    assert desk.send() == 1
    settle(desk.store, lost, 500, None, desk.now)  # the dead one speaks after all, too late
    assert desk.told[0]["status"] == "delivered"


def test_a_message_is_written_with_the_change_or_not_at_all(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    job = desk.jobs.submit(NewJob(owner="me", spec=VideoSpec(prompt="x")))[0]
    monkeypatch.setattr("kinema.serve.outbox.message_body", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        desk.jobs.cancel(job.id)
    assert desk.jobs.get(job.id).status == "queued"
