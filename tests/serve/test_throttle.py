import dataclasses
from collections.abc import Callable

import pytest
from tests.serve.doubles import Place

from kinema.serve.keys import KeyRing, make_key
from kinema.serve.settings import Limits, ServeSettings
from kinema.serve.throttle import MAX_NAMES, Rate, Throttle


def test_a_bucket_holds_a_minute_s_calls_and_fills_again() -> None:
    now = [0.0]
    throttle = Throttle(lambda: now[0])

    def waits(name: str, count: int) -> list[float]:
        return [throttle.take(name, 3)[0] for _ in range(count)]

    assert waits("me", 3) == [0, 0, 0]
    assert waits("me", 1) == [20]
    assert waits("you", 1) == [0]
    now[0] = 10
    assert waits("me", 1) == [10]
    now[0] = 20
    assert waits("me", 1) == [0]
    now[0] = 1000
    assert waits("me", 4) == [0, 0, 0, 20]


def test_what_is_left_is_told_as_clients_read_it() -> None:
    throttle = Throttle(lambda: 0.0)
    assert throttle.take("me", 3)[1] == Rate(limit=3, left=2, reset_s=20.0)
    assert Rate(limit=3, left=0, reset_s=59.5).headers() == {
        "x-ratelimit-limit-requests": "3", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m0s",
    }  # fmt: skip


def test_an_order_tells_how_many_new_videos_are_left(open_place: Callable[..., Place]) -> None:
    place = open_place(ServeSettings(limits=Limits(requests_per_minute=2)))
    place.double.on.clear()
    answers = [place.http.post("/v1/videos", json={"prompt": "x"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0", "0"]
    assert answers[0].headers["x-ratelimit-limit-requests"] == "2"
    assert "x-ratelimit-limit-requests" not in place.http.get("/v1/videos").headers


def test_names_of_long_ago_are_forgotten() -> None:
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    for i in range(MAX_NAMES):
        throttle.take(f"old {i}", 3)
    now[0] = 61
    throttle.take("new", 3)
    throttle.take("newer", 3)
    assert len(throttle._buckets) == 2


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time passes for throttles, however slow this machine is."""
    monkeypatch.setattr(Throttle.__init__, "__defaults__", (lambda: 0.0,))


def test_who_calls_too_often_is_told_when_to_come_back(
    open_place: Callable[..., Place], still: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinema.serve.api.WRONG_KEYS_PER_MINUTE", 2)
    (mine, my_key), (yours, your_key) = make_key("me"), make_key("you")
    my_key = dataclasses.replace(my_key, limits=Limits(calls_per_minute=2))
    place = open_place(ServeSettings(), KeyRing(keys=(my_key, your_key)))

    def statuses(token: str, count: int) -> list[int]:
        headers = {"authorization": f"Bearer {token}"}
        return [place.http.get("/v1/models", headers=headers).status_code for _ in range(count)]

    assert statuses(mine, 3) == [200, 200, 429]
    assert statuses(yours, 3) == [200, 200, 200]
    refused = place.http.get("/v1/models", headers={"authorization": f"Bearer {mine}"})
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert refused.headers["retry-after-ms"] == "30000"
    assert (refused.headers["x-ratelimit-limit-requests"], refused.headers["x-ratelimit-reset-requests"]) == (
        "2",
        "1m0s",
    )
    assert statuses("sk-guess", 3) == [401, 401, 429]


def test_without_keys_addresses_have_the_limit(open_place: Callable[..., Place], still: None) -> None:
    place = open_place(ServeSettings(limits=Limits(calls_per_minute=2)))
    assert [place.http.get("/v1/models").status_code for _ in range(3)] == [200, 200, 429]
