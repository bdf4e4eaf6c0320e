import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.serve.doubles import Place
from tests.serve.measure_moderation import measure

from kinema.cli import main as cli
from kinema.errors import SpecError
from kinema.serve.moderation import Blocked, Policy, PolicyFile, Rule
from kinema.serve.settings import ServeSettings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def _policy(**more: Any) -> Policy:
    rules = (Rule(category="violence", all=("a",)),)
    return Policy(
        **{"block": ("violence",), "block_low": (), "groups": {"a": ("zork", "red plum*")}, "rules": rules, **more}
    )


@pytest.mark.parametrize(
    "text",
    ["zork", "ZORK!", "z0rk", "z o r k", "z.o.r.k", "z-o_r k", "zoooork", "z\u200bo\u00adrk",
     "\uff5a\uff4f\uff52\uff4b", "z\u043erk", "z\u00f6rk", "a z o r k here", "see a z.o.r.k",
     "\U0001d4e9\U0001d4f8\U0001d4fb\U0001d4f4", "red plums", "red\nplum-tree", "r3d plumage"],
)  # fmt: skip
def test_a_word_is_found_behind_its_disguise(text: str) -> None:
    assert _policy().flags(text) == ["violence"]


@pytest.mark.parametrize("text", ["zorky", "azork", "red apple", "plum red", "z o", "", "z\u3042rk"])
def test_other_words_are_left_alone(text: str) -> None:
    assert _policy().flags(text) == []


def test_a_rule_wants_a_word_of_each_group_and_innocent_phrases_do_not_count() -> None:
    groups = {"a": ("zork",), "b": ("plum",)}
    policy = _policy(groups=groups, rules=(Rule(category="hate", all=("a", "b")),), innocent=("plum cake",))
    assert policy.flags("a zork eats a plum") == ["hate"]
    assert policy.flags("a zork eats plum cake") == policy.flags("a zork") == []
    assert policy.flags("a zork eats plum cake, then a plum") == ["hate"]


def test_low_refuses_less(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Blocked, match="violence"):
        _policy().require_allowed("zork")
    _policy().require_allowed("zork", "low")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"block": ("violense",)}, "violence"),
        ({"rules": (Rule(category="hate", all=("c",)),)}, "unknown group 'c'"),
        ({"rules": (Rule(category="hate", all=()),)}, "everything"),
        ({"groups": {"a": ("",)}}, "empty word"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        _policy(**change)


def test_the_default_policy_is_right_about_the_list_that_it_was_made_with() -> None:
    wrong = {kind: counts.wrong for kind, counts in measure(PolicyFile().policy, "prompts.tsv").items()}
    assert all(not prompts for prompts in wrong.values()), wrong


def test_the_default_policy_is_mostly_right_about_prompts_that_it_was_not_made_with() -> None:
    counts = measure(PolicyFile().policy, "prompts_unseen.tsv")
    assert len(counts["allow"].wrong) <= 2
    assert len(counts["any"].wrong) <= 4


def test_long_texts_are_judged_in_time_that_grows_with_them_only() -> None:
    policy = PolicyFile().policy
    for text in ("s e x " * 5000, "1a" * 16_000, "a" * 32_000, "a " * 16_000):
        policy.flags(text)  # a pattern that goes back over what it read would not end


def test_an_edited_policy_counts_at_once_and_a_broken_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    assert cli.main(["serve", "--make-policy", str(path)]) == 0
    file = PolicyFile(path)
    assert file.policy.flags("a purple zork") == []
    edited = json.loads(path.read_text())
    edited["groups"]["gore"].append("purple zork")
    path.write_text(json.dumps(edited))
    assert file.policy.flags("a purple zork") == ["violence", "violence/graphic"]
    path.write_text("{")
    assert file.policy.flags("a purple zork") == ["violence", "violence/graphic"]
    assert cli.main(["serve", "--dry-run", "--policy", str(path)]) == 2
    assert cli.main(["serve", "--make-policy", str(path)]) == 2


def test_a_refused_prompt_makes_no_job_on_any_way_in(place: Place) -> None:
    videos = place.client.videos
    made = videos.create_and_poll(prompt="a red ball", poll_interval_ms=20)
    source = {"extra_body": {"video": {"id": made.id}}}
    asks: list[Callable[[], Any]] = [
        lambda: videos.create(prompt="a n u d e woman"),
        lambda: videos.remix(made.id, prompt="p0rn"),
        lambda: videos.edit(prompt="p0rn", video=openai.omit, **source),  # type: ignore[arg-type]
        lambda: videos.extend(prompt="p0rn", seconds="8", video=openai.omit, **source),  # type: ignore[arg-type]
    ]
    for ask in asks:
        with pytest.raises(openai.BadRequestError) as refused:
            ask()
        assert (refused.value.code, refused.value.param) == ("moderation_blocked", "prompt")
    assert len(videos.list().data) == 1


def test_a_negative_prompt_may_name_what_is_not_wanted(place: Place) -> None:
    unwanted = "nude woman, a man is beheaded"
    assert place.client.moderations.create(input=unwanted).results[0].flagged
    for guidance in ({}, {"guidance": 1}, {"guidance_scale": 6}):
        made = place.client.videos.create(prompt="a red ball", extra_body={"negative_prompt": unwanted, **guidance})
        assert made.status == "queued"
        assert made.to_dict()["negative_prompt"] == unwanted


@pytest.mark.parametrize("guidance", [{"guidance": 0}, {"guidance_scale": 0.9}, {"guidance": 6, "guidance_low": 0}])
def test_guidance_that_leads_to_the_negative_prompt_makes_it_one_to_judge(
    place: Place, guidance: dict[str, float]
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        place.client.videos.create(prompt="a red ball", extra_body={"negative_prompt": "nude woman", **guidance})
    assert refused.value.code == "moderation_blocked"


def test_a_harmless_negative_prompt_may_be_led_to(place: Place) -> None:
    body = {"negative_prompt": "blurry", "guidance": 0}
    assert place.client.videos.create(prompt="a red ball", extra_body=body).status == "queued"


def test_the_operator_s_policy_decides(open_place: Callable[..., Place], tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    rule = {"category": "violence", "all": ["a"]}
    policy = {"block": ["violence"], "block_low": [], "groups": {"a": ["ball"]}, "rules": [rule]}
    path.write_text(json.dumps(policy))
    place = open_place(ServeSettings(policy=str(path)))
    with pytest.raises(openai.BadRequestError):
        place.client.videos.create(prompt="a red ball")
    assert place.client.videos.create(prompt="a red ball", extra_body={"moderation": "low"}).status == "queued"
    assert place.client.videos.create(prompt="a nude").status == "queued"


def test_the_official_client_asks_for_judgements(place: Place) -> None:
    found = place.client.moderations.create(input=["a red ball", "a man is beheaded"])
    assert [result.flagged for result in found.results] == [False, True]
    assert found.results[1].categories.violence_graphic
    assert found.results[1].category_scores.violence_graphic == 1.0
    mixed = place.client.moderations.create(
        input=[{"type": "text", "text": "a nude"}, {"type": "text", "text": "child"}]
    )
    assert [result.categories.sexual_minors for result in mixed.results] == [True]
    assert not place.client.moderations.create(input="a kitten").results[0].flagged
    with pytest.raises(openai.BadRequestError, match="pictures"):
        place.client.moderations.create(input=[{"type": "image_url", "image_url": {"url": "data:image/png;base64,x"}}])
