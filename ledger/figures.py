"""Figures: what a look at the rows tells of the cluster now, in the time that a scrape has.

Nothing here reads what grows with every job that ever ran: each statement finds its rows by an
index over what is still open, and one that may be long is counted to `AT_MOST` and no further.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from ledger import alert_channels, alert_outbox, quarantine, tables
from ledger.log_tables import cosignatures, logs, uploads
from ledger.monitoring_tables import bookmarks
from ledger.states import State
from ledger.tables import jobs, receipts, reviews
from ledger.transaction import Transaction
from ledger.uploads import UploadState

AT_MOST = 10_000
"""How far rows are counted that wait for somebody who may never come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was found; moments are seconds since the epoch, counts up to `AT_MOST` where they wait.

    `oldest_queued` and `oldest_running` have a model's moment only where there is such a job;
    `alerts_sent` counts by channel, kind and outcome, `alerts_delivered` has every channel that was
    ever used; `noted` has when each bookmark was last moved or noted, `positions` where it stands.
    """

    now: float
    oldest_queued: Mapping[str, float]
    oldest_running: Mapping[str, float]
    unsealed_receipts: int
    oldest_unsealed: float | None
    sealed_batches: int
    cosignatures: int
    pending_uploads: int
    open_reviews: int
    oldest_open_review: float | None
    quarantined: Mapping[str, int]
    alerts_sent: Mapping[tuple[str, str, str], int]
    alerts_waiting: Mapping[str, int]
    alerts_delivered: Mapping[str, float | None]
    noted: Mapping[str, float]
    positions: Mapping[str, int]


_AT_MOST: sa.BindParameter[int] = sa.bindparam("at_most", type_=sa.Integer)
_QUEUED = tables.state_in(State.QUEUED)
_FIRST_QUEUE = sa.select(sa.func.min(jobs.c.queue).label("queue")).where(_QUEUED)
_queues = _FIRST_QUEUE.cte("queues", recursive=True)
_NEXT_QUEUE = (
    sa.select(sa.func.min(jobs.c.queue))
    .where(_QUEUED, jobs.c.queue > _queues.c.queue)
    .scalar_subquery()
)
# From queue to queue and not from job to job: the index has the first in line of each.
_queues = _queues.union_all(sa.select(_NEXT_QUEUE).where(_queues.c.queue.is_not(None)))
_IN_QUEUE = sa.select(jobs.c.model).where(_QUEUED, jobs.c.queue == _queues.c.queue)
_FIRST_IN_LINE = sa.select(
    _IN_QUEUE.order_by(jobs.c.queued_at).limit(1).scalar_subquery().label("model"),
    _IN_QUEUE.with_only_columns(sa.func.min(jobs.c.queued_at)).scalar_subquery().label("since"),
).where(_queues.c.queue.is_not(None))
# By session, which has one model, because only so the index over running jobs serves.
_LONGEST_RUN = (
    sa.select(
        sa.func.min(jobs.c.model).label("model"), sa.func.min(jobs.c.claimed_at).label("since")
    )
    .where(tables.state_in(State.RUNNING))
    .group_by(jobs.c.session)
)


def _count(table: sa.Table, *where: sa.ColumnElement[bool]) -> sa.Executable:
    some = sa.select(sa.literal(1)).select_from(table).where(*where).limit(_AT_MOST)
    return sa.select(sa.func.count()).select_from(some.subquery())


# A receipt without a log is not signed and waits for nothing.
_UNSEALED = _count(receipts, receipts.c.leaf_index.is_(None), receipts.c.log > 0)
_OLDEST_OF_LOGS = sa.select(
    sa.select(sa.func.min(receipts.c.created_at))
    .where(receipts.c.leaf_index.is_(None), receipts.c.log == logs.c.number)
    .correlate(logs)
    .scalar_subquery()
    .label("at")
).select_from(logs)
_BATCHES = sa.select(sa.func.coalesce(sa.func.sum(logs.c.batches), 0))
_COSIGNATURES = sa.select(sa.func.count()).select_from(cosignatures)
_PENDING = _count(uploads, uploads.c.state == sa.literal_column(f"'{UploadState.PENDING}'"))
_OPEN_REVIEWS = _count(reviews, reviews.c.state == "open")
_OLDEST_REVIEW = sa.select(sa.func.min(reviews.c.created_at)).where(reviews.c.state == "open")
_BOOKMARKS = sa.select(bookmarks)


def read(tx: Transaction, *, at_most: int = AT_MOST) -> Figures:
    """What the rows tell now; what may wait for ever is counted to `at_most`."""
    limit = {"at_most": at_most}
    marks = tx.rows(_BOOKMARKS)
    return Figures(
        now=tx.now,
        oldest_queued=_earliest(tx, _FIRST_IN_LINE),
        oldest_running=_earliest(tx, _LONGEST_RUN),
        unsealed_receipts=_number(tx, _UNSEALED, limit),
        oldest_unsealed=min(
            (row["at"] for row in tx.rows(_OLDEST_OF_LOGS) if row["at"] is not None), default=None
        ),
        sealed_batches=_number(tx, _BATCHES),
        cosignatures=_number(tx, _COSIGNATURES),
        pending_uploads=_number(tx, _PENDING, limit),
        open_reviews=_number(tx, _OPEN_REVIEWS, limit),
        oldest_open_review=tx.execute(_OLDEST_REVIEW).scalar_one(),
        quarantined=quarantine.totals(tx),
        alerts_sent=alert_channels.totals(tx),
        alerts_waiting=alert_outbox.lengths(tx),
        alerts_delivered={
            row.channel: row.delivered_at for row in alert_channels.list(tx).values()
        },
        noted={row["name"]: row["at"] for row in marks},
        positions={row["name"]: row["position"] for row in marks},
    )


def _earliest(tx: Transaction, statement: sa.Executable) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in tx.rows(statement):
        if row["model"] is not None and row["since"] is not None:
            found[row["model"]] = min(row["since"], found.get(row["model"], row["since"]))
    return found


def _number(
    tx: Transaction, statement: sa.Executable, parameters: Mapping[str, int] | None = None
) -> int:
    return int(tx.execute(statement, parameters).scalar_one())
