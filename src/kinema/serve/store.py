"""Where jobs live: one database, SQLite in a folder by default, PostgreSQL by URL when machines share the queue.

Times are seconds since 1970. Machines that share a store need clocks that agree within a second or so.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.dialects import postgresql, sqlite

from kinema.errors import JobError
from kinema.spec import VideoSpec

logger = logging.getLogger(__name__)

DATABASE_NAME = "jobs.sqlite3"
"""The database of a store that is a folder; artefacts stand beside it."""

INPUTS_FOLDER = "inputs/"
"""Pictures and videos that came with requests stand there among the artefacts."""

METADATA = MetaData()

_SERIAL = sa.BigInteger().with_variant(Integer, "sqlite")

JOBS = Table(
    "jobs",
    METADATA,
    Column("seq", _SERIAL, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),  # name of the API key; empty where none is needed
    Column("kind", String(16), nullable=False),  # create, remix, edit, extend, image
    Column("model", String(255), nullable=False),
    Column("status", String(16), nullable=False),
    Column("priority", Integer, nullable=False, default=0),
    Column("spec", Text, nullable=False),  # JSON of a VideoSpec
    Column("request", Text, nullable=False),  # JSON: what was asked for, as far as the answer repeats it
    Column("parent", String(64)),  # the video that was remixed, edited or extended
    Column("created_at", Float, nullable=False),
    Column("not_before", Float, nullable=False, default=0.0),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("expires_at", Float),
    Column("attempt", Integer, nullable=False, default=0),  # the fencing token
    Column("max_attempts", Integer, nullable=False),
    Column("worker", String(128)),
    Column("lease_until", Float),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("is_deleted", Boolean, nullable=False, default=False),
    Column("stage", String(16)),
    Column("step", Integer, nullable=False, default=0),
    Column("total", Integer, nullable=False, default=0),
    Column("progress", Integer, nullable=False, default=0),  # percent
    Column("eta_s", Float),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("result", Text),  # JSON of a Result
    Column("run_s", Float),
    Column("video_s", Float, nullable=False, default=0.0),
    Column("stored_bytes", _SERIAL, nullable=False, default=0),
    Index("jobs_by_queue", "status", "model", "owner", "priority", "seq"),
    Index("jobs_by_owner", "owner", "created_at"),
    Index("jobs_by_lease", "status", "lease_until"),
    Index("jobs_by_end", "status", "model", "ended_at"),
    sqlite_autoincrement=True,  # a number is never used again: cursors rely on it
)

EVENTS = Table(
    "events",
    METADATA,
    Column("seq", _SERIAL, primary_key=True, autoincrement=True),
    Column("job_id", String(64), nullable=False),
    Column("type", String(32), nullable=False),
    Column("at", Float, nullable=False),
    Column("data", Text, nullable=False),  # JSON
    Index("events_by_job", "job_id", "seq"),
    sqlite_autoincrement=True,
)

IDEMPOTENCY = Table(
    "idempotency",
    METADATA,
    Column("owner", String(64), primary_key=True),
    Column("key", String(300), primary_key=True),
    Column("body_sha256", String(64), nullable=False),
    Column("job_id", String(64)),  # None: the request was refused, so its retry is a new one
    Column("at", Float, nullable=False),
)

SHARES = Table(
    "shares",
    METADATA,
    Column("owner", String(64), primary_key=True),
    Column("served_at", Float, nullable=False),
)
"""When each owner's last job was started: the next one goes to whoever has waited longest."""

WORKERS = Table(
    "workers",
    METADATA,
    Column("id", String(128), primary_key=True),
    Column("models", Text, nullable=False),  # JSON list of names
    Column("seen_at", Float, nullable=False),
    Column("job_id", String(64)),
)

MODELS = Table(
    "models",
    METADATA,
    Column("name", String(255), primary_key=True),
    Column("capabilities", Text, nullable=False),  # JSON of a Capabilities
    Column("seen_at", Float, nullable=False),
)
"""What each model can make, as a worker found it: the API process loads no model."""

