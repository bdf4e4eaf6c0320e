import os
import shutil
from pathlib import Path

import pytest

from kinema.data import DataRecipe, Store, load_recipe, run_recipe
from kinema.data.filter import KeepConfig
from kinema.data.ingest import Source
from kinema.data.pool import Limits
from kinema.data.split import SplitConfig
from kinema.errors import DataError, SpecError
from kinema.media import read_video

HERE = Limits(workers=0)


def recipe(footage: Path, out: Path, **changes: object) -> DataRecipe:
    settings = {"split": SplitConfig(min_s=0.5), "limits": HERE, "max_failures": 0.6, **changes}
    return DataRecipe(sources=(Source(path=str(footage), license="CC0-1.0"),), out=out, **settings)  # type: ignore[arg-type]


def test_every_file_is_listed_with_what_it_is_or_why_not(split_once: Path) -> None:
    files = {Path(row["uri"]).name: row for row in Store(split_once).read("files")}
    assert sorted(files) == ["cut off.mp4", "empty.mp4", "it's one.mp4", "text.mp4", "two shots.mp4", "z copy.mp4"]
    assert files["empty.mp4"]["ingest_reason"] == "the file is empty"
    for broken in ("cut off.mp4", "text.mp4"):
        assert files[broken]["ingest_status"] == "refused"
        assert "cannot be read as a video" in files[broken]["ingest_reason"]
    one = files["it's one.mp4"]
    facts = {name: one[name] for name in ("codec", "width", "height", "num_frames", "hdr", "variable_rate", "license")}
    assert facts == {
        "codec": "h264", "width": 128, "height": 72, "num_frames": 24, "hdr": False, "variable_rate": False,
        "license": "CC0-1.0",
    }  # fmt: skip
    assert one["fps"] == pytest.approx(12)
    assert files["z copy.mp4"]["duplicate_of"] == one["uri"]
    assert files["z copy.mp4"]["split_status"] is None


def test_each_shot_is_a_clip_that_plays(split_once: Path, tmp_path: Path) -> None:
    store = Store(split_once)
    clips = sorted(store.read("clips"), key=lambda row: (row["uri"], row["first_frame"]))
    spans = [(Path(row["uri"]).name, row["first_frame"], row["num_frames"]) for row in clips]
    assert spans == [("it's one.mp4", 0, 24), ("two shots.mp4", 0, 18), ("two shots.mp4", 18, 18)]
    for row in clips:
        path = tmp_path / f"{row['clip_id']}.mp4"
        path.write_bytes(store.bytes_of(row["clip_id"]))
        assert read_video(path).frames.shape == (row["num_frames"], 72, 128, 3)


def test_running_again_does_nothing_and_a_new_length_splits_again(
    footage: Path, split_once: Path, tmp_path: Path
) -> None:
    out = tmp_path / "d"
    shutil.copytree(split_once, out)
    before = Store(out).read("clips")
    again = run_recipe(recipe(footage, out), ("ingest", "split"))
    assert [(each.done, each.failed) for each in again] == [(0, 0), (0, 0)]
    assert Store(out).read("clips") == before
    changed = run_recipe(recipe(footage, out, split=SplitConfig(min_s=0.4, max_s=1.0)), ("ingest", "split"))
    assert [each.done for each in changed] == [0, 2]
    assert len(Store(out).read("clips")) == 6
    assert Store(out).count("videos") == 6


def test_a_file_that_goes_and_comes_back_has_its_clips_again(footage: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "d"
    source.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(footage / "it's one.mp4", source / name)
    stages = ("ingest", "split")
    run_recipe(recipe(source, out), stages)
    before = Store(out).read("clips")
    (source / "a.mp4").write_text("overwritten")
    run_recipe(recipe(source, out), stages)
    assert [Path(row["uri"]).name for row in Store(out).read("clips")] == ["b.mp4"]
    shutil.copy(footage / "it's one.mp4", source / "a.mp4")
    run_recipe(recipe(source, out), stages)
    assert Store(out).read("clips") == before
    (source / "a.mp4").unlink()
    (source / "b.mp4").unlink()
    shutil.copy(footage / "two shots.mp4", source / "c.mp4")
    run_recipe(recipe(source, out), stages)
    assert {Path(row["uri"]).name for row in Store(out).read("clips")} == {"c.mp4"}
    assert Store(out).count("videos") == 2


def test_too_many_failures_end_the_run_with_an_error(footage: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"3 of 6 items failed.*such as: .*(is empty|read as a video)"):
        run_recipe(recipe(footage, tmp_path / "d", max_failures=0.2), ("ingest",))


def test_a_folder_without_footage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        run_recipe(recipe(tmp_path / "nowhere", tmp_path / "d"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there is no file"):
        run_recipe(recipe(tmp_path / "empty", tmp_path / "d"))


def test_a_mistyped_key_of_a_recipe_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[[sources]]\npath = 'x'\n[split]\nmin_seconds = 2\n")
    with pytest.raises(SpecError, match=r"split.min_seconds'; did you mean 'min_s'"):
        load_recipe(path)
    path.write_text("sources = []")
    with pytest.raises(SpecError, match=r"\[\[sources\]\]"):
        load_recipe(path)


def test_a_share_of_failures_is_a_share(footage: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"max_failures=50 .* from 0 to 1"):
        recipe(footage, tmp_path / "d", max_failures=50.0)


def test_a_recipe_may_name_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xef\xbb\xbfout = '~/sets/a'\n[[sources]]\npath = '~/films'\n")  # some editors begin so
    read = load_recipe(path)
    assert (read.out, read.sources[0].path) == (tmp_path / "sets" / "a", str(tmp_path / "films"))


def test_a_data_set_among_its_own_footage_is_not_taken_for_footage(footage: Path, tmp_path: Path) -> None:
    shutil.copy(footage / "it's one.mp4", tmp_path)
    for _ in range(2):
        run_recipe(recipe(tmp_path, tmp_path / "set"), ("ingest", "split"))
    assert [Path(row["uri"]).name for row in Store(tmp_path / "set").read("files")] == ["it's one.mp4"]


def test_captions_that_cannot_be_read_cost_their_own_clip_alone(footage: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(footage / "it's one.mp4", source / "broken.mp4")
    (source / "broken.json").write_text("{")
    strange = source / os.fsdecode(b"\xff.mp4")
    shutil.copy(footage / "two shots.mp4", strange)
    strange.with_suffix(".txt").write_text("two shots")
    made = recipe(source, tmp_path / "d", keep=KeepConfig(max_watermark=1.0))
    run_recipe(made, ("ingest", "split", "filter", "dedup", "caption"))
    found = {(row["uri"][-8:], row["caption_status"], row["caption"]) for row in Store(tmp_path / "d").read("clips")}
    assert found == {("oken.mp4", "refused", None), ("/%FF.mp4", "done", "two shots")}
    (source / "broken.json").write_text('"mended"')
    result = run_recipe(made, ("caption",))[0]
    assert (result.done, result.failed, result.kept) == (1, 0, 2)
