"""Receipts that are not where they should be: for audits, which look at every row."""

from __future__ import annotations

import sqlalchemy as sa

from ledger.log_tables import log_leaves
from ledger.states import State
from ledger.tables import jobs, receipts, state_in
from ledger.transaction import Transaction

_STRAY = (
    sa.select(receipts.c.job_id)
    .select_from(
        receipts.outerjoin(
            log_leaves,
            (log_leaves.c.log == receipts.c.log)
            & (log_leaves.c.index == receipts.c.leaf_index)
            & (log_leaves.c.job_id == receipts.c.job_id),
        )
    )
    .where(
        receipts.c.log == sa.bindparam("the_log", type_=sa.BigInteger),
        receipts.c.leaf_index.is_not(None),
        log_leaves.c.log.is_(None),
    )
    .limit(1)
)
_UNPROVED = (
    sa.select(jobs.c.id)
    .select_from(jobs.outerjoin(receipts, receipts.c.job_id == jobs.c.id))
    .where(state_in(State.SUCCEEDED), receipts.c.job_id.is_(None))
    .limit(1)
)
_ASTRAY = (
    sa.select(receipts.c.job_id)
    .where(receipts.c.log.is_(None), receipts.c.signature.is_not(None))
    .limit(1)
)
_UNSIGNED = sa.select(sa.func.count()).where(
    receipts.c.log.is_(None), receipts.c.signature.is_(None)
)


def stray(tx: Transaction, log: int) -> str | None:
    """A job whose receipt names a leaf of a log that is not its own."""
    found: str | None = tx.execute(_STRAY, {"the_log": log}).scalar_one_or_none()
    return found


def unproved(tx: Transaction) -> str | None:
    """A job that has succeeded and has no receipt, or one that belongs to no log."""
    tx.flush()
    for statement in (_UNPROVED, _ASTRAY):
        found: str | None = tx.execute(statement).scalar_one_or_none()
        if found is not None:
            return found
    return None


def unsigned(tx: Transaction) -> int:
    """How many receipts are from a version that signed none."""
    return int(tx.execute(_UNSIGNED).scalar_one())
