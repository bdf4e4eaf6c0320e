import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.browser import needs_browser, serious_faults
from tests.serve.studio import PREVIEW, Stage, ask, copied, follow_cancel, plays, until

from kinema.cli import flags
from kinema.cli.generate import Generate
from kinema.serve.keys import KeyRing, make_key
from kinema.spec import Card, Extend, Loop, Storyboard

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra dev: pip install '.[dev]'")
pytestmark = needs_browser
expect = playwright.expect
expect.set_options(timeout=30_000)


def test_a_prompt_becomes_a_card_with_progress_and_then_a_video_that_plays(
    stage: Callable[..., Stage], visit: Callable[..., Any]
) -> None:
    place = stage()
    page = visit(place)
    expect(page.locator("#empty")).to_be_visible()
    ask(page, "a red ball rolls")
    card = page.locator(".job")
    expect(card.locator(".state")).to_contain_text("Next in line")
    ask(page, "a blue box falls")
    expect(page.locator(".job .state").nth(1)).to_contain_text("1 ahead in line")
    job = place.take()
    assert job.spec.prompt == "a red ball rolls"
    place.work(job, 42)
    place.leases.preview(job, PREVIEW)
    expect(card.first.locator(".state")).to_contain_text("Imagining · 42 % · about 30 s left")
    expect(card.first.get_by_role("progressbar")).to_have_js_property("value", 42)
    expect(card.first.locator("img")).to_have_attribute("src", PREVIEW)
    expect(page.locator(".job .state").nth(1)).to_contain_text("Next in line")
    assert page.title() == "42 % · Kinema"
    place.finish(job)
    page.get_by_role("button", name="Open: a red ball rolls").click()
    expect(page.locator("#viewer-prompt")).to_have_text("a red ball rolls")
    plays(page)
    assert page.url.endswith(f"#{job.id}")


def test_closing_the_page_in_the_middle_loses_nothing(stage: Callable[..., Stage], visit: Callable[..., Any]) -> None:
    place = stage()
    page = visit(place)
    ask(page, "a red ball rolls")
    job = place.take()
    place.work(job, 10)
    expect(page.locator(".job .state")).to_contain_text("10 %")
    page.get_by_label("Prompt", exact=True).fill("not sent yet")
    page.get_by_label("Seed").fill("7")
    place.leases.preview(job, PREVIEW)
    place.work(job, 30)
    page.reload()
    expect(page.locator(".job .state")).to_contain_text("30 %")
    expect(page.locator(".job img")).to_have_attribute("src", PREVIEW)
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("not sent yet")
    expect(page.get_by_label("Seed")).to_have_value("7")
    place.finish(job)
    expect(page.locator(".tile")).to_have_count(1)
    page.reload()
    expect(page.locator(".tile")).to_have_count(1)


def test_a_server_that_is_started_again_in_the_middle_is_found_again(
    stage: Callable[..., Stage], visit: Callable[..., Any]
) -> None:
    place = stage()
    page = visit(place)
    ask(page, "a red ball rolls")
    job = place.take()
    place.work(job, 20)
    expect(page.locator(".job .state")).to_contain_text("20 %")
    place.stop()
    expect(page.locator("#banner")).to_contain_text("Your queue is safe")
    ask(page, "asked of nobody")
    expect(page.locator("#complaint")).to_contain_text("does not answer")
    place.work(job, 60)
    place.start()
    expect(page.locator(".job .state")).to_contain_text("60 %")
    expect(page.locator("#banner")).to_be_hidden()
    place.finish(job)
    expect(page.locator(".tile")).to_have_count(1)
    page.get_by_role("button", name="Make video").click()
    assert place.take().spec.prompt == "asked of nobody"


def test_a_video_that_waits_and_one_that_runs_can_be_cancelled_and_tried_again(
    stage: Callable[..., Stage], visit: Callable[..., Any]
) -> None:
    place = stage()
    page = visit(place)
    ask(page, "running")
    running = place.take()
    ask(page, "waiting")
    page.get_by_role("button", name="Cancel: waiting").dblclick()  # the second falls on Dismiss
    expect(page.locator(".job.is-cancelled")).to_have_count(1)
    with follow_cancel(place, running):
        page.get_by_role("button", name="Cancel: running").click()
        expect(page.locator(".job.is-cancelled")).to_have_count(2)
    page.get_by_role("button", name="Retry: waiting").click()
    expect(page.locator(".job:not(.is-cancelled) .state")).to_contain_text("Next in line")
    again = place.take()
    assert again.spec.prompt == "waiting"
    place.leases.failed(again, "invalid_request", "size=1x1 does not fit; use 16x16", again=False)
    expect(page.locator(".job .why", has_text="use 16x16")).to_be_visible()
    page.get_by_role("button", name="Dismiss: running").click()
    expect(page.locator(".job")).to_have_count(1)


