"""Edits on the page: the lengths that each may have, and its commands, each of which makes the same edit."""

import base64
import dataclasses
import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.browser import needs_browser
from tests.serve.studio import Stage, copied

from kinema.cli import flags
from kinema.cli.edit import EditOptions, request_of
from kinema.serve.job import Job
from kinema.serve.keys import KeyRing, make_key
from kinema.spec import Extend, Loop, VideoSpec

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra dev: pip install '.[dev]'")
pytestmark = needs_browser
expect = playwright.expect
expect.set_options(timeout=10_000)
CLIPBOARD = ["clipboard-read", "clipboard-write"]


@pytest.fixture(autouse=True)
def _commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copied commands run with the packages that the tests run with."""
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


def _order(place: Stage, path: str, **body: Any) -> Job:
    """Ask for an edit as any client does, and finish it; its request as it was asked for."""
    words = ["curl", "-s", f"{place.url}/v1/videos/{path}".rstrip("/"), "-H", "content-type: application/json"]
    subprocess.run([*words, "-d", json.dumps({"prompt": "it's on", **body})], check=True, capture_output=True)
    asked = place.take()
    return dataclasses.replace(place.finish(asked), spec=asked.spec)


def _lengths(page: Any) -> list[float]:
    return [float(option.get_attribute("value")) for option in page.locator("#seconds option").all()]


def test_an_edit_offers_its_own_lengths_for_as_long_as_it_takes_to_choose(
    stage: Callable[..., Stage], visit: Callable[..., Any]
) -> None:
    place = stage()
    source = place.add("a red ball", frames=41)
    page = visit(place, f"/#{source.id}")
    page.get_by_role("button", name="Extend").click()
    offered = _lengths(page)
    assert offered[0] == 5.5
    assert max(offered) == 25
    page.get_by_label("New length").select_option("8")
    with page.expect_response("**/v1/videos/models"):
        pass  # the page asks every few seconds what there is
    page.wait_for_timeout(200)
    assert (_lengths(page), page.get_by_label("New length").input_value()) == (offered, "8")
    page.get_by_role("button", name="Extend").click()
    assert place.take().spec.edit == Extend(video=_file(source), seconds=3.0)
    page.get_by_role("button", name="Open: a red ball").click()
    page.keyboard.press("l")
    ways = _lengths(page)
    assert sorted(ways) == [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]
    with page.expect_response("**/v1/videos/models"):
        pass
    page.wait_for_timeout(200)
    assert (_lengths(page), page.get_by_label("Way back").input_value()) == (ways, "1")
    page.get_by_role("button", name="Loop", exact=True).click()
    assert place.take().spec.edit == Loop(video=_file(source), seconds=1.0)
    expect(page.locator("#seconds option[value='20']")).to_be_attached()  # of a new video again
    assert max(_lengths(page)) == 20


def test_what_may_not_get_longer_is_offered_neither(stage: Callable[..., Stage], visit: Callable[..., Any]) -> None:
    place = stage()
    source = place.add("a red ball", frames=8 * 119 + 1)
    page = visit(place, f"/#{source.id}")
    page.get_by_role("button", name="Extend").click()
    assert _lengths(page) == [119.5, 120]
    longest = place.add("a blue box", frames=8 * 120 + 1)
    page.goto(f"{place.url}/#{longest.id}")
    expect(page.locator("#viewer-prompt")).to_have_text("a blue box")
    for name in ("extend", "loop"):
        expect(page.locator(f"#viewer [data-do={name}]")).to_be_hidden()


EDITS: list[tuple[str, dict[str, Any]]] = [
    ("edits", {"edit": {"kind": "loop", "seconds": 1.0}}),
    ("edits", {"edit": {"kind": "vary", "strength": 0.3}}),
    ("edits", {"edit": {"kind": "replace", "start": 0.5, "end": 1.0, "strength": 0.8}}),
    ("edits", {"edit": {"kind": "blend", "other": {"id": "SOURCE"}, "seconds": 1.0, "strength": 0.5}}),
    (
        "edits",
        {"edit": {"kind": "join", "cuts": [{"video": {"id": "SOURCE"}, "end": 1.0}, {"video": {"id": "SOURCE"}}]}},
    ),
    ("extensions", {"seconds": 3}),
    ("extensions", {"seconds": 3, "direction": "backward"}),
]
IDS = ["loop", "vary", "replace", "blend", "join", "extend", "extend back"]


@pytest.mark.parametrize(("path", "body"), EDITS, ids=IDS)
def test_every_command_of_an_edit_makes_that_edit(
    stage: Callable[..., Stage], visit: Callable[..., Any], path: str, body: dict[str, Any]
) -> None:
    place = stage()
    source = place.add("a red ball", seed=5, negative="blue")
    body = json.loads(json.dumps(body).replace("SOURCE", source.id))
    made = _order(place, path, video={"id": source.id}, seed=9, **body)
    page = visit(place, f"/#{made.id}", permissions=CLIPBOARD)
    expect(page.locator("#viewer-video")).to_be_visible()
    answer = subprocess.run(["bash", "-c", copied(page, "curl") + " -s"], capture_output=True, text=True, check=True)
    assert "error" not in json.loads(answer.stdout) or json.loads(answer.stdout)["error"] is None, answer.stdout
    again = place.take()
    assert (again.spec, again.kind, again.parent) == (made.spec, made.kind, source.id)
    place.leases.failed(again, "stopped", "seen enough", again=False)

    script = copied(page, "Python").replace("videos.poll", "videos.retrieve").rpartition("client.videos.download")[0]
    subprocess.run(["python", "-c", script], check=True)
    again = place.take()
    assert (again.spec, again.kind, again.parent) == (made.spec, made.kind, source.id)
    place.leases.failed(again, "stopped", "seen enough", again=False)

    *fetches, command = copied(page, "command").split(" && \\\n")
    for fetch in fetches:
        subprocess.run(["bash", "-c", fetch], check=True, cwd=place.folder)
    assert (place.folder / f"{source.id}.mp4").read_bytes().startswith(b"\0\0\0")
    words = shlex.split(command)
    assert words[:2] == ["kinema", "edit"]
    request = request_of(flags.parse(EditOptions, words[2:], "edit"))
    assert request.edit == made.spec.with_files({_file(source): f"{source.id}.mp4"}).edit
    if request.edit is not None and request.edit.kind != "join":
        _require_same(request, made.spec)


def _require_same(request: VideoSpec, made: VideoSpec) -> None:
    names = ("prompt", "seed", "negative", "steps", "guidance", "solver", "shift", "width", "height")
    assert {name: getattr(request, name) for name in names} == {name: getattr(made, name) for name in names}


def test_a_remix_is_copied_as_one_and_as_a_new_video_once_its_source_is_gone(
    stage: Callable[..., Stage], visit: Callable[..., Any]
) -> None:
    place = stage()
    source = place.add("a red ball", seed=5)
    remix = _order(place, f"{source.id}/remix")
    loop = _order(place, "edits", video={"id": source.id}, edit={"kind": "loop", "seconds": 1})
    page = visit(place, f"/#{remix.id}", permissions=CLIPBOARD)
    expect(page.locator("#viewer-video")).to_be_visible()
    assert f"/v1/videos/{source.id}/remix" in copied(page, "curl")
    assert f'client.videos.remix(\n    "{source.id}",' in copied(page, "Python")
    assert copied(page, "command").startswith("kinema generate 'it'\\''s on'")
    place.jobs.delete(source.id)
    expect(page.locator(".tile")).to_have_count(2)
    answer = subprocess.run(["bash", "-c", copied(page, "curl") + " -s"], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout)["prompt"] == "it's on"
    assert place.take().spec == remix.spec
    page.goto(f"{place.url}/#{loop.id}")
    page.locator("#viewer").get_by_role("button", name="curl").click()
    expect(page.locator("#toast")).to_contain_text("not here any more")


def test_an_edit_is_copied_before_it_is_made(stage: Callable[..., Stage], visit: Callable[..., Any]) -> None:
    place = stage()
    source = place.add("a red ball", seed=5)
    page = visit(place, f"/#{source.id}", permissions=CLIPBOARD)
    page.get_by_role("button", name="Loop").click()
    page.get_by_label("Seed").fill("11")
    page.get_by_label("Prompt", exact=True).fill("round")
    texts = {}
    for name in ("curl", "command"):
        page.locator("#composer-copy summary").click()
        texts[name] = copied(page, name, place="#composer-copy")
    subprocess.run(["bash", "-c", texts["curl"] + " -s"], capture_output=True, check=True)
    job = place.take()
    assert (job.spec.edit, job.spec.seed, job.spec.prompt) == (Loop(video=_file(source), seconds=1.0), 11, "round")
    assert "--loop 1 " in texts["command"]
    assert "--seed 11 " in texts["command"]


def test_where_keys_are_needed_a_copied_text_takes_the_key_from_its_surroundings(
    stage: Callable[..., Stage], visit: Callable[..., Any]
) -> None:
    token, key = make_key("anna")
    place = stage(KeyRing(keys=(key,)))
    source = place.add("a red ball", owner="anna")
    page = visit(place, f"/#{source.id}", permissions=CLIPBOARD)
    page.get_by_label("API key").fill(token)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Loop").click()
    page.locator("#composer-copy summary").click()
    fetch = copied(page, "command", place="#composer-copy").split(" && \\\n")[0]
    known = {**os.environ, "OPENAI_API_KEY": token}
    subprocess.run(["bash", "-c", fetch], check=True, cwd=place.folder, env=known)
    fetched = (place.folder / f"{source.id}.mp4").read_bytes()
    assert fetched == place.artefacts.read(_file(source))
    assert token not in fetch


def test_what_began_with_a_picture_is_copied_as_a_remix_and_what_came_from_an_upload_is_not(
    stage: Callable[..., Stage], visit: Callable[..., Any], tmp_path: Path
) -> None:
    place = stage()
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    address = f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
    made = _order(place, "", input_reference={"image_url": address}, seed=9)
    page = visit(place, f"/#{made.id}", permissions=CLIPBOARD)
    subprocess.run(["bash", "-c", copied(page, "curl") + " -s"], check=True, capture_output=True)
    again = place.take()
    assert (again.spec, again.parent, again.spec.image is not None) == (made.spec, made.id, True)
    place.leases.failed(again, "stopped", "seen enough", again=False)
    expect(page.locator("#viewer [data-copy=cli]")).to_be_hidden()
    page.keyboard.press("u")
    expect(page.locator("#toast")).to_contain_text("add the first picture again")
    form = ["-F", "prompt=x", "-F", f"video=@{tmp_path / f'{made.id}.mp4'}", "-F", 'edit={"kind": "vary"}']
    subprocess.run(["curl", "-s", f"{place.url}/v1/videos/edits", *form], check=True, capture_output=True)
    edited = place.finish(place.take())
    page.goto(f"{place.url}/#{edited.id}")
    expect(page.locator("#viewer-prompt")).to_have_text("x")
    assert page.locator("#viewer [data-copy]:visible").count() == 0


def test_a_link_to_a_video_that_is_not_there_says_so(stage: Callable[..., Stage], visit: Callable[..., Any]) -> None:
    place = stage()
    made = place.add("a red ball")
    page = visit(place, "/#video_nobody")
    expect(page.locator("#toast")).to_contain_text("not here: it was deleted")
    assert "#" not in page.url
    page.get_by_role("button", name="Open: a red ball").click()
    expect(page.locator("#viewer-prompt")).to_be_visible()
    place.jobs.delete(made.id)
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page.locator("#toast")).to_contain_text("not here: it was deleted")


@pytest.mark.parametrize("width", [320, 360, 480, 700, 1280])
def test_the_button_that_makes_several_fits_its_words(
    stage: Callable[..., Stage], visit: Callable[..., Any], width: int
) -> None:
    page = visit(stage(), viewport={"width": width, "height": 740})
    expect(page.locator("#server")).to_have_attribute("data-state", "ready")
    page.get_by_label("Takes").select_option("4")
    button = page.get_by_role("button", name="Make 4 videos")
    assert button.bounding_box()["height"] < 50
    assert page.evaluate("document.querySelector('#go').scrollWidth <= document.querySelector('#go').clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width > 1000:  # all of it is one row
        size, go = page.locator("#size").bounding_box(), button.bounding_box()
        assert abs(size["y"] + size["height"] / 2 - go["y"] - go["height"] / 2) < 8


def _file(job: Job) -> str:
    assert job.result is not None
    return job.result.artefacts["video"].name
