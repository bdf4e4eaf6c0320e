"""Runs the stages of a recipe over a data set: only what changed, in batches, safe to kill at any point."""

import logging
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from kinema.data import caption as captioning
from kinema.data import dedup, ingest, publish, rating, split
from kinema.data import filter as scoring
from kinema.data.buckets import Bucket
from kinema.data.captioner import EndpointCaptioner, LocalCaptioner
from kinema.data.cluster import Clusters
from kinema.data.device import check_device
from kinema.data.engine import BATCH, ENDED, Job, StageResult, outcome_row, pending, work_through
from kinema.data.ingest import Found
from kinema.data.lineage import fingerprint
from kinema.data.pool import Outcome, check_failures, check_space, run_all, run_batches, run_threads
from kinema.data.probe import COLUMNS as PROBED
from kinema.data.recipe import STAGES, DataRecipe, check_stages
from kinema.data.sidecar import read_sidecars
from kinema.data.store import Row, Store, Table, outcome_columns, quoted
from kinema.data.survey import Run
from kinema.data.writer import ClipWriter, clip_lineage
from kinema.errors import DataError, SpecError
from kinema.scratch import scratch_folder
from kinema.shapes import VideoShape

logger = logging.getLogger(__name__)
Item = TypeVar("Item")

_MOST_CHANGED = 16384
"""Rows whose decision is written at once."""


def run_recipe(recipe: DataRecipe, stages: Sequence[str] = STAGES) -> list[StageResult]:
    """Run stages over the data set of a recipe, under its lock; what an earlier run did with the same lineage is kept.

    Raises DataError when another run works on it, or when more than `max_failures` of a stage's items failed, and
    SpecError, before anything is done, for stages, prompts and models that do not exist and buckets that do not fit.
    """
    check_stages(tuple(stages))
    _check_ahead(recipe, stages)
    store = Store(recipe.out, create=True)
    with store.lock():
        work = store.folder / ".work"
        shutil.rmtree(work, ignore_errors=True)
        results = []
        try:
            for stage in (each for each in STAGES if each in stages):
                began = time.monotonic()
                result = _RUN[stage](store, recipe)
                logger.info(
                    "%s: %d done, %d failed, %d kept, %.1f s",
                    *(stage, result.done, result.failed, result.kept, time.monotonic() - began),
                )
                results.append(result)
                check_failures(result.done + result.kept, result.failed, recipe.max_failures, result.why)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        store.tidy()
    return results


def _check_ahead(recipe: DataRecipe, stages: Sequence[str]) -> None:
    """Raise SpecError for what late stages would stumble over, hours later."""
    if "caption" in stages and recipe.caption.model:
        for name in recipe.caption.prompts:
            captioning.prompt_text(name)
        if recipe.caption.endpoint is None:
            check_device("caption.device", recipe.caption.device)
    if "filter" in stages:
        for each, config in _ratings(recipe):
            from kinema.data.rating_model import check_model

            check_model(each, config)
    if "encode" in stages and recipe.encode.model is not None:
        from kinema.model import load_model

        check_device("encode.device", recipe.encode.device)
        model = load_model(recipe.encode.model, "meta")
        stride = model.vae.stride.with_patch(model.dit.config.patch_size)
        for bucket in recipe.encode.buckets:
            try:
                VideoShape(bucket.frames, bucket.height, bucket.width).to_latent(stride)
            except SpecError as error:
                raise SpecError(f"the bucket {bucket} does not fit {recipe.encode.model}: {error}") from None