def test_a_refusal_is_shown_in_the_words_of_the_server_beside_its_field(
    stage: Callable[..., Stage], visit: Callable[..., Any]
) -> None:
    page = visit(stage())
    page.get_by_label("Seed").fill("-1")
    ask(page, "a red ball")
    expect(page.locator("#complaint")).to_contain_text("seed=-1")
    expect(page.get_by_label("Seed")).to_be_focused()
    page.get_by_label("Seed").fill("3")
    expect(page.locator("#complaint")).to_have_text("")


def test_remix_extend_and_reuse_ask_for_what_they_say(stage: Callable[..., Stage], visit: Callable[..., Any]) -> None:
    place = stage()
    source = place.add("a red ball", seed=5)
    page = visit(place, f"/#{source.id}")
    page.get_by_role("button", name="Remix").click()
    ask(page, "a blue ball")
    remix = place.take()
    assert (remix.kind, remix.parent, remix.spec.seed, remix.spec.prompt) == ("remix", source.id, 5, "a blue ball")
    place.finish(remix)
    page.get_by_role("button", name="Open: a red ball").click()
    expect(page.locator("#lineage li")).to_have_count(2)
    page.keyboard.press("e")
    page.get_by_label("New length").select_option("4")
    ask(page, "it stops")
    extension = place.take()
    assert (extension.kind, extension.parent, extension.request["seconds"]) == ("extend", source.id, "4")
    page.get_by_role("button", name="Open: a red ball").click()
    page.keyboard.press("u")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a red ball")
    page.get_by_label("Takes").select_option("2")
    page.get_by_role("button", name="Make 2 videos").click()
    assert [place.take().spec.seed for _ in range(2)] == [5, 6]


def test_a_loop_and_a_longer_video_are_the_engine_s_edits(
    stage: Callable[..., Stage], visit: Callable[..., Any]
) -> None:
    place = stage()
    source = place.add("a red ball", seed=5)
    page = visit(place, f"/#{source.id}")
    page.get_by_role("button", name="Loop").click()
    expect(page.locator("#source")).to_contain_text("Loop of")
    page.get_by_label("Way back").select_option("1.5")
    page.get_by_role("button", name="Loop", exact=True).click()
    loop = place.take()
    assert source.result is not None
    name = source.result.artefacts["video"].name
    assert (loop.spec.edit, loop.parent, loop.request["seconds"]) == (Loop(video=name, seconds=1.5), source.id, "3.5")
    place.finish(loop)
    page.locator(".tile .open").last.click()
    expect(page.locator("#lineage li")).to_have_count(2)
    page.keyboard.press("e")
    page.get_by_label("New length").select_option("3")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Extend").click()
    assert place.take().spec.edit == Extend(video=name, seconds=1.0)


def test_a_storyboard_is_laid_out_and_comes_back(stage: Callable[..., Stage], visit: Callable[..., Any]) -> None:
    place = stage()
    page = visit(place)
    page.get_by_label("Prompt", exact=True).fill("a red ball rolls")
    page.get_by_role("button", name="Storyboard").click()
    expect(page.get_by_label("Scene 2: prompt")).to_be_focused()
    page.keyboard.type("it stops")
    page.get_by_label("Scene 2: length").select_option("0.5")
    page.get_by_role("button", name="Add a scene").click()
    page.keyboard.type("it turns blue")
    page.get_by_role("button", name="Move scene 3 earlier").press("Enter")
    expect(page.get_by_label("Scene 2: prompt")).to_have_value("it turns blue")
    page.get_by_role("button", name="Add a scene").click()
    page.get_by_role("button", name="Make video").click()
    expect(page.get_by_label("Scene 4: prompt")).to_be_focused()  # it is empty
    page.get_by_role("button", name="Remove scene 4").click()
    expect(page.locator("#story-total")).to_have_text("2 s in all")
    page.reload()
    expect(page.get_by_label("Scene 3: prompt")).to_have_value("it stops")
    page.get_by_role("button", name="Make video").click()
    job = place.take()
    cards = (Card(second=1.0, prompt="it turns blue"), Card(second=1.5, prompt="it stops"))
    assert (job.spec.edit, job.spec.frames, job.spec.prompt) == (Storyboard(cards=cards), 17, "a red ball rolls")
    place.finish(job)
    page.get_by_role("button", name="Storyboard").click()
    expect(page.locator("#story")).to_be_hidden()
    page.get_by_role("button", name="Open: a red ball rolls").click()
    expect(page.locator("#viewer-facts")).to_contain_text("1 s: it turns blue\n1.5 s: it stops")
    page.keyboard.press("u")
    expect(page.get_by_label("Scene 3: prompt")).to_have_value("it stops")
    page.get_by_role("button", name="Move scene 2 earlier").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("it turns blue")


