import hashlib
import io
import shutil
import tarfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from kinema.data import DataRecipe, Reader, Store, caption, dedup, ingest, run_recipe, split
from kinema.data.buckets import Bucket, EncodeConfig
from kinema.data.caption import CaptionConfig
from kinema.data.filter import KeepConfig
from kinema.data.ingest import Source
from kinema.data.pool import Limits
from kinema.data.publish import card, differences, export_tars, histogram, import_tars, reason_kind, statistics
from kinema.data.split import SplitConfig
from kinema.data.writer import ClipWriter
from kinema.errors import DataError, SpecError


def recipe(footage: Path, out: Path, model: Path, keep: KeepConfig | None = None) -> DataRecipe:
    return DataRecipe(
        sources=(Source(path=str(footage), license="CC0-1.0"),),
        out=out,
        split=SplitConfig(min_s=0.5),
        keep=keep or KeepConfig(max_watermark=1.0),
        encode=EncodeConfig(model=str(model), buckets=(Bucket(width=32, height=32, frames=5, fps=8.0),)),
        limits=Limits(workers=0),
        max_failures=0.6,
    )


@pytest.fixture(scope="session")
def curated(footage: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    out = tmp_path_factory.mktemp("sets") / "curated"
    captioned = tmp_path_factory.mktemp("captioned")
    for path in footage.iterdir():
        (captioned / path.name).write_bytes(path.read_bytes())
    (captioned / "it's one.txt").write_text("one shot")
    run_recipe(recipe(captioned, out, tiny_model))
    return Store(out)


def test_the_whole_path_ends_in_batches_for_training(curated: Store, tiny_model: Path) -> None:
    facts = statistics(curated)
    assert (facts["files"], facts["clips"], facts["kept"], facts["captioned"], facts["encoded"]) == (6, 3, 3, 1, 3)
    assert facts["files_by_status"] == {"split": 2, "refused": 3, "copy of another": 1}
    assert facts["hours"] * 3600 == pytest.approx(5.0)
    (batch,) = Reader(curated, 4).batches(0)
    assert batch.latents.shape[0] == 3
    assert sorted(batch.captions) == ["", "", "one shot"]


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("motion 0.000624 is below 0.001", "motion below 0.001"),
        ("frozen share 0.818 is above 0.8", "frozen share above 0.8"),
        ("motion 1e-05 is below 0.001", "motion below 0.001"),
        ("camera is pan left", "camera is pan left"),
        ("shorter than 1 s", "shorter than 1 s"),
        ("looks like 348b572b289616e36d76222953e998eb", "looks like another"),
        ("not scored: its process died (9)", "not scored"),
    ],
)
def test_reasons_are_counted_without_what_is_true_of_one_clip_alone(reason: str, kind: str) -> None:
    assert reason_kind(reason) == kind


def test_a_threshold_decides_again_and_scores_nothing(curated: Store, tiny_model: Path) -> None:
    before = curated.read("clips")
    folder = Path(before[0]["uri"]).parent
    strict = recipe(folder, curated.folder, tiny_model, KeepConfig(min_side=80, max_watermark=1.0))
    results = {result.stage: result for result in run_recipe(strict)}
    assert {name: results[name].done for name in ("ingest", "split", "filter", "dedup")} == {
        "ingest": 0, "split": 0, "filter": 0, "dedup": 0
    }  # fmt: skip
    assert {row["drop_reason"] for row in curated.read("clips")} == {"shorter side 72 is below 80"}
    assert curated.count("latents") == 0
    run_recipe(recipe(folder, curated.folder, tiny_model))
    assert curated.read("clips") == before
    assert curated.count("latents") == 3


def test_the_card_counts_what_is_there(curated: Store) -> None:
    text = card(curated)
    assert "3 clips, 0.00 hours, from 6 files; 1 with captions, 3 encoded." in text
    assert "| CC0-1.0 | 0.001 |" in text
    assert "one shot" in text
    assert (curated.folder / "README.md").read_text() == text


def test_tars_come_back_as_the_clips_they_were(curated: Store, tmp_path: Path) -> None:
    paths = export_tars(curated, tmp_path / "tars", per_tar=2)
    assert [path.name for path in paths] == ["000000.tar", "000001.tar"]
    again = export_tars(curated, tmp_path / "again", per_tar=2)
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]
    assert import_tars(paths, tmp_path / "back") == 3
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "back").glob("*.mp4")}
    assert hashes == {hashlib.sha256(curated.bytes_of(row["clip_id"])).hexdigest() for row in curated.read("clips", [])}
    with pytest.raises(DataError, match="no clip to export"):
        export_tars(curated, tmp_path / "none", where="motion > 99")


def test_tars_are_written_into_a_folder_of_their_own(curated: Store, tmp_path: Path) -> None:
    export_tars(curated, tmp_path / "tars", per_tar=2)
    assert len(export_tars(curated, tmp_path / "tars", per_tar=2)) == 2
    with pytest.raises(DataError, match=r"holds 000001\.tar, of another export"):
        export_tars(curated, tmp_path / "tars")
    with pytest.raises(DataError, match=r"is to be a folder.* such as clips-tars"):
        export_tars(curated, tmp_path / "clips.tar")


def test_a_tar_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        member = tarfile.TarInfo("../evil.mp4")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(DataError, match="leads out"):
        import_tars([tmp_path / "evil.tar"], tmp_path / "out")


