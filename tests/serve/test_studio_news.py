"""Answers that come late: what the page shows is the newest that it was told, in whatever order it came."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.browser import needs_browser
from tests.serve.studio import Stage, ask, until

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra dev: pip install '.[dev]'")
pytestmark = needs_browser
expect = playwright.expect
TIMEOUT_MS = 10_000


class Held:
    """The next answer to a question of the page: read from the server at once, given to the page when it is told to."""

    def __init__(self, page: Any, pattern: str, method: str) -> None:
        self._page, self._pattern, self._method = page, pattern, method
        self._held: Any = None
        page.route(pattern, self._take)

    def _take(self, route: Any) -> None:
        if self._held is not None or route.request.method != self._method:
            return route.continue_()
        self._held = (route, route.fetch(timeout=TIMEOUT_MS))
        return None

    def wait(self) -> None:
        """Until the page has asked and the server has answered."""
        for _ in range(TIMEOUT_MS // 20):
            if self._held is not None:
                return
            self._page.wait_for_timeout(20)
        raise AssertionError(f"the page did not ask for {self._pattern}")

    def deliver(self) -> None:
        """Let the page have the answer, and do with it what it does."""
        route, answer = self._held
        with self._page.expect_response(route.request.url, timeout=TIMEOUT_MS):
            route.fulfill(response=answer)
        self._page.wait_for_timeout(100)
        self._page.unroute(self._pattern, self._take)


def _look(page: Any, video_id: str) -> Held:
    """Let the page look at a video, and hold back the answer; what it then takes for its status is `looked`."""
    held = Held(page, f"**/v1/videos/{video_id}", "GET")
    page.evaluate(
        """(id) => void import("/studio/shelf.js")
             .then((shelf) => shelf.look(id))
             .then((video) => (globalThis.looked = video?.status ?? "gone"))""",
        video_id,
    )
    held.wait()
    return held


def test_a_late_answer_takes_nothing_back_that_an_event_has_told(
    stage: Callable[..., Stage], visit: Callable[..., Any]
) -> None:
    place = stage()
    page = visit(place)
    ask(page, "a red ball rolls")
    state = page.locator(".job .state")
    expect(state).to_contain_text("Next in line", timeout=TIMEOUT_MS)
    job = place.take()
    place.work(job, 10)
    expect(state).to_contain_text("10 %", timeout=TIMEOUT_MS)
    held = _look(page, job.id)
    place.work(job, 42)
    expect(state).to_contain_text("42 %", timeout=TIMEOUT_MS)
    held.deliver()
    assert "42 %" in state.inner_text()

    held = _look(page, job.id)
    place.finish(job)
    expect(page.locator(".tile")).to_have_count(1, timeout=TIMEOUT_MS)
    held.deliver()
    assert (page.locator(".tile").count(), page.locator(".job").count()) == (1, 0)
    until(page, "globalThis.looked === 'completed'")

    held = _look(page, job.id)
    place.jobs.delete(job.id)
    expect(page.locator(".tile")).to_have_count(0, timeout=TIMEOUT_MS)
    held.deliver()
    assert page.locator(".tile").count() == 0
    until(page, "globalThis.looked === 'gone'")


def test_a_video_that_is_done_before_its_order_was_answered_stays_done(
    stage: Callable[..., Stage], visit: Callable[..., Any]
) -> None:
    place = stage()
    page = visit(place)
    expect(page.locator("#server")).to_have_attribute("data-state", "ready", timeout=TIMEOUT_MS)
    held = Held(page, "**/v1/videos", "POST")
    ask(page, "a red ball rolls")
    held.wait()
    place.finish(place.take())
    expect(page.locator(".tile")).to_have_count(1, timeout=TIMEOUT_MS)
    held.deliver()
    until(page, "document.querySelector('#go').getAttribute('aria-busy') === null")
    assert (page.locator(".tile").count(), page.locator(".job").count()) == (1, 0)


def test_a_list_that_was_read_before_an_order_does_not_remove_it(
    stage: Callable[..., Stage], visit: Callable[..., Any]
) -> None:
    place = stage()
    page = visit(place)
    expect(page.locator("#server")).to_have_attribute("data-state", "ready", timeout=TIMEOUT_MS)
    held = Held(page, "**/v1/videos?limit=60", "GET")
    page.evaluate("() => void import('/studio/shelf.js').then((shelf) => shelf.refresh())")
    held.wait()
    ask(page, "a red ball rolls")
    expect(page.locator(".job")).to_have_count(1, timeout=TIMEOUT_MS)
    page.wait_for_timeout(1500)  # its event, and the looks that follow it, would bring it back
    held.deliver()
    assert page.locator(".job").count() == 1
