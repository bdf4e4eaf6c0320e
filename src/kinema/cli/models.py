"""`kinema models`: what there is to run, fetching it, and saying what a folder is."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from kinema.cli import flags
from kinema.config import to_dict, unknown
from kinema.errors import SpecError


@dataclass(frozen=True, kw_only=True)
class List:
    """List the models that Kinema knows: what each makes, its size, its licence, and whether it is here.

    Any other model of the same architecture runs too: give its folder, file or hub id to --model.
    """

    as_json: Annotated[bool, flags.hint(name="json")] = False
    """Print the list as JSON."""


@dataclass(frozen=True, kw_only=True)
class Get:
    """Fetch a model, once, and check every file by its hash.

    What is here already is not fetched again, so the same command goes on where it was stopped.
    """

    model: Annotated[str, tyro.conf.Positional, flags.text("NAME|HUB_ID")]
    """The model: a name that `kinema models` lists, or a hub id such as owner/name."""


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Say what a folder or file of weights is, and whether Kinema can run it; no weight is read."""

    path: Annotated[Path, tyro.conf.Positional, flags.path("FOLDER|FILE")]
    """The folder or file."""
    as_json: Annotated[bool, flags.hint(name="json")] = False
    """Print the answer as JSON."""


def run(argv: Sequence[str]) -> int:
    """Run the command with the arguments that follow its name; returns the exit code."""
    if argv and argv[0] in ("--help", "-h"):
        print(HELP)
        return 0
    words = list(argv) if argv and not argv[0].startswith("-") else ["list", *argv]
    if words[0] not in _COMMANDS:
        raise SpecError(unknown("command", f"models {words[0]}", [f"models {name}" for name in _COMMANDS]))
    _COMMANDS[words[0]](words[1:])
    return 0


HELP = """usage: kinema models [COMMAND ...]

The models there are to run.

commands:
  list     what Kinema knows, what is here, and what each needs (the same as no command)
  get      fetch a model and check its files: kinema models get wan2.1-1.3b
  inspect  what a folder or file of weights is: kinema models inspect FOLDER"""


def _list(argv: Sequence[str]) -> None:
    options = flags.parse(List, argv, "models list")
    from kinema.model.catalogue import known_models

    models = known_models()
    if options.as_json:
        print(json.dumps([to_dict(model) for model in models], ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("name", "makes", "weights", "licence", "here"):
        table.add_column(title, justify="right" if title == "weights" else "left", no_wrap=title == "name")
    for model in models:
        here = "yes" if model.folder else "no"
        table.add_row(model.name, model.does, size(model.weights_bytes), model.licence, here)
    console = Console()
    console.print(table, highlight=False)
    console.print(
        "\nweights: memory that they need in bfloat16, and about their size on disk; "
        "kinema generate --dry-run says what a video needs beside them",
        highlight=False,
        soft_wrap=True,
    )


def _get(argv: Sequence[str]) -> None:
    options = flags.parse(Get, argv, "models get")
    from kinema.model import PRESETS
    from kinema.model.hub import HUB_ID, check_hashes, fetch

    hub_id = options.model
    if options.model in PRESETS:
        published = PRESETS[options.model].hub_id
        if published is None:
            raise SpecError(f"{options.model} comes with Kinema; there is nothing to fetch")
        hub_id = published
    elif not HUB_ID.fullmatch(options.model):
        names = [name for name, preset in PRESETS.items() if preset.hub_id]
        raise SpecError(f"{unknown('model', options.model, names)}; or give a hub id, such as owner/name")
    folder = fetch(hub_id)
    count = sum(1 for _ in check_hashes(folder))
    print(f"{folder}  {count} files, hashes checked")


def _inspect(argv: Sequence[str]) -> None:
    options = flags.parse(Inspect, argv, "models inspect")
    from kinema.model.catalogue import inspect_model

    found = inspect_model(options.path)
    if options.as_json:
        print(json.dumps(to_dict(found), ensure_ascii=False))
        return
    print(f"{found.path}: {found.kind}" + (f", of the sizes of {found.model}" if found.model else ""))
    for network in found.networks:
        files = network.files[0] if len(network.files) == 1 else f"{len(network.files)} files"
        print(f"  {network.part:<14}{network.num_weights / 1e6:>10,.1f} M weights, {network.layout} names, {files}")
    print(f"  makes: {found.does}" if found.does else f"  cannot be run as it is: {found.problem}")


def size(num_bytes: int) -> str:
    """Write a number of bytes for people: 28.6 GB, 52 MB."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"


_COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {"list": _list, "get": _get, "inspect": _inspect}
