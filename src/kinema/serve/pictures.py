"""Pictures that requests bring, name or point at, stored as clean ones; the videos of `clips` stand beside them."""

import base64
import binascii
import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from kinema.errors import SpecError
from kinema.serve.artefacts import Artefacts
from kinema.serve.decode import decode_picture
from kinema.serve.faults import Fault
from kinema.serve.files import Files
from kinema.serve.forms import Upload
from kinema.serve.outward import Outward, Unreachable
from kinema.serve.schema import Reference
from kinema.serve.store import INPUTS, INPUTS_FOLDER, Store

MAX_PIXELS = 40_000_000
"""Largest picture that is decoded; it is made smaller for the video anyway."""

UNUSED_S = 3600.0
"""How long a picture may wait for the job that it was stored for."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Takes pictures in."""

    database: Store
    artefacts: Artefacts
    files: Files
    outward: Outward

    def store(self, reference: Any, owner: str | None, name: str = "input_reference") -> str:
        """Store a picture - a file, a data URL, a web address or the id of an uploaded file - and return its artefact.

        `name` is the field of the request that messages speak of. Raises Fault, MediaError and JobNotFound.
        """
        upload = reference if isinstance(reference, Upload) else self._fetch(reference, owner, name)
        if upload.ending not in ("png", "jpg", "webp"):
            raise Fault(400, f"{name} is no picture; send png, jpg or webp", code="invalid_value", param=name)
        clean = decode_picture(upload.content, name, MAX_PIXELS)
        return self.keep(clean, "png")

    def keep(self, clean: bytes, ending: str) -> str:
        """Store what was decoded and is clean, until no job needs it; returns its artefact."""
        stored = f"{INPUTS_FOLDER}{hashlib.sha256(clean).hexdigest()}.{ending}"
        with self.database.write() as db:  # before the file is there: whoever removes it looks here in turn
            self.database.insert_or_replace(db, INPUTS, {"name": stored, "job_id": "", "at": self.files.clock()})
        self.artefacts.write(stored, clean)
        return stored

    def _fetch(self, reference: Any, owner: str | None, name: str) -> Upload:
        if isinstance(reference, str):
            reference = {"image_url": reference}
        asked = Reference.model_validate(reference)
        if asked.file_id is not None:
            return Upload(content=self.files.read(asked.file_id, owner))
        url = asked.image_url if isinstance(asked.image_url, str) else (asked.image_url or {}).get("url", "")
        if url.startswith(("https:", "http:")):
            return Upload(content=self._download(url, name))
        head, _, data = url.partition(",")
        if not head.startswith("data:image/") or not head.endswith(";base64"):
            message = (
                f"{name} takes a file, a file_id, or an image_url that begins with https: or data:image/png;base64,"
            )
            raise Fault(400, message, code="invalid_value", param=name)
        try:
            return Upload(content=base64.b64decode(data, validate=True))
        except binascii.Error:
            raise Fault(400, "image_url is no valid base64", code="invalid_value", param=name) from None

    def _download(self, url: str, name: str) -> bytes:
        try:
            answer = self.outward.request("GET", url)
        except (SpecError, Unreachable) as error:
            raise Fault(400, f"{name}: {error}", code="invalid_url", param=name) from None
        if answer.status != 200:
            raise Fault(400, f"{name}: {url} answers {answer.status}", code="invalid_url", param=name)
        return answer.body


def sweep_pictures(store: Store, remove: Callable[[str], bool], now: float) -> None:
    """Remove the pictures that no job needs any more; `remove` says of a file whether it is gone.

    A picture is removed while its row is locked, and stored after its row is written: so none goes that is wanted.
    """
    wanted = INPUTS.alias()
    unused = sa.and_(
        INPUTS.c.job_id == "",
        INPUTS.c.at < now - UNUSED_S,
        ~sa.exists().where(wanted.c.name == INPUTS.c.name, wanted.c.job_id != ""),
    )
    with store.read() as db:
        names = list(db.execute(sa.select(INPUTS.c.name).where(unused).limit(100)).scalars())
    for name in names:
        mine = sa.and_(INPUTS.c.name == name, INPUTS.c.job_id == "")
        with contextlib.suppress(_Left), store.write() as db:
            db.execute(sa.select(INPUTS.c.at).where(mine).with_for_update())  # a job that takes it now comes first
            if db.execute(INPUTS.delete().where(mine, unused)).rowcount and not remove(name):
                raise _Left


class _Left(Exception):  # noqa: N818 - it undoes a transaction
    """A file is still there."""
