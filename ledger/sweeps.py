"""What the reconciler does to many jobs at once, and which it finds waiting. Part of `ledger.jobs`.

Ages are seconds by the store's clock.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from ledger.states import State
from ledger.tables import jobs, state_in
from ledger.transaction import Transaction
from ledger.transitions import NOW, RESENT, THE_JOB, Transition, in_turn, job_of, unlocked
from ledger.values import Job

MAX_DELIVERIES = 5
"""How often an end that cannot be delivered is tried."""

_AT_MOST: sa.BindParameter[int] = sa.bindparam("at_most", type_=sa.Integer)
_BEFORE: sa.BindParameter[float] = sa.bindparam("before", type_=sa.Double)
_IDS: sa.BindParameter[list[str]] = sa.bindparam("ids", expanding=True)
_LAST_SENT = sa.func.coalesce(jobs.c.sent_at, jobs.c.queued_at)

_EXPIRE_DUE = Transition(
    sources=(State.QUEUED, State.SCHEDULED),
    target=State.EXPIRED,
    where=(
        unlocked(
            sa.select(jobs.c.id)
            .where(
                state_in(State.QUEUED, State.SCHEDULED),
                jobs.c.finished_at.is_(None),
                jobs.c.deadline <= NOW,
            )
            .order_by(jobs.c.deadline)
            .limit(_AT_MOST)
        ),
    ),
    values={"finished_at": NOW},
)
_RELEASE_DUE = Transition(
    sources=(State.SCHEDULED,),
    target=State.QUEUED,
    where=(
        unlocked(
            sa.select(jobs.c.id)
            .where(
                state_in(State.SCHEDULED),
                jobs.c.not_before <= NOW,
                jobs.c.deadline.is_(None) | (jobs.c.deadline > NOW),
            )
            .order_by(jobs.c.not_before)
            .limit(_AT_MOST)
        ),
    ),
    values=RESENT,
)
_PROMOTE = (
    sa.update(jobs)
    .where(
        state_in(State.QUEUED),
        jobs.c.promoted_at.is_(None),
        unlocked(
            sa.select(jobs.c.id)
            .where(
                state_in(State.QUEUED),
                # Written out, as in the index that serves this.
                jobs.c.priority > sa.literal_column("0"),
                jobs.c.promoted_at.is_(None),
                jobs.c.queued_at <= _BEFORE,
            )
            .order_by(jobs.c.queued_at)
            .limit(_AT_MOST)
        ),
    )
    .values(promoted_at=NOW, sent_number=jobs.c.sent_number + 1, sent_at=NOW)
    .returning(jobs)
)
_queued = in_turn(sa.select(jobs.c.id).where(jobs.c.id.in_(_IDS), state_in(State.QUEUED)))
_to_tell = in_turn(
    sa.select(jobs.c.id).where(
        jobs.c.id.in_(_IDS), jobs.c.finished_at.is_not(None), jobs.c.delivered_at.is_(None)
    )
)
_RESEND = (
    sa.update(jobs)
    .where(state_in(State.QUEUED), _queued)
    .values(sent_number=jobs.c.sent_number + 1, sent_at=NOW)
    .returning(jobs)
)
_MARK_SENT = sa.update(jobs).where(state_in(State.QUEUED), _queued).values(sent_at=NOW)
_MARK_DELIVERED = (
    sa.update(jobs).where(jobs.c.delivered_at.is_(None), _to_tell).values(delivered_at=NOW)
)
_COUNT_DELIVERY = (
    sa.update(jobs)
    .where(THE_JOB, jobs.c.finished_at.is_not(None), jobs.c.delivered_at.is_(None))
    .values(
        delivery_tries=jobs.c.delivery_tries + 1,
        delivery_error=sa.bindparam("the_reason", type_=jobs.c.delivery_error.type),
        delivered_at=sa.case((jobs.c.delivery_tries + 1 >= MAX_DELIVERIES, NOW)),
    )
    .returning(jobs.c.delivered_at)
)
_QUEUED_BY_QUEUE = (
    sa.select(jobs.c.queue, sa.func.count().label("jobs"))
    .where(state_in(State.QUEUED), _LAST_SENT <= _BEFORE)
    .group_by(jobs.c.queue)
)
_QUEUED_COPIES = (
    sa.select(jobs.c.id, jobs.c.sent_number, _LAST_SENT.label("sent"))
    .where(state_in(State.QUEUED), jobs.c.queue == sa.bindparam("the_queue"))
    .where(_LAST_SENT <= _BEFORE)
    .order_by(jobs.c.queued_at, jobs.c.id)
)
_UNDELIVERED = (
    sa.select(jobs)
    .where(jobs.c.finished_at.is_not(None), jobs.c.delivered_at.is_(None))
    .where(jobs.c.finished_at <= _BEFORE)
    .order_by(jobs.c.delivery_tries, jobs.c.finished_at)
    .limit(_AT_MOST)
)


def expire_due(tx: Transaction, limit: int = 500) -> list[Job]:
    """End queued and scheduled jobs whose deadline has passed; gives those it ended."""
    return [job_of(row) for row in _EXPIRE_DUE.apply(tx, reason="deadline", at_most=limit)]


def release_due(tx: Transaction, limit: int = 500) -> list[Job]:
    """Queue scheduled jobs that are due; gives them, for the caller to send."""
    return [job_of(row) for row in _RELEASE_DUE.apply(tx, reason="due", at_most=limit)]


def resend(tx: Transaction, ids: Sequence[str]) -> list[Job]:
    """Number a new copy of each queued job's message; gives them, for the caller to send."""
    if not ids:
        return []
    rows = tx.rows(_RESEND, {"ids": list(ids), "now": tx.now})
    return [job_of(row) for row in rows]


