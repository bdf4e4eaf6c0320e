"""What pages of other sites can make a browser send here."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

FORM = {"prompt": (None, "a red ball")}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_form_of_another_site_is_refused(serve: Callable[..., Any], site: str) -> None:
    url = f"{serve().url}/v1/videos"
    answer = httpx2.post(url, files=FORM, headers={"Sec-Fetch-Site": site})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_site")
    assert answer.headers["x-request-id"]
    assert httpx2.delete(f"{url}/video_1", headers={"Sec-Fetch-Site": site}).status_code == 403
    assert httpx2.get(url, headers={"Sec-Fetch-Site": site}).json()["data"] == []


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}])
def test_the_own_page_and_other_clients_are_served(serve: Callable[..., Any], headers: dict[str, str]) -> None:
    answer = httpx2.post(f"{serve().url}/v1/moderations", json={"input": "a red ball"}, headers=headers)
    assert answer.status_code == 200


def test_a_page_that_was_given_a_key_is_served(serve: Callable[..., Any]) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Authorization": "Bearer none"}
    answer = httpx2.post(f"{serve().url}/v1/moderations", json={"input": "a red ball"}, headers=headers)
    assert answer.status_code == 200
