"""`kinema worker`: a process that takes jobs from a store and makes their videos."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from kinema.cli import flags
from kinema.log import write_json
from kinema.spec import parse_memory

if TYPE_CHECKING:
    from kinema.provenance.mark import Marks


@dataclass(frozen=True, kw_only=True)
class Work:
    """Take jobs from the store of a server, and make their videos, until stopped.

    Any number of workers share a store; one that is killed loses nothing, another goes on where it was.
    """

    store: Annotated[str, flags.text("FOLDER|URL"), flags.hint("kinema-store")] = "kinema-store"
    """Where the jobs are: a folder, or postgresql://USER@HOST/DATABASE."""
    artefacts: Annotated[str | None, flags.text("FOLDER|URL"), flags.hint("in the store's folder")] = None
    """Where the videos go: a folder, or a bucket such as s3://NAME/PATH."""
    model: Annotated[str, flags.text("NAME,..."), flags.hint("mini")] = "mini"
    """The models to make videos with: names, folders or hub ids, with commas between them."""
    device: Annotated[str | None, flags.text("D"), flags.hint("a GPU if there is one, else cpu")] = None
    """Where to compute: cpu, cuda, cuda:1."""
    dtype: Annotated[str | None, flags.text("D"), flags.hint("the fastest that the device has")] = None
    """Number type of the networks: float32, bfloat16 or float16."""
    memory: Annotated[str | None, flags.text("AMOUNT"), flags.hint("whatever it takes")] = None
    """Keep each model to this much memory, such as 8GB: of the GPU, or on a CPU of the process; slower if little."""
    lease: Annotated[float, flags.number("S"), flags.hint("30")] = 30.0
    """Seconds of silence after which another worker takes over a job."""
    label: Annotated[str | None, flags.text("eu|cn"), flags.hint("none")] = None
    """Put a label that people see into every frame: eu writes AI, cn writes AI生成."""
    no_marks: Annotated[bool, flags.hint()] = False
    """Leave out the marks that say how a video was made: the invisible watermark, the AIGC key, the signature."""
    check_frames: Annotated[str | None, flags.text("NAME"), flags.hint("none")] = None
    """Look at frames before a video is published: nudenet, which you install, or a MODULE:FUNCTION of your own."""
    log_json: Annotated[bool, flags.hint()] = False
    """Write the log as lines of JSON."""
    parent: Annotated[int | None, flags.whole("PID"), flags.hint("work until stopped")] = None
    """Stop, after the job in hand, when the process that started this one has ended."""


def run(argv: Sequence[str]) -> int:
    """Run the command with the arguments that follow its name; returns the exit code."""
    options = flags.parse(Work, argv, "worker")
    if options.log_json:
        write_json()

    from kinema.serve.places import open_places
    from kinema.serve.settings import QueueSettings
    from kinema.serve.tracing import install_tracing
    from kinema.serve.worker import Worker

    install_tracing("kinema-worker")

    if options.memory is not None:
        parse_memory(options.memory)
    settings = QueueSettings(lease_s=options.lease)
    store, artefacts = open_places(options.store, options.artefacts)
    worker = Worker(
        store,
        artefacts,
        tuple(options.model.split(",")),
        settings=settings,
        device=options.device,
        dtype=options.dtype,
        memory=options.memory,
        parent=options.parent,
        marks=make_marks(options.label, is_off=options.no_marks),
        check_frames=options.check_frames,
    )
    try:
        worker.load()
        worker.run()
    finally:
        store.close()
    return 0


def make_marks(label: str | None, *, is_off: bool) -> "Marks":
    """The marks that the flags ask for; raises SpecError for a label that does not exist."""
    from kinema.provenance.mark import UNMARKED, Marks

    return dataclasses.replace(UNMARKED if is_off else Marks(), label=label)