def test_the_gallery_is_searched_starred_compared_and_walked_by_keys(
    stage: Callable[..., Stage], visit: Callable[..., Any]
) -> None:
    place = stage()
    for prompt in ("a red ball", "a blue box", "a green cone"):
        place.add(prompt)
    page = visit(place)
    expect(page.locator(".tile")).to_have_count(3)
    page.keyboard.press("/")
    page.keyboard.type("BLUE")
    expect(page.locator(".tile")).to_have_count(1)
    page.get_by_label("Search prompts").fill("")
    page.get_by_role("button", name="Favourite: a red ball").click()
    page.reload()
    page.get_by_role("button", name="Favourites", exact=True).click()
    expect(page.locator(".tile")).to_have_count(1)
    page.get_by_role("button", name="Favourites", exact=True).click()
    page.get_by_role("button", name="Open: a green cone").hover()
    until(page, "document.querySelector('.tile video')?.currentTime > 0")
    page.get_by_role("button", name="Open: a green cone").click()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-prompt")).to_have_text("a blue box")
    page.keyboard.press("c")
    page.get_by_role("button", name="Open: a red ball").click()
    expect(page.locator("#compare tr.differs")).to_have_count(1)  # the prompts
    until(page, "[...document.querySelectorAll('#pair video')].every((film) => film.currentTime > 0)")
    page.keyboard.press("Escape")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Open: a red ball").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".tile")).to_have_count(2)


def test_what_is_copied_works_as_it_stands(
    stage: Callable[..., Stage], visit: Callable[..., Any], tmp_path: Path
) -> None:
    place = stage()
    made = place.add('it\'s "red" & $5', seed=9, negative="blue")
    page = visit(place, f"/#{made.id}", permissions=["clipboard-read", "clipboard-write"])
    texts = {name: copied(page, name) for name in ("curl", "Python", "command")}
    answer = subprocess.run(["bash", "-c", texts["curl"] + " -s"], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout)["prompt"] == made.spec.prompt
    curled = place.take()
    calls: list[dict[str, Any]] = []

    class Client:
        def __init__(self, **kwargs: Any) -> None:
            self.videos = self

        def create_and_poll(self, **kwargs: Any) -> Any:
            calls.append(kwargs)
            return made

        def download_content(self, video_id: str) -> Any:
            return self

        def write_to_file(self, path: str) -> None: ...

    exec(texts["Python"].replace("import openai", ""), {"openai": type("openai", (), {"OpenAI": Client})})
    (call,) = calls
    assert (call["prompt"], call["extra_body"]["seed"]) == (made.spec.prompt, 9)
    words = ["bash", "-c", texts["command"].replace("kinema generate", "printf '%s\\n'")]
    typed = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert typed.stdout.splitlines()[0] == made.spec.prompt
    assert (curled.spec, "--seed 9" in texts["command"]) == (made.spec, True)


def test_a_copied_command_takes_words_that_begin_with_a_dash_for_no_flags(
    stage: Callable[..., Stage], visit: Callable[..., Any]
) -> None:
    place = stage()
    made = place.add("-one red ball", seed=9, negative="-blue")
    page = visit(place, f"/#{made.id}", permissions=["clipboard-read", "clipboard-write"])
    words = shlex.split(copied(page, "command"))
    options = flags.parse(Generate, words[2:], "generate")
    assert (options.prompt, options.sampling.negative, options.sampling.seed) == (made.spec.prompt, "-blue", 9)


def test_where_keys_are_needed_the_page_asks_for_one(stage: Callable[..., Stage], visit: Callable[..., Any]) -> None:
    token, key = make_key("anna")
    place = stage(KeyRing(keys=(key,)))
    page = visit(place)
    page.get_by_label("API key").fill("sk-wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#key-complaint")).to_contain_text("does not know this key")
    page.get_by_label("API key").fill(token)
    page.keyboard.press("Enter")
    expect(page.locator("#key-dialog")).to_be_hidden()
    ask(page, "a red ball rolls")
    job = place.take()
    assert job.owner == "anna"
    place.finish(job)
    until(page, "document.querySelector('.tile img')?.naturalWidth > 0")
    page.get_by_role("button", name="Open: a red ball rolls").click()
    plays(page)
    page.reload()
    expect(page.locator("#viewer-prompt")).to_have_text("a red ball rolls")