def _ingest(store: Store, recipe: DataRecipe) -> StageResult:
    found = list(ingest.list_inputs(recipe.sources))
    if not found:
        places = ", ".join(source.path for source in recipe.sources)
        raise DataError(f"there is no file below {places}; text and hidden files do not count")
    store.ensure("files", ingest.COLUMNS)
    known = {row["uri"]: row["stamp"] for row in store.scan("files", ["stamp"])}
    found = [each if each.stamp else replace(each, stamp=known.get(each.uri) or "") for each in found]
    listed = {each.uri for each in found}
    fresh = [{"uri": each.uri} for each in found if each.uri not in known]
    store.upsert("files", fresh, pa.schema([ingest.COLUMNS.field("uri")]))
    _forget(store, sorted(known.keys() - listed))
    jobs = [Job(each.uri, fingerprint("ingest", ingest.VERSION, _plain(each)), each) for each in found]
    schema = pa.schema([field for field in (*ingest.IDENTITY, *PROBED) if field.name != "duplicate_of"])
    result = work_through(store, "files", "ingest", jobs, ingest.ingest_file, schema, _runner(recipe))
    rows = store.read("files", ["file_hash", "duplicate_of"])
    before = {row["uri"]: row["duplicate_of"] for row in rows}
    marked = [row for row in ingest.mark_copies(rows) if row["duplicate_of"] != before[row["uri"]]]
    store.update("files", marked, pa.schema([ingest.COLUMNS.field("duplicate_of")]))
    return result


def _plain(found: Found) -> list[str | None]:
    return [found.uri, found.stamp, found.license, found.source]


def _forget(store: Store, uris: Sequence[str]) -> None:
    """Remove files that are no longer there, and their clips."""
    for uri in uris:
        if store.has("clips"):
            store.delete("clips", f"uri = {quoted(uri)}")
        store.delete("files", f"uri = {quoted(uri)}")


def _split(store: Store, recipe: DataRecipe) -> StageResult:
    store.ensure("clips", ClipWriter.COLUMNS)
    store.ensure("videos", split.VIDEO_COLUMNS)
    store.ensure("files", outcome_columns("split"))
    files = store.read("files", ["file_hash", "duration_s"], "ingest_status = 'done' AND duplicate_of IS NULL")
    _drop_clips_of_others(store, {row["uri"] for row in files})
    jobs = [
        Job(
            row["uri"],
            fingerprint("split", split.VERSION, recipe.split, row["file_hash"]),
            (row["uri"], row["file_hash"]),
            row["duration_s"] or 0.0,
        )
        for row in files
    ]
    todo = pending(store, "files", "split", jobs)
    failed, why = 0, None
    writer = ClipWriter(store, recipe)
    here = store.folder / ".work" if recipe.engine == "local" else None
    work = partial(split_job, recipe.split, recipe.filter, here)
    for job, outcome in _runner(recipe)(work, todo, length_s=attrgetter("length_s")):
        if outcome.status not in ("part", "done"):
            failed, why = failed + 1, outcome.reason
        writer.add(job, outcome)
        check_space(store.folder, recipe.limits)
    writer.flush()
    _drop_orphans(store)
    return StageResult("split", len(todo) - failed, failed, len(jobs) - len(todo), why)


def split_job(
    config: split.SplitConfig, filtered: scoring.FilterConfig, work: Path | None, job: Job
) -> Iterator[split.CutClip]:
    """Split the file of one job, in a child process; without a folder for its clips, they come back as bytes."""
    uri, file_hash = job.item
    if work is not None:
        yield from split.split_file(uri, file_hash, config, work, filtered)
        return
    with scratch_folder() as folder:
        for clip in split.split_file(uri, file_hash, config, folder, filtered):
            yield clip.carried()


def _runner(recipe: DataRecipe) -> Callable[..., Iterator[tuple[Job, Outcome]]]:
    """What works on the items of stages that decode: processes of this machine, or of a cluster."""
    if recipe.engine == "local":
        return partial(run_all, limits=recipe.limits)
    from kinema.data.ray_pool import run_ray

    return partial(run_ray, limits=recipe.limits)


def _drop_clips_of_others(store: Store, uris: set[str]) -> None:
    """Remove the clips of files that are no longer read, such as one that became a copy of another.

    Their files forget that they were split: they may come back.
    """
    for uri in sorted({row["uri"] for row in store.scan("clips", ["uri"])} - uris):
        store.delete("clips", f"uri = {quoted(uri)}")
    columns = outcome_columns("split")
    split_once = store.scan("files", ["split_key"], "split_key IS NOT NULL")
    gone = [{**dict.fromkeys(columns.names), "uri": row["uri"]} for row in split_once if row["uri"] not in uris]
    store.update("files", gone, columns)


