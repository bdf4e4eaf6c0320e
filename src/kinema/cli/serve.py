"""`kinema serve`: the Videos API, and one worker process behind it."""

import contextlib
import dataclasses
import ipaddress
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from kinema.cli import flags
from kinema.cli.worker import make_marks
from kinema.config import load_json, save_json, to_dict
from kinema.errors import SpecError
from kinema.log import write_json
from kinema.spec import parse_memory

if TYPE_CHECKING:
    from kinema.serve.keys import KeyRing
    from kinema.serve.settings import ServeSettings

logger = logging.getLogger(__name__)

_OF_WORKER = ("device", "dtype", "memory", "label", "no_marks", "check_frames")
"""What only the worker needs to know; None leaves it the choice."""

RESTART_S = 1.0
"""Pause before a worker that died is started again; doubled each time, up to a minute."""


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Serve the Videos API: OpenAI's clients work once their base URL is http://HOST:PORT/v1.

    Nothing that was accepted is lost when this is stopped or killed; the same command goes on.
    """

    host: Annotated[str, flags.text("ADDRESS"), flags.hint("127.0.0.1")] = "127.0.0.1"
    """Where to listen; an address that others can reach needs --keys."""
    port: Annotated[int, flags.whole("N"), flags.hint("8000")] = 8000
    """The port to listen on."""
    store: Annotated[str, flags.text("FOLDER|URL"), flags.hint("kinema-store")] = "kinema-store"
    """Where the jobs are kept: a folder, or postgresql://USER@HOST/DATABASE."""
    artefacts: Annotated[str | None, flags.text("FOLDER|URL"), flags.hint("in the store's folder")] = None
    """Where the videos go: a folder, or a bucket such as s3://NAME/PATH."""
    model: Annotated[str, flags.text("NAME,..."), flags.hint("mini")] = "mini"
    """The models to serve, the default first: names, folders or hub ids, with commas between them."""
    alias: Annotated[str | None, flags.text("NAME=MODEL,..."), flags.hint("sora-2 and sora-2-pro: the first model")] = (
        None
    )
    """Other names for the models, such as sora-2=mini."""
    keys: Annotated[Path | None, flags.path("FILE"), flags.hint("nobody needs a key")] = None
    """The API keys that are accepted."""
    make_key: Annotated[str | None, flags.text("NAME"), flags.hint()] = None
    """Add a key of that name to --keys, print it, and stop; it is shown this once."""
    policy: Annotated[Path | None, flags.path("FILE"), flags.hint("the one that comes with Kinema")] = None
    """What must not be asked for; the file can be edited while the server runs."""
    make_policy: Annotated[Path | None, flags.path("FILE"), flags.hint()] = None
    """Write the policy that comes with Kinema to a file, for editing, and stop."""
    public_url: Annotated[str | None, flags.text("URL"), flags.hint("as each request was addressed")] = None
    """How others reach this server, for links in its answers, such as https://video.example.com."""
    max_queued: Annotated[int, flags.whole("N"), flags.hint("1000")] = 1000
    """Jobs that may wait; one more is refused with 429."""
    keep_days: Annotated[float, flags.number("D"), flags.hint("30")] = 30.0
    """How long finished videos are kept."""
    lease: Annotated[float, flags.number("S"), flags.hint("30")] = 30.0
    """Seconds of silence after which a worker has lost its job."""
    allow_network: Annotated[str | None, flags.text("NETWORK,..."), flags.hint("public addresses only")] = None
    """Private networks that webhooks may reach, such as 10.0.0.0/8."""
    device: Annotated[str | None, flags.text("D"), flags.hint("a GPU if there is one, else cpu")] = None
    """Where to compute: cpu, cuda, cuda:1."""
    dtype: Annotated[str | None, flags.text("D"), flags.hint("the fastest that the device has")] = None
    """Number type of the networks: float32, bfloat16 or float16."""
    memory: Annotated[str | None, flags.text("AMOUNT"), flags.hint("whatever it takes")] = None
    """Keep each model to this much memory, such as 8GB: of the GPU, or on a CPU of the process; slower if little."""
    label: Annotated[str | None, flags.text("eu|cn"), flags.hint("none")] = None
    """Put a label that people see into every frame: eu writes AI, cn writes AI生成."""
    no_marks: Annotated[bool, flags.hint()] = False
    """Leave out the marks that say how a video was made: the invisible watermark, the AIGC key, the signature."""
    check_frames: Annotated[str | None, flags.text("NAME"), flags.hint("none")] = None
    """Look at frames before a video is published: nudenet, which you install, or a MODULE:FUNCTION of your own."""
    log_json: Annotated[bool, flags.hint()] = False
    """Write the log as lines of JSON, one for every request, with their ids."""
    no_worker: Annotated[bool, flags.hint()] = False
    """Serve the API only; start workers with kinema worker."""
    dry_run: Annotated[bool, flags.hint()] = False
    """Check everything, print the resolved settings and stop."""


