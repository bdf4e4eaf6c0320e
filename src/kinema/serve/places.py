"""The two places of a server: the database of its jobs, and the files that they leave."""

from kinema.errors import JobError
from kinema.serve.artefacts import Artefacts
from kinema.serve.store import Store


def open_places(store: str, artefacts: str | None = None) -> tuple[Store, Artefacts]:
    """Open the store, and the artefacts beside it unless they are elsewhere. Raises JobError."""
    if artefacts is None and store.startswith("postgres"):
        raise JobError("jobs in PostgreSQL need a place for the files: --artefacts FOLDER, or s3://NAME/PATH")
    opened = Store.open(store)
    return opened, Artefacts(artefacts or f"{opened.folder}/artefacts")