def _drop_orphans(store: Store) -> None:
    """Remove videos that no clip names, which a killed run or a changed setting left."""
    named = {row["clip_id"] for row in store.scan("clips", [])}
    orphans = [row["clip_id"] for row in store.scan("videos", []) if row["clip_id"] not in named]
    _drop(store, "videos", "clip_id", orphans)


def _parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _drop(store: Store, table: Table, key: str, names: Sequence[str]) -> None:
    for part in _parts(names, 500):
        store.delete(table, f"{key} IN ({', '.join(quoted(each) for each in part)})")


def _filter(store: Store, recipe: DataRecipe) -> StageResult:
    results = [_survey_again(store, recipe, "filter", scoring.COLUMNS)]
    results += [_rate(store, recipe, each, config) for each, config in _ratings(recipe)]
    decide(store, recipe)
    done, failed, kept = (sum(map(attrgetter(name), results)) for name in ("done", "failed", "kept"))
    return StageResult("filter", done, failed, kept, next((each.why for each in results if each.why), None))


def _ratings(recipe: DataRecipe) -> list[tuple[rating.Rating, rating.RatingConfig]]:
    """The ratings that a recipe asks for."""
    found: dict[rating.Rating, rating.RatingConfig] = {"aesthetic": recipe.aesthetic, "nsfw": recipe.nsfw}
    return [(name, config) for name, config in found.items() if config.model]


def _rate(store: Store, recipe: DataRecipe, name: rating.Rating, config: rating.RatingConfig) -> StageResult:
    """Let a model look at the clips that all other scores let pass, copies of others among them: one may take over."""
    from kinema.data.rating_model import weights_stamp

    hdr = _hdr_files(store)
    keep = replace(recipe.keep, min_aesthetic=None, max_nsfw=None)
    stamp = weights_stamp(config)
    jobs = []
    for clip in store.read("clips", [*scoring.READS, "uri"], "split_reason IS NULL"):
        if scoring.drop_reason({**clip, "hdr": clip["uri"] in hdr}, keep) is None:
            jobs.append(Job(clip["clip_id"], rating.lineage_of(name, clip, config, stamp), clip))
    schema = rating.columns(name)
    store.ensure("clips", pa.schema([*schema, *outcome_columns(name)]))
    if not pending(store, "clips", name, jobs):
        return StageResult("filter", 0, 0, len(jobs))
    rater = rating.Rater(store, name, config)
    return work_through(
        store, "clips", name, jobs, rater, schema, partial(run_batches, many=rater.rate_jobs, size=config.batch)
    )


def _hdr_files(store: Store) -> set[str]:
    return {row["uri"] for row in store.scan("files", ["hdr"]) if row["hdr"]}


def _dedup(store: Store, recipe: DataRecipe) -> StageResult:
    result = _survey_again(store, recipe, "dedup", dedup.COLUMNS)
    decide(store, recipe)
    return result


def _survey_again(store: Store, recipe: DataRecipe, stage: str, schema: pa.Schema) -> StageResult:
    """Score or hash the clips that `split` made under other settings: each of their files is decoded once."""
    outcomes = outcome_columns(stage)
    store.ensure("clips", pa.schema([*schema, *outcomes]))
    columns = ["uri", "first_frame", "num_frames", "end_s", f"{stage}_key", f"{stage}_status"]
    by_file: dict[str, list[tuple[str, str, Run]]] = defaultdict(list)
    lengths: dict[str, float] = {}
    kept = failed = given = 0
    for row in store.scan("clips", columns, "split_reason IS NULL"):
        uri, lineage = row["uri"], clip_lineage(stage, row["clip_id"], recipe)
        if row[f"{stage}_key"] == lineage and row[f"{stage}_status"] in ENDED:
            kept += 1
        else:
            by_file[uri].append((row["clip_id"], lineage, _run_of(row)))
            lengths[uri] = max(row["end_s"], lengths.get(uri, 0.0))
    files = [Job(uri, "", (stage, uri, [run for *_, run in theirs]), lengths[uri]) for uri, theirs in by_file.items()]
    work = partial(survey_job, recipe.filter)
    for part in _parts(files, BATCH):
        rows: list[Row] = []
        for file, outcome in _runner(recipe)(work, part, length_s=attrgetter("length_s")):
            for name, lineage, run in by_file[file.row]:
                found = (outcome.value or {}).get(run)
                given, failed = given + 1, failed + (found is None)
                row = {**dict.fromkeys(schema.names), **(found or {}), **outcome_row(stage, lineage, outcome)}
                rows.append({**row, "clip_id": name})
        store.update("clips", rows, pa.schema([*schema, *outcomes]))
        store.settle("clips")
    return StageResult(stage, given - failed, failed, kept)