def run(argv: Sequence[str]) -> int:
    """Run the command with the arguments that follow its name; returns the exit code."""
    options = flags.parse(Serve, argv, "serve")
    if options.make_key is not None:
        _make_key(options)
        return 0
    if options.make_policy is not None:
        _make_policy(options.make_policy)
        return 0
    settings = settings_of(options)
    make_marks(options.label, is_off=options.no_marks)
    if options.check_frames is not None:
        from kinema.serve.frame_check import require_check

        require_check(options.check_frames)
    keys = _keys(options)
    if options.memory is not None:
        parse_memory(options.memory)
    if options.dry_run:
        shown = {"host": options.host, "port": options.port, "store": options.store, "artefacts": options.artefacts}
        worker_is = None if options.no_worker else {name: getattr(options, name) for name in _OF_WORKER}
        told = {**shown, **to_dict(settings), "keys": [key.name for key in keys.keys], "worker": worker_is}
        print(json.dumps(told, indent=2, ensure_ascii=False))
        return 0

    _require_free(options.host, options.port)
    if options.log_json:
        write_json()

    import uvicorn

    from kinema.serve.app import make_app
    from kinema.serve.places import open_places
    from kinema.serve.server import Server
    from kinema.serve.tracing import install_tracing

    install_tracing("kinema-api")
    store, artefacts = open_places(options.store, options.artefacts)
    worker = None if options.no_worker else WorkerProcess(worker_command(options))
    try:
        if worker:
            worker.start()
        print(welcome(options, settings), file=sys.stderr)
        app = make_app(store, artefacts, settings, keys)
        config = uvicorn.Config(
            app,
            host=options.host,
            port=options.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
        with contextlib.suppress(KeyboardInterrupt):
            Server(app, config).run()
    finally:
        if worker:
            worker.stop()
        store.close()
    return 0


def _require_free(host: str, port: int) -> None:
    """Refuse an address that cannot be listened at, before anything is opened or started. Raises SpecError."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise SpecError(f"cannot listen at {host}, port {port}: {error.strerror}; give another --port") from error


def welcome(options: Serve, settings: "ServeSettings") -> str:
    """Where the page and the API are, as addresses that open from this machine."""
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(options.host, options.host)
    own = f"http://[{host}]:{options.port}" if ":" in host else f"http://{host}:{options.port}"
    base = (settings.public_url or own).rstrip("/")
    return f"page: {base}/\nAPI:  {base}/v1  (models: {', '.join(settings.models)})"


def settings_of(options: Serve) -> "ServeSettings":
    """What the options set. Raises SpecError."""
    from kinema.serve.settings import QueueSettings, ServeSettings

    if not 0 < options.port < 65536:
        raise SpecError(f"--port is {options.port}; it takes a whole number from 1 to 65535")
    queue = QueueSettings(lease_s=options.lease, max_queued=options.max_queued, keep_s=86400 * options.keep_days)
    models = _names(options.model)
    return ServeSettings(
        models=models,
        aliases=_aliases(options.alias),
        queue=queue,
        policy=_policy(options.policy),
        public_url=options.public_url,
        allowed_networks=_names(options.allow_network),
    )


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _aliases(text: str | None) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in (text or "").split(",") if pair.strip()]
    for name, sign, model in pairs:
        if not (name.strip() and sign and model.strip()):
            raise SpecError(f"--alias is {text!r}; it takes NAME=MODEL pairs, such as sora-2=mini")
    return {name.strip(): model.strip() for name, _, model in pairs}


def _keys(options: Serve) -> "KeyRing":
    from kinema.serve.keys import KeyRing

    ring = load_json(KeyRing, options.keys) if options.keys else KeyRing()
    if not ring.keys and not _is_loopback(options.host):
        raise SpecError(
            f"--host {options.host} lets others in, so a key is needed: "
            "kinema serve --make-key NAME --keys keys.json, then add --keys keys.json"
        )
    return ring


def _make_key(options: Serve) -> None:
    from kinema.serve.keys import KeyRing, make_key

    if options.keys is None:
        raise SpecError("--make-key needs a file to add the key to: --keys keys.json")
    ring = load_json(KeyRing, options.keys) if options.keys.exists() else KeyRing()
    token, key = make_key(str(options.make_key))
    ring = dataclasses.replace(ring, keys=(*ring.keys, key))
    save_json(ring, options.keys)
    options.keys.chmod(0o600)
    print(token)


def _make_policy(path: Path) -> None:
    from kinema.serve.moderation import DEFAULT_POLICY

    if path.exists():
        raise SpecError(f"--make-policy {path} is there already; give a new name")
    path.write_bytes(DEFAULT_POLICY.read_bytes())


def _policy(path: Path | None) -> str | None:
    """The place of a policy that can be read. Raises SpecError."""
    if path is None:
        return None
    from kinema.serve.moderation import PolicyFile

    PolicyFile(path)
    return str(path.absolute())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def worker_command(options: Serve) -> list[str]:
    """The command line of the worker behind a server of these options."""
    command = [sys.executable, "-m", "kinema", "worker", "--store", options.store, "--model", options.model]
    command += ["--lease", str(options.lease), "--parent", str(os.getpid())]
    command += ["--no-marks"] if options.no_marks else []
    command += ["--log-json"] if options.log_json else []
    for name in ("artefacts", *_OF_WORKER):
        value = getattr(options, name)
        if isinstance(value, str):
            command += [f"--{name.replace('_', '-')}", value]
    return command


class WorkerProcess:
    """A worker process that is started again when it dies."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Start it; once only."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the worker to give its job back and go; it has half a minute."""
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._thread.join(5)

    def _watch(self) -> None:
        pause_s = RESTART_S
        while not self._stopping.is_set():
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=2
            )  # `kinema mcp` speaks on 1
            code = self._process.wait()
            if self._stopping.is_set():
                return
            logger.warning("the worker ended with %d; starting another in %g s", code, pause_s)
            self._stopping.wait(pause_s)
            pause_s = min(60.0, 2 * pause_s)