def test_an_open_link_needs_no_key_and_the_page_itself_plays_from_one(
    stage: Callable[..., Stage], visit: Callable[..., Any]
) -> None:
    token, key = make_key("anna")
    place = stage(KeyRing(keys=(key,)))
    made = place.add("a red ball", owner="anna")
    page = visit(place, f"/#{made.id}", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_label("API key").fill(token)
    page.keyboard.press("Enter")
    plays(page)
    assert "signature=" in page.locator("#viewer-video").get_attribute("src")
    page.get_by_role("button", name="open link").click()
    expect(page.locator("#toast")).to_contain_text("needs no key")
    shared = page.evaluate("navigator.clipboard.readText()")
    answer = subprocess.run(["curl", "-s", shared], capture_output=True, check=True)
    assert answer.stdout == (place.folder / f"{made.id}.mp4").read_bytes()


def test_the_marks_of_a_file_are_shown_as_the_server_finds_them(
    stage: Callable[..., Stage], visit: Callable[..., Any]
) -> None:
    place = stage()
    made = place.add("a red ball")
    page = visit(place, f"/#{made.id}")
    page.get_by_role("button", name="Verify").click()
    expect(page.locator("#proof")).to_contain_text("The request, in the file")
    expect(page.locator("#proof .is-found")).to_have_count(1)  # this file carries no other mark
    expect(page.locator("#proof .is-found small")).to_have_text(
        "Rests on the file’s word, which the signature covers where one holds."  # noqa: RUF001
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault_in_any_state(
    stage: Callable[..., Stage], visit: Callable[..., Any], scheme: str
) -> None:
    place = stage()

    def check(page: Any, state: str) -> None:
        assert serious_faults(page) == [], state

    page = visit(place, color_scheme=scheme, reduced_motion="reduce")
    expect(page.locator("#empty")).to_be_visible()
    check(page, "empty")
    ask(page, "a red ball")
    job = place.take()
    place.work(job, 40)
    ask(page, "a blue box")
    page.get_by_role("button", name="Advanced").click()
    page.get_by_label("Seed").fill("-1")
    page.keyboard.press("Enter")
    expect(page.locator("#complaint")).to_contain_text("seed=-1")
    check(page, "running, with a complaint")
    page.get_by_role("button", name="Storyboard").click()
    page.get_by_role("button", name="Add a scene").click()
    check(page, "storyboard")
    page.get_by_role("button", name="Storyboard").click()
    place.finish(job)
    place.leases.failed(place.take(), "invalid_request", "it does not fit", again=False)
    expect(page.locator(".job .why", has_text="it does not fit")).to_be_visible()
    page.get_by_role("button", name="Open: a red ball").click()
    plays(page)
    check(page, "viewer")
    page.get_by_role("button", name="Verify").click()
    expect(page.locator("#proof .is-found")).to_be_visible()
    check(page, "verify")
    page.keyboard.press("Escape")
    page.locator("#show-keys").click()
    check(page, "keys")


def test_the_page_speaks_chinese_and_fits_a_telephone(stage: Callable[..., Stage], visit: Callable[..., Any]) -> None:
    place = stage()
    made = place.add("a red ball")
    page = visit(place, locale="zh-CN", viewport={"width": 360, "height": 740}, has_touch=True)
    expect(page.get_by_role("heading", level=1)).to_have_text("你想看到什么？")  # noqa: RUF001
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    ask_in_chinese = page.get_by_label("提示词", exact=True)
    ask_in_chinese.fill("a very long prompt " * 20)
    page.get_by_role("button", name="生成视频").click()
    expect(page.locator(".job .state")).to_contain_text("即将开始")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.evaluate(f"location.hash = '{made.id}'")
    expect(page.locator("#viewer-prompt")).to_be_visible()
    assert page.evaluate("document.querySelector('#viewer').scrollWidth") <= 360


def test_every_word_is_there_in_both_languages(stage: Callable[..., Stage], visit: Callable[..., Any]) -> None:
    page = visit(stage())
    missing = page.evaluate(
        """async () => {
          const { LANGUAGES } = await import("/studio/words.js");
          const isGroup = (value) => typeof value === "object" && !Array.isArray(value);
          const names = (tree, before = "") => Object.entries(tree).flatMap(([name, value]) =>
            isGroup(value) ? names(value, `${before}${name}.`) : [before + name]);
          const [en, zh] = [names(LANGUAGES.en), names(LANGUAGES.zh)];
          const marked = [...document.querySelectorAll("[data-t],[data-label],[data-hint],[data-alt]")]
            .flatMap(({ dataset: { t, label, hint, alt } }) => [t, label, hint, alt])
            .filter((name) => name && !en.includes(name));
          return [...marked, ...en.filter((name) => !zh.includes(name)), ...zh.filter((name) => !en.includes(name))];
        }"""
    )
    assert missing == []
