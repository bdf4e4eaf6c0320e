"""Figures that outlive the jobs they are about: how long waiting, stages and steps took, and how much memory."""

from dataclasses import dataclass

import sqlalchemy as sa

from kinema.serve.store import FIGURES, Store


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A count, a sum and a maximum of one thing."""

    name: str
    label: str
    """Which stage, model or kind."""
    count: int
    total: float
    most: float


def add_figure(store: Store, db: sa.Connection, name: str, label: str, value: float) -> None:
    """Count one more value, in the transaction that makes it true."""
    row = {"name": name, "label": label, "count": 1, "total": value, "most": value}
    new = store.insert(FIGURES).values(**row)
    larger = sa.case((FIGURES.c.most < value, value), else_=FIGURES.c.most)
    sums = {"count": FIGURES.c.count + 1, "total": FIGURES.c.total + value, "most": larger}
    db.execute(new.on_conflict_do_update(index_elements=["name", "label"], set_=sums))


def read_figures(store: Store) -> list[Figure]:
    """All that was counted."""
    with store.read() as db:
        rows = db.execute(sa.select(FIGURES).order_by(FIGURES.c.name, FIGURES.c.label))
        return [Figure(**row._mapping) for row in rows]
