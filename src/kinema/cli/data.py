"""`kinema data`: footage becomes a data set, and what is in a data set is shown."""

import contextlib
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from kinema.cli import flags
from kinema.config import to_dict, unknown
from kinema.errors import DataError, SpecError


@dataclass(frozen=True, kw_only=True)
class Run:
    """Curate footage by a recipe: ingest, split, filter, dedup, caption, encode, publish.

    What an earlier run did and nothing changed is kept; after a kill the same command goes on.
    """

    recipe: Annotated[Path, tyro.conf.Positional, flags.path("RECIPE")]
    """A TOML file; [[sources]] with a path is all it needs."""
    out: Annotated[Path | None, flags.path("FOLDER"), flags.hint("the recipe's")] = None
    """The folder of the data set."""
    stages: Annotated[str | None, flags.text("A,B"), flags.hint("all")] = None
    """Which stages to run, with commas between them."""
    workers: Annotated[int | None, flags.whole("N"), flags.hint("the recipe's")] = None
    """Child processes that decode; 0 works in this one."""
    engine: Annotated[str | None, flags.text("local|ray"), flags.hint("the recipe's")] = None
    """Where the stages that decode run: in processes of this machine, or on a Ray cluster."""
    dry_run: Annotated[bool, flags.hint()] = False
    """Print the resolved recipe and stop."""


@dataclass(frozen=True, kw_only=True)
class Stats:
    """Count what a data set holds, by status, licence and reason."""

    folder: Annotated[Path, tyro.conf.Positional, flags.path("FOLDER")]
    """The data set."""
    json: Annotated[bool, flags.hint()] = False
    """Print JSON instead of the card."""


@dataclass(frozen=True, kw_only=True)
class Show:
    """Print all that is known about one clip or file."""

    folder: Annotated[Path, tyro.conf.Positional, flags.path("FOLDER")]
    """The data set."""
    name: Annotated[str, tyro.conf.Positional, flags.text("NAME")]
    """The id of a clip, or its first characters; or the end of a file's address."""
    out: Annotated[Path | None, flags.path("FILE"), flags.hint("none")] = None
    """Where to write the clip itself."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """List the rows that meet a condition, as one JSON object per line."""

    folder: Annotated[Path, tyro.conf.Positional, flags.path("FOLDER")]
    """The data set."""
    where: Annotated[str | None, tyro.conf.Positional, flags.text("SQL"), flags.hint("all")] = None
    """A condition over the columns, such as "motion > 0.1 AND camera = 'static'"."""
    table: Annotated[str, flags.text("clips|files"), flags.hint("clips")] = "clips"
    """The table to look in."""
    columns: Annotated[str | None, flags.text("A,B"), flags.hint("all")] = None
    """Which columns to print, with commas between them."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write kept clips as WebDataset tars."""

    folder: Annotated[Path, tyro.conf.Positional, flags.path("FOLDER")]
    """The data set."""
    out: Annotated[Path, tyro.conf.Positional, flags.path("FOLDER")]
    """The folder for the tars."""
    where: Annotated[str | None, flags.text("SQL"), flags.hint("all")] = None
    """A condition that narrows the clips."""
    per_tar: Annotated[int, flags.whole("N"), flags.hint("1000")] = 1000
    """Clips in a tar."""


@dataclass(frozen=True, kw_only=True)
class Import:
    """Unpack WebDataset tars into a folder that a recipe can name as a source."""

    out: Annotated[Path, tyro.conf.Positional, flags.path("FOLDER")]
    """The folder to fill."""
    tars: Annotated[tuple[Annotated[Path, flags.path("TAR")], ...], tyro.conf.Positional]
    """The tars."""


@dataclass(frozen=True, kw_only=True)
class Diff:
    """Say which clips differ between two data sets, and in which columns."""

    before: Annotated[Path, tyro.conf.Positional, flags.path("FOLDER")]
    """One data set."""
    after: Annotated[Path, tyro.conf.Positional, flags.path("FOLDER")]
    """The other one."""


@dataclass(frozen=True, kw_only=True)
class Browse:
    """Serve a page on this machine to look at clips, scores, clusters, and what was dropped and why."""

    folder: Annotated[Path, tyro.conf.Positional, flags.path("FOLDER")]
    """The data set."""
    port: Annotated[int, flags.whole("N"), flags.hint("8700")] = 8700
    """Port on 127.0.0.1; 0 takes a free one."""


def run(argv: Sequence[str]) -> int:
    """Run the command with the arguments that follow its name; returns the exit code."""
    if not argv or argv[0] in ("--help", "-h"):
        print(_HELP)
        return 0
    if argv[0] not in _ACTIONS:
        raise SpecError(unknown("command of `kinema data`", argv[0], _ACTIONS))
    return _ACTIONS[argv[0]](argv[1:])