def survey_job(config: scoring.FilterConfig, job: Job) -> dict[Run, Row]:
    """Score or hash the clips of one file, in a child process."""
    stage, uri, runs = job.item
    found = split.survey_again(uri, runs, per_second=config.per_second if stage == "filter" else None,
                               hashed=stage == "dedup")  # fmt: skip
    rows = {run: both[0] if stage == "filter" else both[1] for run, both in found.items()}
    missing = [run for run in runs if rows.get(run) is None]
    if missing:
        raise DataError(f"{uri} holds no pictures {missing[0][0]} to {missing[0][1]} any more")
    return {run: row for run, row in rows.items() if row is not None}


def _run_of(clip: Row) -> Run:
    return clip["first_frame"], clip["first_frame"] + clip["num_frames"]


def decide(store: Store, recipe: DataRecipe) -> None:
    """Fill `cluster` and `drop_reason` of all clips from their scores and hashes; changed rows only are written."""
    store.ensure("clips", pa.schema([*outcome_columns("filter"), *outcome_columns("dedup"), *dedup.CLUSTER_COLUMNS]))
    store.ensure("clips", pa.schema([*scoring.COLUMNS, *dedup.COLUMNS]))
    hdr = _hdr_files(store)
    reads = [*scoring.READS, *dedup.READS, "uri", "dedup_status", "cluster", "drop_reason"]
    for name, _ in _ratings(recipe):
        store.ensure("clips", pa.schema([*rating.columns(name), *outcome_columns(name)]))
        reads += [name, f"{name}_status", f"{name}_reason"]
    reads = list(dict.fromkeys(reads))

    def kept() -> Iterator[tuple[Row, dedup.Hashes]]:
        for clip, hashes in store.scan_arrays("clips", "video_hash", reads):
            if clip["dedup_status"] == "done" and reason(clip) is None:
                yield clip, dedup.unpack(hashes)

    def reason(clip: Row) -> str | None:
        return scoring.drop_reason({**clip, "hdr": clip["uri"] in hdr}, recipe.keep)

    with Clusters(recipe.dedup, kept()) as clusters:
        changed: list[Row] = []
        for clip in store.scan("clips", reads):
            name = clip["clip_id"]
            stands = clusters.get(name)
            why = reason(clip) or (f"looks like {stands}" if stands not in (None, name) else None)
            if (clip["cluster"], clip["drop_reason"]) != (stands, why):
                changed.append({"clip_id": name, "cluster": stands, "drop_reason": why})
            if len(changed) >= _MOST_CHANGED:
                store.update("clips", changed, dedup.CLUSTER_COLUMNS)
                changed = []
        store.update("clips", changed, dedup.CLUSTER_COLUMNS)


def _caption(store: Store, recipe: DataRecipe) -> StageResult:
    config = recipe.caption
    store.ensure("clips", pa.schema([*captioning.COLUMNS, *outcome_columns("caption")]))
    asked: list[object] = [config.model, [captioning.prompt_text(name) for name in config.prompts], config.pictures]
    if config.is_local:
        from kinema.data.caption_model import model_stamp

        asked += [config.max_tokens, model_stamp(config.model)]
    jobs = []
    for clip in store.read("clips", ["uri", "start_s", "end_s", "camera", "motion"], publish.KEPT):
        written = _written(clip)
        if written or config.model:
            found = str(written) if isinstance(written, DataError) else written or asked
            lineage = fingerprint("caption", captioning.VERSION, clip["clip_id"], found)
            jobs.append(Job(clip["clip_id"], lineage, (clip, written)))
    work: EndpointCaptioner | LocalCaptioner = EndpointCaptioner(store, config)
    run = partial(run_threads, parallel=config.parallel)
    todo = pending(store, "clips", "caption", jobs)
    if config.is_local and not all(job.item[1] for job in todo):
        work = LocalCaptioner(store, config)
        run = partial(run_batches, many=work.caption_jobs, size=config.batch)
    return work_through(store, "clips", "caption", jobs, work, captioning.COLUMNS, run)