def promote(tx: Transaction, waited_s: float, limit: int = 500) -> list[Job]:
    """Put queued jobs that have waited `waited_s` seconds before the others; gives them, to send.

    Only once, and none that is of the first priority anyway. Their `priority` stays as it is: that
    `promoted_at` is set says that they are to be sent as the first. They stay so when they come
    back to their queue.
    """
    rows = tx.rows(_PROMOTE, {"before": tx.now - waited_s, "at_most": limit, "now": tx.now})
    return [job_of(row) for row in rows]


def mark_sent(tx: Transaction, ids: Sequence[str]) -> None:
    """Write down that the queued jobs' messages were sent just now."""
    if ids:
        tx.execute(_MARK_SENT, {"ids": list(ids), "now": tx.now})


def queued_by_queue(tx: Transaction, older_than: float = 10.0) -> dict[str, int]:
    """How many jobs wait in each queue that were last sent `older_than` seconds ago or earlier."""
    rows = tx.rows(_QUEUED_BY_QUEUE, {"before": tx.now - older_than})
    return {row["queue"]: row["jobs"] for row in rows}


def queued_copies(
    tx: Transaction, queue: str, older_than: float = 10.0
) -> list[tuple[str, int, float]]:
    """Those jobs of one queue, oldest first: id, number of the newest copy, when it was sent."""
    asked = {"the_queue": queue, "before": tx.now - older_than}
    rows = tx.rows(_QUEUED_COPIES, asked)
    return [(row["id"], row["sent_number"], row["sent"]) for row in rows]


def undelivered(tx: Transaction, older_than: float = 0.0, limit: int = 500) -> list[Job]:
    """Jobs that ended `older_than` seconds ago or earlier and whose end nobody was told.

    Those that were tried least often come first, then the oldest.
    """
    rows = tx.rows(_UNDELIVERED, {"before": tx.now - older_than, "at_most": limit})
    return [job_of(row) for row in rows]


def mark_delivered(tx: Transaction, ids: Sequence[str]) -> None:
    """Write down that results, callbacks and chords of these ended jobs were delivered."""
    if ids:
        tx.execute(_MARK_DELIVERED, {"ids": list(ids), "now": tx.now})


def count_delivery(tx: Transaction, job_id: str, *, error: str) -> bool:
    """Count a delivery that failed; True when it was the last: the job is given up."""
    row = tx.row(_COUNT_DELIVERY, {"the_job": job_id, "the_reason": error, "now": tx.now})
    return row is not None and row["delivered_at"] is not None