def _run(argv: Sequence[str]) -> int:
    options = flags.parse(Run, argv, "data run")
    from kinema.data.recipe import STAGES, check_stages, load_recipe

    recipe = load_recipe(options.recipe)
    if options.out is not None:
        recipe = replace(recipe, out=options.out)
    if options.workers is not None:
        recipe = replace(recipe, limits=replace(recipe.limits, workers=options.workers))
    if options.engine is not None:
        if options.engine not in ("local", "ray"):
            raise SpecError(unknown("engine", options.engine, ("local", "ray")))
        recipe = replace(recipe, engine="ray" if options.engine == "ray" else "local")
    stages = tuple(options.stages.split(",")) if options.stages else STAGES
    check_stages(stages)
    if options.dry_run:
        print(json.dumps({**to_dict(recipe), "stages": list(stages)}, indent=2))
        return 0
    from kinema.data.run import run_recipe

    for result in run_recipe(recipe, stages):
        print(f"{result.stage:<8} {result.done} done, {result.failed} failed, {result.kept} as they were")
    print(f"{recipe.out}  look at it: kinema data browse {shlex.quote(str(recipe.out))}")
    return 0


def _stats(argv: Sequence[str]) -> int:
    options = flags.parse(Stats, argv, "data stats")
    from kinema.data.publish import card, statistics
    from kinema.data.store import Store

    store = Store(options.folder)
    print(json.dumps(statistics(store), indent=2) if options.json else card(store), end="\n" if options.json else "")
    return 0


def _show(argv: Sequence[str]) -> int:
    options = flags.parse(Show, argv, "data show")
    from kinema.data.store import Store

    store = Store(options.folder)
    clips = [row for row in store.read("clips") if row["clip_id"].startswith(options.name)]
    rows = clips or [row for row in store.read("files") if row["uri"].endswith(options.name)]
    if len(rows) != 1:
        raise DataError(
            f"{len(rows)} clips or files are called {options.name!r}; `kinema data query {options.folder}` lists them"
        )
    _print_row(rows[0], indent=2)
    if options.out is not None:
        if not clips:
            raise SpecError("--out writes a clip; name a clip, not a file")
        options.out.write_bytes(store.bytes_of(clips[0]["clip_id"]))
    return 0


def _query(argv: Sequence[str]) -> int:
    options = flags.parse(Query, argv, "data query")
    from kinema.data.store import Store

    columns = options.columns.split(",") if options.columns else None
    store = Store(options.folder)
    if options.table not in ("clips", "files"):
        raise SpecError(unknown("table", options.table, ("clips", "files")))
    for row in store.read("files" if options.table == "files" else "clips", columns, options.where):
        _print_row(row)
    return 0


def _export(argv: Sequence[str]) -> int:
    options = flags.parse(Export, argv, "data export")
    if options.per_tar < 1:
        raise SpecError(f"--per-tar is {options.per_tar}; a tar holds 1 clip or more")
    from kinema.data.publish import export_tars
    from kinema.data.store import Store

    paths = export_tars(Store(options.folder), options.out, options.where, options.per_tar)
    print(f"{options.out}  {len(paths)} {'tar' if len(paths) == 1 else 'tars'}")
    return 0


def _import(argv: Sequence[str]) -> int:
    options = flags.parse(Import, argv, "data import")
    from kinema.data.publish import import_tars

    print(f"{options.out}  {import_tars(options.tars, options.out)} videos")
    return 0


def _diff(argv: Sequence[str]) -> int:
    options = flags.parse(Diff, argv, "data diff")
    from kinema.data.publish import differences
    from kinema.data.store import Store

    lines = differences(Store(options.before), Store(options.after))
    print("\n".join(lines) if lines else "no difference")
    return 1 if lines else 0


def _browse(argv: Sequence[str]) -> int:
    options = flags.parse(Browse, argv, "data browse")
    if not 0 <= options.port < 65536:
        raise SpecError(f"--port is {options.port}; a port is 0 to 65535")
    from kinema.data.browse import make_server
    from kinema.data.store import Store

    with make_server(Store(options.folder), options.port) as server:
        print(f"{options.folder} at http://127.0.0.1:{server.server_port} (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0


def _print_row(row: dict[str, Any], indent: int | None = None) -> None:
    print(
        json.dumps({name: value for name, value in row.items() if value is not None}, indent=indent, ensure_ascii=False)
    )


_ACTIONS: dict[str, Callable[[Sequence[str]], int]] = {
    "run": _run,
    "stats": _stats,
    "show": _show,
    "query": _query,
    "export": _export,
    "import": _import,
    "diff": _diff,
    "browse": _browse,
}
_HELP = """usage: kinema data COMMAND ...

From a folder of footage to a data set that trains.

commands:
  run     curate footage by a recipe: kinema data run recipe.toml
  stats   count what a data set holds: kinema data stats data
  show    all that is known about a clip or a file
  query   list clips or files by a condition: kinema data query data "motion > 0.1"
  export  write kept clips as WebDataset tars
  import  unpack WebDataset tars into a folder
  diff    say how two data sets differ
  browse  a page to look at clips, scores, clusters and dropped ones"""