WEBHOOKS = Table(
    "webhook_endpoints",
    METADATA,
    Column("seq", _SERIAL, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),
    Column("name", String(255), nullable=False),
    Column("url", Text, nullable=False),
    Column("event_types", Text, nullable=False),  # JSON list
    Column("secret", String(64), nullable=False),
    Column("old_secret", String(64)),
    Column("old_until", Float),  # until then messages are signed with both
    Column("is_disabled", Boolean, nullable=False, default=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Index("webhook_endpoints_by_owner", "owner", "seq"),
    sqlite_autoincrement=True,
)

DELIVERIES = Table(
    "webhook_deliveries",
    METADATA,
    Column("seq", _SERIAL, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),  # the receiver sees it, the same at every try
    Column("endpoint_id", String(64), nullable=False),
    Column("type", String(32), nullable=False),
    Column("body", Text, nullable=False),  # the bytes that are signed and sent
    Column("status", String(16), nullable=False),  # waiting, delivered, failed
    Column("attempt", Integer, nullable=False, default=0),
    Column("created_at", Float, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("http_status", Integer),
    Column("error", Text),
    Column("url", Text),  # where it goes; None: where its endpoint is
    Index("webhook_deliveries_by_turn", "status", "next_at"),
    Index("webhook_deliveries_by_endpoint", "endpoint_id", "seq"),
    sqlite_autoincrement=True,
)
"""The outbox: written in the transaction that ends a job, emptied by `sender.Sender`."""

FILES = Table(
    "files",
    METADATA,
    Column("seq", _SERIAL, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("filename", String(255), nullable=False),  # shown again, never part of a path
    Column("media_type", String(64), nullable=False),
    Column("num_bytes", _SERIAL, nullable=False),
    Column("artefact", String(255), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Index("files_by_owner", "owner", "seq"),
    sqlite_autoincrement=True,
)

INPUTS = Table(
    "inputs",
    METADATA,
    Column("name", String(255), primary_key=True),  # among the artefacts
    Column("job_id", String(64), primary_key=True),  # who needs it; empty: it was stored, at `at`
    Column("at", Float, nullable=False),
    Index("inputs_by_job", "job_id"),
)
"""Which jobs need which pictures and videos that came with requests, so that each goes with the last of them."""

SECRETS = Table(
    "secrets", METADATA, Column("name", String(64), primary_key=True), Column("value", Text, nullable=False)
)
"""What the servers of a store share and tell nobody."""

FIGURES = Table(
    "figures",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("label", String(255), primary_key=True),
    Column("count", _SERIAL, nullable=False),
    Column("total", Float, nullable=False),
    Column("most", Float, nullable=False),
)

VERSION = Table("schema_version", METADATA, Column("version", Integer, primary_key=True))

Migration = Callable[[sa.Connection], None]


def _add_webhooks_and_files(db: sa.Connection) -> None:
    METADATA.create_all(db, tables=[WEBHOOKS, DELIVERIES, FILES])


def _add_secrets(db: sa.Connection) -> None:
    METADATA.create_all(db, tables=[SECRETS])


def _add_index_by_end(db: sa.Connection) -> None:
    next(index for index in JOBS.indexes if index.name == "jobs_by_end").create(db, checkfirst=True)


def _add_figures(db: sa.Connection) -> None:
    METADATA.create_all(db, tables=[FIGURES])


def _add_inputs(db: sa.Connection) -> None:
    METADATA.create_all(db, tables=[INPUTS])
    for job in db.execute(sa.select(JOBS.c.id, JOBS.c.spec, JOBS.c.created_at)).all():
        note_inputs(db, job.id, VideoSpec.from_json(job.spec).files(), job.created_at, are_new=True)


def note_inputs(db: sa.Connection, job_id: str, files: Iterable[str], at: float, *, are_new: bool = False) -> None:
    """Write down which pictures and videos of requests a job needs; with `are_new` also that they were stored at all.

    Raises JobError for one that has been removed meanwhile.
    """
    for name in sorted({name for name in files if name.startswith(INPUTS_FOLDER)}):
        stored = sa.select(INPUTS.c.at).where(INPUTS.c.name == name, INPUTS.c.job_id == "")
        if db.execute(stored.with_for_update()).first() is None:
            if not are_new:
                raise JobError(f"the file {name} has been removed; send it again")
            db.execute(INPUTS.insert().values(name=name, job_id="", at=at))
        db.execute(INPUTS.insert().values(name=name, job_id=job_id, at=at))


def _add_delivery_url(db: sa.Connection) -> None:
    if "url" not in {column["name"] for column in sa.inspect(db).get_columns(DELIVERIES.name)}:
        db.execute(sa.DDL(f"ALTER TABLE {DELIVERIES.name} ADD COLUMN url TEXT"))


MIGRATIONS: tuple[Migration, ...] = (
    _add_webhooks_and_files, _add_secrets, _add_index_by_end, _add_figures, _add_inputs, _add_delivery_url,
)  # fmt: skip
"""Step i takes a store from version i + 1 to i + 2; a new store is made whole, at the newest version."""


class Store:
    """A database of jobs: `Store.open("folder")` or `Store.open("postgresql://...")`.

    Raises JobError when it cannot be opened, or when a newer Kinema has written it.
    """

    def __init__(self, engine: sa.Engine, folder: Path | None = None) -> None:
        self.engine = engine
        self.folder = folder
        """The folder of a SQLite store; None on PostgreSQL."""
        self._turn = threading.Lock() if engine.dialect.name == "sqlite" else contextlib.nullcontext()
        try:
            self._migrate()
        except JobError:
            self.close()
            raise

    @classmethod
    def open(cls, location: str | Path) -> "Store":
        """Open a store, making it if it is not there: a folder, or the URL of a PostgreSQL database."""
        text = str(location)
        if text.startswith(("postgresql:", "postgresql+psycopg:", "postgres:")):
            url = "postgresql+psycopg:" + text.partition(":")[2]
            return cls(sa.create_engine(url, pool_size=10, max_overflow=40, pool_pre_ping=True))
        if "://" in text:
            raise JobError(f"store={text!r} is not known; give a folder, or postgresql://USER@HOST/DATABASE")
        folder = Path(text).expanduser().absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JobError(f"the store {folder} cannot be made: {error.strerror}; give another folder") from error
        return cls(_sqlite(folder / DATABASE_NAME), folder)

    @property
    def url(self) -> str:
        """What `open` takes to open the same store in another process."""
        return str(self.folder) if self.folder else self.engine.url.render_as_string(hide_password=False)

    @property
    def answers_at_once(self) -> bool:
        """Whether a look at one row takes no longer than waking up a thread for it: the database is a file."""
        return self.engine.dialect.name == "sqlite"

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only looks; it holds nobody up."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that changes things: all of it is kept, or nothing.

        On SQLite, which has one writer at a time, the threads of a process take turns here: there they would poll.
        """
        immediate = {"kinema_begin": "BEGIN IMMEDIATE"}
        with self._turn, self.engine.connect().execution_options(**immediate) as connection, connection.begin():
            yield connection

    def insert_or_replace(self, db: sa.Connection, table: Table, row: dict[str, Any]) -> None:
        """Insert a row, or replace the one that has its primary key."""
        keys = [column.name for column in table.primary_key]
        statement = self.insert(table).values(**row)
        rest = {name: value for name, value in row.items() if name not in keys}
        db.execute(statement.on_conflict_do_update(index_elements=keys, set_=rest))

    def insert(self, table: Table) -> Any:
        """An insert of this database's dialect, which can say what to do on a conflict."""
        dialect: Any = postgresql if self.engine.dialect.name == "postgresql" else sqlite
        return dialect.insert(table)

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    def _migrate(self) -> None:
        newest = len(MIGRATIONS) + 1
        try:
            with self.write() as db:
                if db.dialect.name == "postgresql":
                    db.exec_driver_sql("SELECT pg_advisory_xact_lock(7160423)")  # two workers may start together
                if not sa.inspect(db).has_table(VERSION.name):
                    METADATA.create_all(db)
                    db.execute(VERSION.insert().values(version=newest))
                    return
                version = int(db.execute(sa.select(sa.func.max(VERSION.c.version))).scalar_one())
                if version > newest:
                    raise JobError(
                        f"the store was written by a newer Kinema (schema {version}, this one knows {newest}); update"
                    )
                for step in MIGRATIONS[version - 1 :]:
                    step(db)
                if version < newest:
                    db.execute(VERSION.update().values(version=newest))
                    logger.info("took the store from schema %d to %d", version, newest)
        except sa.exc.DBAPIError as error:
            raise JobError(f"the store cannot be opened: {error.orig}") from error


def _sqlite(path: Path) -> sa.Engine:
    """SQLite in WAL mode: readers never wait, a commit is on disk when it returns, writers take turns."""
    engine = sa.create_engine(f"sqlite:///{path}", pool_size=20, max_overflow=60, connect_args={"timeout": 30})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # `begin` below says BEGIN, not the driver
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        if how := connection.get_execution_options().get("kinema_begin"):
            connection.exec_driver_sql(how)
        else:
            driver: Any = connection.connection.driver_connection
            driver.execute("BEGIN")  # cannot fail, and is said before every look

    return engine
