"""The one function that moves jobs from state to state.

A `Transition` is built once, at import, from the states it leads from and to, and is refused there
unless every such move is published. It is a compare-and-set: one UPDATE that names the states it
expects, followed by a line in the change sequence for every row that moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ledger import changes, states, tables
from ledger.columns import StateText
from ledger.states import State
from ledger.tables import jobs
from ledger.transaction import Transaction
from ledger.values import Job

THE_JOB: sa.ColumnElement[bool] = jobs.c.id == sa.bindparam("the_job")
THE_FENCE: sa.ColumnElement[bool] = jobs.c.fence == sa.bindparam("the_fence", type_=sa.BigInteger)
NOW: sa.BindParameter[float] = sa.bindparam("now", type_=sa.Double)

RESENT: Mapping[str, Any] = {
    "sent_number": jobs.c.sent_number + 1,
    "queued_at": NOW,
    "sent_at": NOW,
}
"""What a job gets whenever it comes back to its queue: older copies of its message become stale."""


class Transition:
    """Jobs in `sources` for which `where` holds, to `target`, with `values` set beside it."""

    def __init__(
        self,
        *,
        sources: tuple[State, ...],
        target: State,
        where: tuple[sa.ColumnElement[bool], ...],
        values: Mapping[str, Any] | None = None,
        also: tuple[sa.ColumnElement[Any], ...] = (),
    ) -> None:
        for source in sources:
            states.check(source, target)
        self.target = target
        moving = (
            sa.update(jobs)
            .where(tables.state_in(*sources), *where)
            .values(
                state=sa.literal_column(f"'{target}'", StateText()),
                previous=jobs.c.state,
                step=jobs.c.step + 1,
                **(values or {}),
            )
        )
        self._statement = moving.returning(jobs, *also)
        self._brief = moving.returning(*(jobs.c[name] for name in changes.OF_A_JOB))

    def apply(
        self, tx: Transaction, *, reason: str | None = None, **parameters: Any
    ) -> list[dict[str, Any]]:
        """Move the jobs and write down that they moved; gives their rows as they are now."""
        rows = tx.rows(self._statement, {"now": tx.now, **parameters})
        changes.append(tx, rows, reason=reason)
        return rows

    def moves(self, tx: Transaction, *, reason: str | None = None, **parameters: Any) -> bool:
        """Move one job; false if it was not where the move starts. Its row is not read."""
        rows = tx.rows(self._brief, {"now": tx.now, **parameters})
        changes.append(tx, rows, reason=reason)
        return bool(rows)

    def one(self, tx: Transaction, *, reason: str | None = None, **parameters: Any) -> Job | None:
        """Move one job; None if it was not where the move starts."""
        rows = self.apply(tx, reason=reason, **parameters)
        return job_of(rows[0]) if rows else None


def job_of(row: Mapping[str, Any], *, created: bool = False) -> Job:
    """A row of `jobs` as a value."""
    return Job(created=created, **row)


def unlocked(chosen: sa.Select[Any]) -> sa.ColumnElement[bool]:
    """`id IN (…)` over the chosen rows that no other writer has in hand.

    Skipping those keeps sweeps and workers from waiting for each other in a ring; a sweep comes
    again.
    """
    return _once(chosen.with_for_update(skip_locked=True, key_share=True))


def in_turn(chosen: sa.Select[Any]) -> sa.ColumnElement[bool]:
    """`id IN (…)` over the chosen rows, waiting for each that another writer has in hand.

    Rows are locked by id, one order everywhere, so that no two writers wait for each other.
    """
    return _once(chosen.order_by(jobs.c.id).with_for_update(key_share=True))


def _once(chosen: sa.Select[Any]) -> sa.ColumnElement[bool]:
    # PostgreSQL may run a plain sub-select once per row, and choose others each time.
    return jobs.c.id.in_(sa.select(chosen.cte("chosen").c.id))
