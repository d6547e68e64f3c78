"""The one sequence of every move of every job, which monitoring and reconciling readers follow.

No reader misses a move (see `ledger.sequence`). On PostgreSQL `step` and not `seq` orders the moves
of one job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ledger import sequence, tables
from ledger.transaction import Transaction
from ledger.values import Change, cleaned

OF_A_JOB = ("id", "step", "previous", "state", "fence", "session")
"""What `append` reads of a job's row."""

_table = tables.changes
_APPEND = sequence.appending(_table, "seq")
_AFTER = sequence.following(_table, "seq")
_BEHIND = sequence.behind(_table, "seq")
_OF_JOB = sa.select(_table).where(_table.c.job_id == sa.bindparam("wanted")).order_by(_table.c.step)


def append(tx: Transaction, rows: Sequence[Mapping[str, Any]], *, reason: str | None) -> None:
    """Write down the moves that these rows of `jobs`, as they are now, have just made."""
    reason = None if reason is None else cleaned(reason)
    entries = [
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
        for row in rows
    ]
    if entries:
        tx.defer(_APPEND, [sequence.counted(tx, entry) for entry in entries])


def after(tx: Transaction, seq: int, limit: int = 500) -> list[Change]:
    """The moves after number `seq` (0 for all), oldest first; none is ever added behind them."""
    tx.flush()
    rows = tx.rows(_AFTER, {"after_seq": seq, "at_most": limit})
    return [Change(**row) for row in rows]


def count_after(tx: Transaction, seq: int) -> int:
    """How many moves come after number `seq`."""
    return int(tx.execute(_BEHIND, {"after_seq": seq}).scalar_one())


def of_job(tx: Transaction, job_id: str) -> list[Change]:
    """All moves of one job, in the order in which it made them."""
    tx.flush()
    return [Change(**row) for row in tx.rows(_OF_JOB, {"wanted": job_id})]
