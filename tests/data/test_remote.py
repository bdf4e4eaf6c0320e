"""Footage that lies elsewhere: a bucket and a web server, both on this machine."""

import functools
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.servers import bucket_server, serving

from kinema.data import DataRecipe, Store, run_recipe
from kinema.data.ingest import Source, list_inputs
from kinema.data.pool import Limits
from kinema.data.split import SplitConfig
from kinema.errors import DataError

STAGES = ("ingest", "split", "filter", "dedup")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def web(footage: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(footage)))
    with serving(server) as address:
        yield address


@pytest.fixture
def bucket(footage: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with bucket_server(monkeypatch) as client:
        client.create_bucket(Bucket="films")
        for path in footage.iterdir():
            client.put_object(Bucket="films", Key=f"raw/{path.name}", Body=path.read_bytes())
        yield "s3://films/raw"


def recipe(paths: list[str], out: Path) -> DataRecipe:
    return DataRecipe(
        sources=tuple(Source(path=path) for path in paths), out=out, split=SplitConfig(min_s=0.5),
        limits=Limits(workers=0), max_failures=0.6,
    )  # fmt: skip


def clips_of(out: Path) -> list[tuple[str, str, object]]:
    rows = Store(out).read("clips")
    return sorted((row["clip_id"], Path(row["uri"]).name, row["video_hash"]) for row in rows)


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_a_bucket_gives_the_clips_that_the_folder_gives(bucket: str, footage: Path, tmp_path: Path) -> None:
    run_recipe(recipe([bucket], tmp_path / "far"), STAGES)
    run_recipe(recipe([str(footage)], tmp_path / "near"), STAGES)
    assert clips_of(tmp_path / "far") == clips_of(tmp_path / "near")
    uris = [row["uri"] for row in Store(tmp_path / "far").read("files")]
    assert uris == sorted(f"s3://films/raw/{path.name}" for path in footage.iterdir() if path.suffix == ".mp4")
    again = run_recipe(recipe([bucket], tmp_path / "far"), STAGES)
    assert [each.done for each in again] == [0, 0, 0, 0]


def test_a_list_of_web_addresses_is_read(web: str, footage: Path, tmp_path: Path) -> None:
    listed = tmp_path / "films.urls"
    listed.write_text(f"# two films\n{web}/two%20shots.mp4\n\n{web}/empty.mp4\n")
    run_recipe(recipe([str(listed)], tmp_path / "far"), STAGES)
    files = Store(tmp_path / "far").read("files")
    assert [(row["uri"], row["ingest_status"]) for row in files] == [
        (f"{web}/empty.mp4", "refused"), (f"{web}/two%20shots.mp4", "done")
    ]  # fmt: skip
    run_recipe(recipe([str(footage / "two shots.mp4")], tmp_path / "near"), STAGES)
    assert [clip[0] for clip in clips_of(tmp_path / "far")] == [clip[0] for clip in clips_of(tmp_path / "near")]


def test_an_address_that_leads_nowhere_is_named(web: str) -> None:
    with pytest.raises(DataError, match="does not exist"):
        list(list_inputs([Source(path=f"{web}/none.mp4")]))


def test_a_dead_address_of_a_list_fails_by_itself(web: str, tmp_path: Path) -> None:
    listed, out = tmp_path / "films.urls", tmp_path / "far"
    nobody = "http://127.0.0.1:9/a.mp4"
    listed.write_text(f"\ufeff{web}/none.mp4\n{nobody}\n{web}/it's%20one.mp4\n{tmp_path}/gone.mp4\n", encoding="utf-8")
    run_recipe(replace(recipe([str(listed)], out), max_failures=1.0), ("ingest",))
    files = {row["uri"]: (row["ingest_status"], row["ingest_reason"]) for row in Store(out).read("files")}
    assert {uri: status for uri, (status, _) in files.items()} == {
        f"{web}/it's%20one.mp4": "done",
        f"{web}/none.mp4": "refused",
        f"{tmp_path}/gone.mp4": "refused",
        nobody: "failed",
    }
    assert files[f"{web}/none.mp4"][1] == f"{web}/none.mp4 does not exist"
    assert "Connect" in str(files[nobody][1])


def test_a_file_whose_server_is_away_for_a_while_stays_as_it_is(footage: Path, tmp_path: Path) -> None:
    listed, out = tmp_path / "films.urls", tmp_path / "far"
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(footage)))
    with serving(server) as address:
        listed.write_text(f"{address}/it's%20one.mp4\n")
        run_recipe(recipe([str(listed)], out), STAGES)
    before = clips_of(out)
    again = run_recipe(recipe([str(listed)], out), STAGES)
    assert [each.done for each in again] == [0, 0, 0, 0]
    assert clips_of(out) == before


def test_a_source_that_nobody_serves_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/a\.mp4 cannot be read: .*Connect"):
        list(list_inputs([Source(path="http://127.0.0.1:9/a.mp4")]))
    with pytest.raises(DataError, match="s4://films cannot be read"):
        list(list_inputs([Source(path="s4://films")]))
    for name, content in (("other.urls", b"films.urls"), ("films.urls", b"\xff\xfeh\x00")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="list of addresses"):
            list(list_inputs([Source(path=str(tmp_path / name))]))
