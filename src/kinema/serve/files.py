"""Files that people upload, to be named in later requests."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from kinema.errors import JobNotFound
from kinema.serve.artefacts import Artefacts
from kinema.serve.job import QueueFull
from kinema.serve.jobs import Clock
from kinema.serve.settings import Limits
from kinema.serve.store import FILES, JOBS, Store


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """One uploaded file."""

    id: str
    purpose: str
    filename: str
    """As its owner calls it; shown again, never part of a path."""
    media_type: str
    num_bytes: int
    artefact: str
    created_at: float
    expires_at: float | None


class Files:
    """The files in a store; `owner=None` sees everybody's."""

    def __init__(self, store: Store, artefacts: Artefacts, clock: Clock) -> None:
        self._store, self._artefacts, self.clock = store, artefacts, clock

    def create(
        self,
        owner: str,
        content: bytes,
        *,
        purpose: str,
        filename: str,
        media_type: str,
        lasts_s: float | None,
        limits: Limits,
    ) -> StoredFile:
        """Keep a file. Raises QueueFull when the owner's share of bytes is used up."""
        now, file_id = self.clock(), f"file-{uuid.uuid4().hex}"
        self._require_room(owner, len(content), limits)
        name = f"files/{file_id}/content"
        self._artefacts.write(name, content)
        row = {
            "id": file_id, "owner": owner, "purpose": purpose, "filename": filename[:255], "media_type": media_type,
            "num_bytes": len(content), "artefact": name, "created_at": now,
            "expires_at": now + lasts_s if lasts_s else None,
        }  # fmt: skip
        with self._store.write() as db:
            db.execute(FILES.insert().values(**row))
        return self.get(file_id, owner)

    def get(self, file_id: str, owner: str | None) -> StoredFile:
        """Look at a file. Raises JobNotFound."""
        with self._store.read() as db:
            return _file(self._row(db, file_id, owner))

    def read(self, file_id: str, owner: str | None) -> bytes:
        """What is in a file. Raises JobNotFound."""
        return self._artefacts.read(self.get(file_id, owner).artefact)

    def page(
        self,
        owner: str | None,
        *,
        after: str | None,
        limit: int,
        order: Literal["asc", "desc"],
        purpose: str | None = None,
    ) -> tuple[list[StoredFile], bool]:
        """List files by the time they came; and whether there are more. Raises JobNotFound."""
        query = sa.select(FILES).where(self._alive())
        if owner is not None:
            query = query.where(FILES.c.owner == owner)
        if purpose is not None:
            query = query.where(FILES.c.purpose == purpose)
        with self._store.read() as db:
            if after is not None:
                seq = self._row(db, after, owner).seq
                query = query.where(FILES.c.seq > seq if order == "asc" else FILES.c.seq < seq)
            query = query.order_by(FILES.c.seq.asc() if order == "asc" else FILES.c.seq.desc()).limit(limit + 1)
            found = [_file(row) for row in db.execute(query)]
        return found[:limit], len(found) > limit

    def delete(self, file_id: str, owner: str | None) -> None:
        """Remove a file; jobs that used it have a copy. Raises JobNotFound."""
        with self._store.write() as db:
            db.execute(FILES.delete().where(FILES.c.seq == self._row(db, file_id, owner).seq))
        self._artefacts.remove(f"files/{file_id}")

    def _alive(self) -> Any:
        return sa.or_(FILES.c.expires_at.is_(None), FILES.c.expires_at > self.clock())

    def _row(self, db: sa.Connection, file_id: str, owner: str | None) -> Any:
        query = sa.select(FILES).where(FILES.c.id == file_id, self._alive())
        row = db.execute(query if owner is None else query.where(FILES.c.owner == owner)).first()
        if row is None:
            raise JobNotFound(f"there is no file {file_id!r}; list what there is with GET /v1/files")
        return row

    def _require_room(self, owner: str, num_bytes: int, limits: Limits) -> None:
        if limits.stored_bytes is None:
            return
        mine = sa.select(sa.func.coalesce(sa.func.sum(FILES.c.num_bytes), 0)).where(FILES.c.owner == owner)
        made = sa.select(sa.func.coalesce(sa.func.sum(JOBS.c.stored_bytes), 0)).where(JOBS.c.owner == owner)
        with self._store.read() as db:
            used = int(db.execute(mine).scalar_one()) + int(db.execute(made.where(~JOBS.c.is_deleted)).scalar_one())
        if used + num_bytes > limits.stored_bytes:
            message = f"your files take {used} bytes, your limit is {limits.stored_bytes}; delete some"
            raise QueueFull(message, code="insufficient_quota", retry_after_s=None)


def sweep_files(store: Store, remove: Callable[[str], bool], now: float) -> None:
    """Remove the files whose time is over; `remove` says of a folder whether it is gone."""
    with store.read() as db:
        gone = list(db.execute(sa.select(FILES.c.id).where(FILES.c.expires_at <= now).limit(100)).scalars())
    for file_id in gone:
        if not remove(f"files/{file_id}"):
            continue
        with store.write() as db:
            db.execute(FILES.delete().where(FILES.c.id == file_id))


def _file(row: Any) -> StoredFile:
    names = StoredFile.__dataclass_fields__
    return StoredFile(**{name: value for name, value in row._mapping.items() if name in names})
