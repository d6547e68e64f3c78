"""The one sequence of every move of every job, which monitoring and reconciling readers follow.

No reader misses a move. On SQLite there is one writer at a time, so numbers appear in their order.
On PostgreSQL transactions commit in any order, so a number is made of the writer's transaction id
and a count within it, and readers stop at the oldest transaction that still runs
(`pg_snapshot_xmin`): whatever becomes visible later has a higher number than anything they were
given. There, `step` and not `seq` orders the moves of one job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ledger import tables
from ledger.errors import TransactionTooLarge
from ledger.transaction import Transaction
from ledger.values import Change, cleaned

PER_TRANSACTION = 1 << 20
"""How many changes one transaction can write on PostgreSQL."""

_table = tables.changes
# A restored dump starts with young transaction ids; the base, raised at opening, is added to them.
_BASE = sa.select(tables.identity.c.change_base).scalar_subquery()


def _numbered(transaction_id: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    as_integer = sa.cast(sa.cast(transaction_id, sa.Text), sa.BigInteger)
    return (as_integer + _BASE) * sa.literal_column(str(PER_TRANSACTION), sa.BigInteger())


_APPEND: tables.Statements = {
    "sqlite": sa.insert(_table),
    "postgresql": sa.insert(_table).values(
        seq=_numbered(sa.func.pg_current_xact_id()) + sa.bindparam("count", type_=sa.BigInteger)
    ),
}
_in_order = (
    sa.select(_table)
    .where(_table.c.seq > sa.bindparam("after_seq", type_=sa.BigInteger))
    .order_by(_table.c.seq)
    .limit(sa.bindparam("at_most", type_=sa.Integer))
)
_AFTER: tables.Statements = {
    "sqlite": _in_order,
    "postgresql": _in_order.where(
        _table.c.seq < _numbered(sa.func.pg_snapshot_xmin(sa.func.pg_current_snapshot()))
    ),
}
_OF_JOB = sa.select(_table).where(_table.c.job_id == sa.bindparam("wanted")).order_by(_table.c.step)


def append(tx: Transaction, rows: Sequence[Mapping[str, Any]], *, reason: str | None) -> None:
    """Write down the moves that these rows of `jobs`, as they are now, have just made."""
    if not rows:
        return
    if tx.changes_written + len(rows) >= PER_TRANSACTION:
        raise TransactionTooLarge(
            f"More than {PER_TRANSACTION - 1} changes in one transaction.",
            suggested_action="Write in several transactions.",
        )
    reason = None if reason is None else cleaned(reason)
    entries = []
    for row in rows:
        entries.append(
            {
                "at": tx.now,
                "job_id": row["id"],
                "step": row["step"],
                "source": row["previous"],
                "target": row["state"],
                "fence": row["fence"],
                "reason": reason,
                "session": row["session"],
            }
        )
        if tx.dialect == "postgresql":
            entries[-1]["count"] = tx.changes_written
        tx.changes_written += 1
    tx.defer(_APPEND, entries)


def after(tx: Transaction, seq: int, limit: int = 500) -> list[Change]:
    """The moves after number `seq` (0 for all), oldest first; none is ever added behind them."""
    tx.flush()
    rows = tx.rows(_AFTER, {"after_seq": seq, "at_most": limit})
    return [Change(**row) for row in rows]


def of_job(tx: Transaction, job_id: str) -> list[Change]:
    """All moves of one job, in the order in which it made them."""
    tx.flush()
    return [Change(**row) for row in tx.rows(_OF_JOB, {"wanted": job_id})]
