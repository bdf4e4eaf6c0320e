"""The page of `kinema data browse` in a real browser, over a data set with clips kept, dropped and alike."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.browser import needs_browser, serious_faults, start_browser
from tests.servers import serving

from kinema.data import Store
from kinema.data.browse import make_server
from kinema.data.filter import COLUMNS as SCORED

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra dev: pip install '.[dev]'")
pytestmark = needs_browser
expect = playwright.expect
expect.set_options(timeout=30_000)
SLOW = "motion 4e-05 is below 0.001"


@pytest.fixture(scope="module")
def address(split_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of three clips one is kept, one looks like it, and one hardly moves."""
    store = Store(shutil.copytree(split_once, tmp_path_factory.mktemp("browsed") / "my set"))
    rows = sorted(store.read("clips", ["uri", "start_s"]), key=lambda row: (row["uri"], row["start_s"]))
    best, copy, slow = [row["clip_id"] for row in rows]
    found = [
        {"clip_id": best, "motion": 0.4, "cluster": best, "drop_reason": None, "caption": "a lawn by a stream"},
        {"clip_id": copy, "motion": 0.3, "cluster": best, "drop_reason": f"looks like {best}", "caption": None},
        {"clip_id": slow, "motion": 0.00004, "cluster": None, "drop_reason": SLOW, "caption": None},
    ]  # fmt: skip
    words = [(name, pa.string()) for name in ("cluster", "drop_reason", "caption")]
    columns = pa.schema([("motion", SCORED.field("motion").type), *words])
    store.ensure("clips", columns)
    store.update("clips", found, columns)
    server = make_server(store, 0)
    with serving(server) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with start_browser() as started:
        yield started


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Opens the page; no error may be thrown on it, and nothing asked of another host."""
    wrong: list[str] = []
    contexts = []

    def go(path: str = "/", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, "locale": "en-US", **options})
        contexts.append(context)
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        own = (address, "data:", "blob:")
        page.on("request", lambda request: None if request.url.startswith(own) else wrong.append(request.url))
        page.goto(address + path)
        return page

    yield go
    for context in contexts:
        context.close()
    assert wrong == []


def view(page: Any, name: str) -> None:
    page.locator(f"input[value={name}] + span").click()


def test_every_view_shows_its_own_and_the_address_remembers_it(visit: Callable[..., Any]) -> None:
    page = visit()
    expect(page.locator("#facts")).to_contain_text("1 of 3 clips kept")
    expect(page.locator(".clip")).to_have_count(1)
    expect(page.locator(".clip")).to_contain_text("a lawn by a stream")
    view(page, "dropped")
    expect(page.locator(".clip .why")).to_have_text(["looks like another clip", SLOW])
    page.get_by_role("button", name="motion below 0.001").click()
    expect(page.locator(".clip .why")).to_have_text([SLOW])
    page.reload()
    expect(page.locator(".clip .why")).to_have_text([SLOW])
    view(page, "clusters")
    expect(page.locator(".cluster")).to_have_count(1)
    expect(page.locator(".cluster .best")).to_have_count(1)
    expect(page.locator(".cluster .clip").first).to_contain_text("a lawn by a stream")
    view(page, "files")
    expect(page.locator(".file")).to_have_count(4)
    expect(page.locator("#message")).to_have_text("4 files")


def test_a_bar_narrows_to_its_clips_and_the_keys_walk_through_them(visit: Callable[..., Any]) -> None:
    page = visit("/?state=all")
    expect(page.locator(".clip")).to_have_count(3)
    page.locator("select[name=sort]").select_option("motion")
    expect(page.locator("#what")).to_have_text("Motion")
    page.locator("#bars button:enabled").last.click()
    expect(page.locator("#message")).to_have_text("1 clip")
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator(".clip")).to_have_count(3)
    page.locator(".clip").first.click()
    expect(page.locator("#place")).to_have_text("1 of 3")
    expect(page.locator("#detail-why")).to_have_text(f"Dropped: {SLOW}")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#place")).to_have_text("3 of 3")
    expect(page.locator("#detail-caption")).to_have_text("a lawn by a stream")
    page.get_by_role("button", name="Show what looks alike").click()
    expect(page.locator("#message")).to_contain_text("2 clips that look alike")
    expect(page.locator(".best")).to_have_text("kept")


def test_a_wrong_condition_is_said_on_the_page(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    page.locator("summary").click()
    page.locator("input[name=where]").fill("motions > 1")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#message.wrong")).to_contain_text("No field named motions. Did you mean 'motion'?")
    expect(page.locator("#message.wrong")).not_to_contain_text("columns")
    page.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_axe_finds_no_serious_fault_in_any_view(visit: Callable[..., Any], scheme: str, width: int) -> None:
    page = visit(color_scheme=scheme, reduced_motion="reduce", viewport={"width": width, "height": 800})
    for name in ("kept", "dropped", "clusters", "files"):
        view(page, name)
        expect(page.locator(".file" if name == "files" else ".clip").first).to_be_visible()
        assert serious_faults(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    view(page, "kept")
    page.locator(".clip").first.click()
    expect(page.locator("#detail-name")).to_be_visible()
    assert serious_faults(page) == [], "detail"


def test_a_slow_answer_is_waited_for_in_words(visit: Callable[..., Any]) -> None:
    page, held = visit(), []
    expect(page.locator("#message")).to_have_text("1 clip")
    page.route("**/clips?*", lambda route: held.append(route))  # playwright takes no method of a list
    view(page, "all")
    expect(page.locator("#message")).to_have_text("Looking for them…")
    held[0].continue_()
    expect(page.locator("#message")).to_have_text("3 clips")
