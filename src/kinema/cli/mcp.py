"""`kinema mcp`: the tools for agents, over standard input and output."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kinema.cli import flags


@dataclass(frozen=True, kw_only=True)
class Mcp:
    """Let an agent make videos: a server of the Model Context Protocol over standard input and output.

    Agents start it themselves; give them the command `kinema mcp`. Those that speak HTTP use http://HOST:PORT/mcp of
    `kinema serve` instead.
    """

    store: Annotated[str | None, flags.text("FOLDER|URL"), flags.hint("a folder of this user")] = None
    """Where the jobs are kept; that of a running `kinema serve` may be shared."""
    artefacts: Annotated[str | None, flags.text("FOLDER|URL"), flags.hint("in the store's folder")] = None
    """Where the videos go: a folder, or a bucket such as s3://NAME/PATH."""
    model: Annotated[str, flags.text("NAME,..."), flags.hint("mini")] = "mini"
    """The models to offer, the default first: names, folders or hub ids, with commas between them."""
    device: Annotated[str | None, flags.text("D"), flags.hint("a GPU if there is one, else cpu")] = None
    """Where to compute: cpu, cuda, cuda:1."""
    dtype: Annotated[str | None, flags.text("D"), flags.hint("the fastest that the device has")] = None
    """Number type of the networks: float32, bfloat16 or float16."""
    no_worker: Annotated[bool, flags.hint()] = False
    """Never start a worker; otherwise the first request starts one, unless the store has one already."""


def run(argv: Sequence[str]) -> int:
    """Run the command with the arguments that follow its name; returns the exit code."""
    options = flags.parse(Mcp, argv, "mcp")

    from kinema.cli.serve import Serve, WorkerProcess, settings_of, worker_command
    from kinema.serve.app import make_app
    from kinema.serve.mcp_tools import make_mcp
    from kinema.serve.metrics import num_workers
    from kinema.serve.places import open_places

    place = options.store or str(_own_folder())
    serve = Serve(
        store=place,
        artefacts=options.artefacts,
        model=options.model,
        device=options.device,
        dtype=options.dtype,
    )
    settings = settings_of(serve)
    store, artefacts = open_places(place, options.artefacts)
    api = make_app(store, artefacts, settings).state.api
    started: list[WorkerProcess] = []

    def need_worker() -> None:
        if not started and not options.no_worker and num_workers(api.store, api.jobs) == 0:
            started.append(WorkerProcess(worker_command(serve)))
            started[0].start()

    try:
        make_mcp(api, is_local=True, need_worker=need_worker).run("stdio")
    finally:
        for worker in started:
            worker.stop()
        store.close()
    return 0


def _own_folder() -> Path:
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "kinema" / "store"
