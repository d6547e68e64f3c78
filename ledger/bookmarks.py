"""Bookmarks: how far a reader of a sequence has come, and when something was last done.

A reader moves its bookmark in the transaction that writes what it read, with a compare-and-set on
where it stood: of two readers at one place only one gets on, and one that dies loses nothing.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ledger import tables
from ledger.monitoring_tables import bookmarks
from ledger.transaction import Transaction

_EXPECTED: sa.BindParameter[int] = sa.bindparam("expected", type_=sa.BigInteger)

_ALL = sa.select(bookmarks).order_by(bookmarks.c.name)
_GET = sa.select(bookmarks).where(bookmarks.c.name == sa.bindparam("the_name"))


def _beginning(insert: tables.Insert) -> Any:
    return insert(bookmarks).on_conflict_do_nothing().returning(bookmarks.c.name)


def _noting(insert: tables.Insert) -> Any:
    new = insert(bookmarks)
    return new.on_conflict_do_update(index_elements=["name"], set_={"at": new.excluded.at})


_BEGIN = tables.both(_beginning)
_NOTE = tables.both(_noting)
_MOVE = (
    sa.update(bookmarks)
    .where(bookmarks.c.name == sa.bindparam("the_name"), bookmarks.c.position == _EXPECTED)
    .values(
        position=sa.bindparam("to", type_=sa.BigInteger),
        at=sa.bindparam("now", type_=sa.Double),
    )
    .returning(bookmarks.c.name)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bookmark:
    """A place in a sequence, 0 before its beginning, and when it was last moved or noted."""

    name: str
    position: int
    at: float


def get(tx: Transaction, name: str) -> Bookmark | None:
    """One bookmark; None where nobody has set it."""
    row = tx.row(_GET, {"the_name": name})
    return None if row is None else Bookmark(**row)


def move(tx: Transaction, name: str, *, expected: int, to: int) -> bool:
    """Move a bookmark that stands at `expected`; false, and nothing written, if it does not.

    One that nobody has set stands at 0.
    """
    if expected == 0:
        first = {"name": name, "position": to, "at": tx.now}
        if tx.execute(_BEGIN, first).first() is not None:
            return True
    moved = {"the_name": name, "expected": expected, "to": to, "now": tx.now}
    return tx.execute(_MOVE, moved).first() is not None


def list(tx: Transaction) -> builtins.list[Bookmark]:  # noqa: A001 - bookmarks.list
    """All bookmarks, by name."""
    return [Bookmark(**row) for row in tx.rows(_ALL)]


def note(tx: Transaction, name: str) -> None:
    """Say that something was done now; where the bookmark stands is left alone."""
    tx.execute(_NOTE, {"name": name, "position": 0, "at": tx.now})
