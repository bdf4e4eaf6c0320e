"""The two places of a server: the database of its jobs, and the files that they leave."""

from kinema.errors import JobError
from kinema.serve.artefacts import Artefacts
from kinema.serve.store import Store


def open_places(store: str, artefacts: str | None = None) -> tuple[Store, Artefacts]:
    """Open the store, and the artefacts beside it unless they are elsewhere. Raises JobError."""
    opened = Store.open(store)
    if artefacts is None and opened.folder is None:
        opened.close()
        raise JobError("jobs in PostgreSQL need a place for the files: --artefacts FOLDER, or s3://NAME/PATH")
    return opened, Artefacts(artefacts or str(opened.folder / "artefacts"))  # type: ignore[operator]
