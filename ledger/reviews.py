"""Review records: doubtful answers that people shall look at. The job itself has succeeded."""

from __future__ import annotations

import sqlalchemy as sa

from ledger.log_values import ReviewRow
from ledger.tables import reviews
from ledger.transaction import Transaction

_OPEN = (
    sa.select(reviews)
    .where(reviews.c.state == "open")
    .order_by(reviews.c.created_at, reviews.c.job_id)
    .limit(sa.bindparam("at_most", type_=sa.Integer))
)
_SETTLE = (
    sa.update(reviews)
    .where(reviews.c.job_id == sa.bindparam("the_job"), reviews.c.state == "open")
    .values(state="settled")
)
_INSERT = sa.insert(reviews)
_GET = sa.select(reviews).where(reviews.c.job_id == sa.bindparam("the_job"))


def open(tx: Transaction, limit: int = 100) -> list[ReviewRow]:  # noqa: A001 - reviews.open
    """The records that nobody has settled, oldest first."""
    return [ReviewRow(**row) for row in tx.rows(_OPEN, {"at_most": limit})]


def get(tx: Transaction, job_id: str) -> ReviewRow | None:
    """A job's record, if it has one."""
    row = tx.row(_GET, {"the_job": job_id})
    return None if row is None else ReviewRow(**row)


def add(tx: Transaction, review: ReviewRow) -> None:
    """Open a record; only `jobs.commit` does, in the transaction that ends its job."""
    tx.execute(
        _INSERT,
        {
            "job_id": review.job_id,
            "reasons": list(review.reasons),
            "classes": review.classes,
            "state": review.state,
            "created_at": tx.now,
        },
    )


def settle(tx: Transaction, job_id: str) -> None:
    """Note that a person has decided about a job's answer."""
    tx.execute(_SETTLE, {"the_job": job_id})
