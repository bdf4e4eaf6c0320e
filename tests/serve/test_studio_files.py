"""Files that are dropped on the page, and what it offers for each model."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.browser import needs_browser, serious_faults
from tests.serve.doubles import MODEL
from tests.serve.studio import Stage, drop

from kinema.config import to_dict
from kinema.media import write_video
from kinema.spec import Extend, Loop, Remix

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra dev: pip install '.[dev]'")
pytestmark = needs_browser
expect = playwright.expect
expect.set_options(timeout=30_000)


def test_a_dropped_video_brings_its_settings_back_and_a_dropped_picture_starts_the_next(
    stage: Callable[..., Stage], visit: Callable[..., Any], tmp_path: Path
) -> None:
    place = stage()
    made = place.add("a green cone — 绿色", seed=123456789, steps=11, frames=33, width=80, height=48)
    page = visit(place)
    expect(page.locator(".tile")).to_have_count(1)
    drop(page, tmp_path / f"{made.id}.mp4", "video/mp4")
    page.get_by_role("button", name="Reload its settings").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a green cone — 绿色")
    assert [page.locator(f"#{name}").input_value() for name in ("seed", "steps", "size", "seconds")] == [
        "123456789", "11", "80x48", "4",
    ]  # fmt: skip
    Image.new("RGB", (300, 200), "red").save(tmp_path / "red.png")
    drop(page, tmp_path / "red.png", "image/png")
    expect(page.locator("#picture")).to_be_visible()
    page.get_by_role("button", name="Make video").click()
    job = place.take()
    assert job.spec.image is not None
    with Image.open(place.artefacts.fetch(job.spec.image, tmp_path / "sent.png")) as sent:
        assert sent.size == (80, 48)


def test_a_dropped_video_is_extended_looped_and_remixed(
    stage: Callable[..., Stage], visit: Callable[..., Any], tmp_path: Path
) -> None:
    place = stage()
    write_video(tmp_path / "me.mp4", np.full((17, 48, 64, 3), 90, np.uint8), 8.0)
    page = visit(place)
    expect(page.locator("#server")).to_have_attribute("data-state", "ready")
    way = page.locator("#clip [data-clip]")
    for name, more, path in (("Extend", "3", "extend"), ("Loop", "1.5", "edit"), ("Remix", None, "edit")):
        drop(page, tmp_path / "me.mp4", "video/mp4")
        expect(page.locator("#clip-name")).to_have_text("me.mp4")
        expect(way.filter(has_text="Reload")).to_be_hidden()
        if name == "Extend":
            expect(page.locator("#clip-length")).to_contain_text("s")
            assert serious_faults(page) == []
        page.locator("#clip").get_by_role("button", name=name, exact=True).click()
        expect(page.locator("#source")).to_contain_text("me.mp4")
        if more is not None:
            page.get_by_label("New length" if name == "Extend" else "Way back").select_option(more)
        page.get_by_label("Prompt", exact=True).fill("a blue ball")
        page.get_by_role("button", name=name, exact=True).click()
        job = place.take()
        (upload,) = place.artefacts.names("inputs")
        wanted = {"Extend": Extend(video=upload, seconds=1.0), "Loop": Loop(video=upload, seconds=1.5)}
        assert job.spec.edit == wanted.get(name, Remix(video=upload))
        assert (job.kind, job.spec.prompt, job.parent) == (path, "a blue ball", None)
        place.leases.failed(job, "stopped", "the test has seen enough", again=False)
        expect(page.locator("#source")).to_be_hidden()


def test_a_dropped_video_that_cannot_be_read_is_refused_in_the_words_of_the_server(
    stage: Callable[..., Stage], visit: Callable[..., Any], tmp_path: Path
) -> None:
    page = visit(stage())
    expect(page.locator("#server")).to_have_attribute("data-state", "ready")
    (tmp_path / "no.mp4").write_bytes(b"\0\0\0\x10ftypisom" + bytes(32))
    drop(page, tmp_path / "no.mp4", "video/mp4")
    expect(page.locator("#clip-length")).to_contain_text("cannot play it")
    expect(page.locator("#clip [data-clip=extend]")).to_be_hidden()
    page.locator("#clip").get_by_role("button", name="Remix").click()
    page.get_by_label("Prompt", exact=True).fill("a blue ball")
    page.get_by_role("button", name="Remix", exact=True).click()
    expect(page.locator("#complaint")).to_contain_text("video")


def test_the_page_offers_what_each_model_can_do(
    stage: Callable[..., Stage], visit: Callable[..., Any], tmp_path: Path
) -> None:
    place = stage()
    made = place.add("a red ball", seed=5)
    text_only = dataclasses.replace(MODEL, pictures=())
    place.leases.offer("mini", json.dumps(to_dict(text_only)))
    page = visit(place, f"/#{made.id}")
    expect(page.locator("#viewer [data-do=remix]")).to_be_visible()
    for name in ("extend", "loop"):
        expect(page.locator(f"#viewer [data-do={name}]")).to_be_hidden()
    page.keyboard.press("e")
    expect(page.locator("#viewer")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Make video")).to_be_visible()
    expect(page.get_by_role("button", name="Storyboard")).to_be_hidden()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    drop(page, tmp_path / "red.png", "image/png")
    expect(page.locator("#complaint")).to_contain_text("from text only")
    place.leases.offer("mini", json.dumps(to_dict(MODEL)))
    page.reload()
    drop(page, tmp_path / "red.png", "image/png")
    expect(page.locator("#picture")).to_be_visible()
    expect(page.get_by_role("button", name="Storyboard")).to_be_visible()