def test_differences_are_named_by_clip_and_column(curated: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "d", create=True)
    assert differences(curated, curated) == []
    assert all(line.startswith("- ") for line in differences(curated, other))


def test_a_histogram_counts_every_value() -> None:
    bins = histogram([0.0, 1.0, 2.0, 2.0], bins=2)
    assert bins == [(0.0, 1.0, 1), (1.0, 2.0, 3)]
    assert histogram([5.0, 5.0]) == [(5.0, 5.0, 2)]
    assert histogram([]) == []


def invented(folder: Path, count: int) -> Store:
    """A data set of so many clips, of which nobody has the pictures: half a second more each, up to five."""
    store = Store(folder, create=True)
    store.ensure("files", ingest.COLUMNS)
    files = [{"uri": f"{k}.mp4", "license": ("MIT", None)[k % 2], "ingest_status": "done"} for k in range(count)]
    store.upsert("files", [dict.fromkeys(ingest.COLUMNS.names) | file for file in files], ingest.COLUMNS)
    columns = pa.schema([*ClipWriter.COLUMNS, *dedup.CLUSTER_COLUMNS, *caption.COLUMNS])
    store.ensure("clips", columns)
    empty = dict.fromkeys(columns.names)
    clips = [
        {"clip_id": f"{k:05}", "uri": f"{k}.mp4", "start_s": 0.1, "end_s": 0.1 + 0.5 * (1 + k % 10), "width": 64,
         "height": 48, "motion": 0.1, "camera": ("static", "roll", "roll")[k % 3], "caption": f"{k} what it shows",
         "drop_reason": "motion 0.1 is above 0.05" if k % 4 == 3 else None}
        for k in range(count)
    ]  # fmt: skip
    store.upsert("clips", [empty | clip for clip in clips], columns)
    return store


def test_what_is_counted_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    store = invented(tmp_path / "d", 24)
    facts, text = statistics(store), card(store)
    seconds = [0.5 * (1 + k % 10) for k in range(24)]
    assert (facts["files"], facts["clips"], facts["kept"], facts["captioned"]) == (24, 24, 18, 18)
    assert facts["hours_by_license"] == {
        "MIT": pytest.approx(sum(seconds[0::2]) / 3600),
        "not stated": pytest.approx(sum(seconds[1::4]) / 3600),
    }
    assert list(facts["camera"].items()) == [("roll", 12), ("static", 6)]
    assert facts["dropped_by_reason"] == {"motion above 0.05": 6}
    assert [line for line in text.splitlines() if "what it shows" in line] == [
        f"- `{k:05}` {k} what it shows" for k in (0, 1, 2, 4, 5)
    ]
    first = store.read("clips", None, "clip_id < '00012'")
    store.delete("clips", "clip_id < '00012'")
    store.upsert("clips", first[::-1], store.schema("clips"))
    assert [row["clip_id"] for row in store.scan("clips", [])] != [row["clip_id"] for row in store.read("clips", [])]
    assert (statistics(store), card(store)) == (facts, text)


def test_counting_more_clips_holds_a_few_numbers_more(tmp_path: Path) -> None:
    held = []
    for count in (1_500, 6_000):
        store = invented(tmp_path / str(count), count)
        card(store)
        tracemalloc.start()
        card(store)
        held.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert held[1] - held[0] < 150 * 4_500


def test_what_late_stages_would_stumble_over_is_told_before_anything_is_done(
    footage: Path, tiny_model: Path, tmp_path: Path
) -> None:
    made = recipe(footage, tmp_path / "d", tiny_model)
    odd = replace(made, encode=replace(made.encode, buckets=(Bucket(width=31, height=32, frames=5, fps=8.0),)))
    with pytest.raises(SpecError, match=r"the bucket 31x32x5@8 does not fit .*31"):
        run_recipe(odd)
    with pytest.raises(SpecError, match="minni"):
        run_recipe(replace(made, encode=replace(made.encode, model="minni")))
    with pytest.raises(SpecError, match="no prompt 'shrt'"):
        run_recipe(replace(made, caption=CaptionConfig(model="any", prompts=("shrt",))))
    with pytest.raises(SpecError, match=r"caption\.device='cuda:77' is not on this machine"):
        run_recipe(replace(made, caption=CaptionConfig(model="any", device="cuda:77")))
    with pytest.raises(SpecError, match=r"encode\.device='gpu' is not on this machine.* use cpu"):
        run_recipe(replace(made, encode=replace(made.encode, device="gpu")))
    assert not (tmp_path / "d").exists()


def test_a_clip_that_cannot_be_encoded_costs_itself_alone(
    curated: Store, footage: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "d"
    shutil.copytree(curated.folder, out)
    store = Store(out)
    store.delete("latents", "true")
    bad = store.read("clips", [])[0]["clip_id"]
    store.update("videos", [{"clip_id": bad, "data": b"no video"}], split.VIDEO_COLUMNS)
    made = recipe(footage, out, tiny_model)
    for done, failed in ((2, 1), (0, 0)):
        (result,) = run_recipe(made, ("encode",))
        assert (result.done, result.failed) == (done, failed)
    (row,) = store.read("clips", ["encode_status", "encode_reason"], "encode_status != 'done'")
    assert (row["clip_id"], row["encode_status"]) == (bad, "refused")
    assert "cannot be decoded" in row["encode_reason"]