def _written(clip: Row) -> list[str] | DataError:
    """The captions of the files beside a clip's own; one that cannot be read is the trouble of that clip alone."""
    path = ingest.local_path(clip["uri"])
    try:
        return read_sidecars(path, (clip["start_s"], clip["end_s"])) if path is not None else []
    except DataError as error:
        return error


def _encode(store: Store, recipe: DataRecipe) -> StageResult:
    if recipe.encode.model is None:
        return StageResult("encode", 0, 0, 0)
    from kinema.data import encode
    from kinema.model import load_model

    model = load_model(recipe.encode.model, recipe.encode.device)
    name = encode.model_fingerprint(model)
    store.ensure("latents", encode.COLUMNS)
    store.ensure("clips", pa.schema([*captioning.COLUMNS, *outcome_columns("encode")]))
    rows = {row["latent_id"]: row["lineage"] for row in store.read("latents", ["lineage"])}
    wanted: dict[str, str] = {}
    todo: dict[Bucket, list[tuple[Row, str]]] = defaultdict(list)
    ended: list[Row] = []
    for clip in store.read("clips", encode.READS, publish.KEPT):
        bucket = encode.bucket_of(clip, recipe.encode)
        if bucket is None:
            ended.append(_encoded(clip, name, Outcome("refused", reason="shorter than every bucket")))
            continue
        latent_id, lineage = f"{clip['clip_id']}-{bucket}", encode.lineage_of(clip, bucket, name)
        wanted[latent_id] = lineage
        if rows.get(latent_id) != lineage:
            if (clip["encode_key"], clip["encode_status"]) != (lineage, "refused"):
                todo[bucket].append((clip, lineage))
        elif (clip["encode_key"], clip["encode_status"]) != (lineage, "done"):  # killed between the two tables
            ended.append(_encoded(clip, lineage, Outcome("done")))
    _drop(store, "latents", "latent_id", [each for each in rows if each not in wanted])
    store.update("clips", ended, outcome_columns("encode"))
    given = failed = 0
    for bucket in sorted(todo):

        def latents_of(batch: Sequence[tuple[Row, str]], bucket: Bucket = bucket) -> list[Row]:
            clips = [clip for clip, _ in batch]
            videos = [store.bytes_of(clip["clip_id"]) for clip in clips]
            encoded = encode.encode_clips(model, name, clips, videos, bucket)
            return [{**row, "lineage": lineage} for row, (_, lineage) in zip(encoded, batch, strict=True)]

        def latent_of(one: tuple[Row, str], many: Callable[..., list[Row]] = latents_of) -> Row:
            return many([one])[0]

        for batch in _parts(todo[bucket], recipe.encode.batch):
            found = list(run_batches(latent_of, batch, latents_of, len(batch)))
            latents = [outcome.value for _, outcome in found if outcome.status == "done"]
            store.upsert("latents", latents, encode.COLUMNS)
            ended = [_encoded(clip, lineage, outcome) for (clip, lineage), outcome in found]
            store.update("clips", ended, outcome_columns("encode"))
            store.settle("latents", "clips")
            given, failed = given + len(batch), failed + len(batch) - len(latents)
    return StageResult("encode", given - failed, failed, len(wanted) - given)


def _encoded(clip: Row, lineage: str, outcome: Outcome) -> Row:
    return {"clip_id": clip["clip_id"], **outcome_row("encode", lineage, outcome)}


def _publish(store: Store, recipe: DataRecipe) -> StageResult:  # noqa: ARG001 - the signature of a stage
    path = store.folder / "README.md"
    partial_path = path.with_name("README.md.partial")
    partial_path.write_text(publish.card(store), encoding="utf-8")
    partial_path.replace(path)
    return StageResult("publish", 1, 0, 0)


_RUN: dict[str, Callable[[Store, DataRecipe], StageResult]] = {
    "ingest": _ingest,
    "split": _split,
    "filter": _filter,
    "dedup": _dedup,
    "caption": _caption,
    "encode": _encode,
    "publish": _publish,
}
