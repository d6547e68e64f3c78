"""Numbers for rows that readers follow, such that none is ever added behind a reader's back.

On SQLite there is one writer at a time, so numbers appear in their order. On PostgreSQL
transactions commit in any order, so a number is made of the writer's transaction id and a count
within it, and readers stop at the oldest transaction that still runs (`pg_snapshot_xmin`): whatever
becomes visible later has a higher number than anything they were given.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ledger import tables
from ledger.errors import TransactionTooLarge
from ledger.transaction import Transaction

PER_TRANSACTION = 1 << 20
"""How many rows with such numbers one transaction can write on PostgreSQL."""

# A restored dump starts with young transaction ids; the base, raised at opening, is added to them.
_BASE = sa.select(tables.identity.c.change_base).scalar_subquery()


def _numbered(transaction_id: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    as_integer = sa.cast(sa.cast(transaction_id, sa.Text), sa.BigInteger)
    return (as_integer + _BASE) * sa.literal_column(str(PER_TRANSACTION), sa.BigInteger())


def appending(table: sa.Table, number: str) -> tables.Statements:
    """The INSERT; on PostgreSQL it wants a `count` from `counted` beside the columns."""
    count = sa.bindparam("count", type_=sa.BigInteger)
    mine = _numbered(sa.func.pg_current_xact_id()) + count
    return {
        "sqlite": sa.insert(table),
        "postgresql": sa.insert(table).values({number: mine}),
    }


def following(table: sa.Table, number: str) -> tables.Statements:
    """The SELECT of `at_most` rows after the number `after_seq`, oldest first."""
    column = table.c[number]
    in_order = (
        sa.select(table)
        .where(column > sa.bindparam("after_seq", type_=sa.BigInteger))
        .order_by(column)
        .limit(sa.bindparam("at_most", type_=sa.Integer))
    )
    oldest = sa.func.pg_snapshot_xmin(sa.func.pg_current_snapshot())
    return {"sqlite": in_order, "postgresql": in_order.where(column < _numbered(oldest))}


def behind(table: sa.Table, number: str) -> sa.Executable:
    """The SELECT of how many rows come after the number `after_seq`."""
    column = table.c[number]
    mark = sa.bindparam("after_seq", type_=sa.BigInteger)
    return sa.select(sa.func.count()).select_from(table).where(column > mark)


def counted(tx: Transaction, row: dict[str, Any]) -> dict[str, Any]:
    """The row with its place among those of this transaction.

    Raises:
        TransactionTooLarge: there is no number left.
    """
    if tx.numbered + 1 >= PER_TRANSACTION:
        raise TransactionTooLarge(
            f"More than {PER_TRANSACTION - 1} changes in one transaction.",
            suggested_action="Write in several transactions.",
        )
    place = {"count": tx.numbered} if tx.dialect == "postgresql" else {}
    tx.numbered += 1
    return {**row, **place}
