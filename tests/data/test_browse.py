import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pytest
from tests.servers import serving

from kinema.data import DataRecipe, Store, run_recipe
from kinema.data.browse import Browser, make_server
from kinema.data.ingest import Source
from kinema.data.pool import Limits
from kinema.data.split import SplitConfig
from kinema.errors import DataError


@pytest.fixture(scope="module")
def made(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("browsed") / "set"
    recipe = DataRecipe(
        sources=(Source(path=str(footage)),), out=out, split=SplitConfig(min_s=1.6), limits=Limits(workers=0),
        max_failures=0.6,
    )  # fmt: skip
    run_recipe(recipe, ("ingest", "split", "filter", "dedup"))
    return out


@pytest.fixture(scope="module")
def address(made: Path) -> Iterator[str]:
    server = make_server(Store(made), 0)
    with serving(server) as address:
        yield address


def get(url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


def test_the_page_needs_nothing_from_elsewhere(address: str) -> None:
    status, page, _ = get(address + "/")
    assert status == 200
    assert b"http://" not in page
    assert b"https://" not in page


def test_kept_and_dropped_clips_are_listed_with_their_reasons(address: str) -> None:
    overview = json.loads(get(address + "/overview")[1])
    assert (overview["clips"], overview["kept"], overview["reasons"]) == (3, 1, {"shorter than 1.6 s": 2})
    kept = json.loads(get(address + "/clips?state=kept")[1])
    assert [Path(clip["uri"]).name for clip in kept["clips"]] == ["it's one.mp4"]
    dropped = json.loads(get(address + "/clips?state=dropped&reason=" + quote("shorter than 1.6 s"))[1])
    assert [Path(clip["uri"]).name for clip in dropped["clips"]] == ["two shots.mp4"] * 2


def test_the_parts_of_the_page_are_served_and_nothing_else_is(address: str) -> None:
    for path, kind in (("/page.css", "text/css"), ("/page.js", "text/javascript")):
        assert get(address + path)[2]["Content-Type"] == f"{kind}; charset=utf-8"
        assert b"http" not in get(address + path)[1]
    assert get(address + "/index.html")[0] == get(address + "/../browse.py")[0] == 404


def test_the_overview_knows_the_range_of_each_number(address: str) -> None:
    overview = json.loads(get(address + "/overview")[1])
    assert overview["ranges"]["num_frames"] == [18, 24]
    assert overview["ranges"]["width"] == [128, 128]
    assert (overview["num_files"], overview["files_without_clips"], overview["clusters"]) == (6, 4, 0)


def test_files_that_gave_no_clips_are_listed_with_the_reason(address: str) -> None:
    files = json.loads(get(address + "/files")[1])["files"]
    assert {Path(each["uri"]).name: each["status"] for each in files} == {
        "cut off.mp4": "refused", "empty.mp4": "refused", "text.mp4": "refused", "z copy.mp4": "copy",
    }  # fmt: skip
    assert next(each["reason"] for each in files if each["status"] == "copy").endswith("it's one.mp4")
    found = json.loads(get(address + "/files?text=EMPTY&count=1")[1])
    assert (found["total"], found["files"][0]["reason"]) == (1, "the file is empty")


def test_clips_that_look_alike_come_in_groups_led_by_the_kept_one(made: Path, tmp_path: Path) -> None:
    store = Store(shutil.copytree(made, tmp_path / "set"))
    rows = sorted(store.read("clips", ["uri"]), key=lambda row: row["uri"])
    best, *others = [row["clip_id"] for row in rows]
    alike = [{"clip_id": each, "cluster": best, "drop_reason": f"looks like {best}"} for each in others]
    columns = pa.schema([("cluster", pa.string()), ("drop_reason", pa.string())])
    store.update("clips", [*alike, {"clip_id": best, "cluster": best, "drop_reason": None}], columns)
    browser = Browser(store)
    assert browser.overview()["copies"] == {best: 3}
    assert browser.overview()["reasons"] == {"looks like another": 2}
    (group,) = browser.clusters({})["clusters"]
    assert (group["name"], group["clips"][0]["clip_id"], len(group["clips"])) == (best, best, 3)
    assert browser.clusters({"text": "two shots"})["total"] == 1
    assert browser.clusters({"text": "of nothing"})["total"] == 0
    assert browser.clips({"state": "dropped", "reason": "looks like another"})["total"] == 2


def test_clips_are_sorted_searched_and_counted(address: str) -> None:
    found = json.loads(get(address + "/clips?state=all&sort=num_frames&order=down&count=1&from=1")[1])
    assert found["total"] == 3
    assert [clip["num_frames"] for clip in found["clips"]] == [18]
    assert sum(found["bars"]["counts"]) == 3
    by_length = json.loads(get(address + "/clips?state=all&sort=seconds&order=down")[1])
    assert [clip["num_frames"] for clip in by_length["clips"]] == [24, 18, 18]
    assert by_length["bars"]["high"] == pytest.approx(2.0)
    assert json.loads(get(address + "/clips?state=all&text=" + quote("IT'S"))[1])["total"] == 1
    assert json.loads(get(address + "/clips?state=all&where=" + quote("num_frames > 18"))[1])["total"] == 1


def test_a_wrong_condition_is_said_in_one_line(address: str) -> None:
    for path in ("/clips?where=motions", "/clips?sort=beauty", "/clips?state=lost", "/clips?from=x", "/video/none"):
        status, said, _ = get(address + path)
        assert status == 400
        assert said
        assert b"\n" not in said


def test_a_player_gets_the_range_that_it_asks_for(address: str) -> None:
    clip = json.loads(get(address + "/clips")[1])["clips"][0]
    url = f"{address}/video/{clip['clip_id']}"
    _, whole, headers = get(url)
    assert (len(whole), headers["Content-Type"]) == (clip["num_bytes"], "video/mp4")
    status, part, headers = get(url, Range="bytes=10-19")
    assert (status, part, headers["Content-Range"]) == (206, whole[10:20], f"bytes 10-19/{len(whole)}")
    assert get(url, Range="bytes=-5")[1] == whole[-5:]
    assert get(url, Range=f"bytes={len(whole)}-")[0] == 416
    assert get(f"{address}/poster/{clip['clip_id']}")[1].startswith(b"\xff\xd8")


def test_other_sites_cannot_ask_through_the_browser(address: str) -> None:
    assert get(address + "/overview", Host="evil.example:80")[0] == 403


def test_a_taken_port_and_an_empty_set_are_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no clips yet"):
        make_server(Store(tmp_path / "new", create=True), 0)
