"""Files that are dropped on the page, and what it offers for each model."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.browser import needs_browser
from tests.serve.doubles import MODEL
from tests.serve.studio import Stage, drop

from kinema.config import to_dict

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
    (tmp_path / "no.mp4").write_bytes(b"\0\0\0\x10ftypisom" + bytes(32))
    drop(page, tmp_path / "no.mp4", "video/mp4")
    expect(page.locator("#complaint")).to_contain_text("does not say how it was made")


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
    expect(page.locator("#picture-pill")).to_be_hidden()
    expect(page.get_by_role("button", name="Storyboard")).to_be_hidden()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    drop(page, tmp_path / "red.png", "image/png")
    expect(page.locator("#complaint")).to_contain_text("from text only")
    place.leases.offer("mini", json.dumps(to_dict(MODEL)))
    page.reload()
    expect(page.locator("#picture-pill")).to_be_visible()
    expect(page.get_by_role("button", name="Storyboard")).to_be_visible()
