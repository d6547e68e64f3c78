"""Workers: what each last said of itself, and what it was told to do."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ledger import tables
from ledger.tables import workers
from ledger.transaction import Transaction
from ledger.values import WorkerFlags, WorkerRow, cleaned

STALE_S = 60.0
"""After how many seconds without a heartbeat a worker is stale."""

STALE = "stale"
STOPPED = "stopped"

_TOLD = ("session", "state", "facts", "seen_at")


def _beating(insert: tables.Insert) -> Any:
    told = insert(workers)
    news = {name: told.excluded[name] for name in _TOLD}
    return told.on_conflict_do_update(index_elements=["worker"], set_=news)


_BEAT = tables.both(_beating)
_MARK_STALE = (
    sa.update(workers)
    .where(workers.c.seen_at <= sa.bindparam("before", type_=sa.Double))
    .where(workers.c.state.not_in([STALE, STOPPED]))
    .values(state=STALE)
    .returning(workers.c.worker)
)
_ALL = sa.select(workers).order_by(workers.c.worker)
_DRAIN = sa.select(workers.c.drain).where(workers.c.worker == sa.bindparam("the_worker"))
_SET_DRAIN = (
    sa.update(workers)
    .where(workers.c.worker == sa.bindparam("the_worker"))
    .values(drain=sa.bindparam("shall_drain", type_=sa.Boolean))
    .returning(workers.c.worker)
)


def beat(
    tx: Transaction, *, worker: str, session: str, state: str, facts: Mapping[str, Any]
) -> None:
    """Write down how a worker is; `facts` is plain JSON."""
    tx.execute(
        _BEAT,
        {
            "worker": cleaned(worker),
            "session": session,
            "state": cleaned(state),
            "facts": facts,
            "seen_at": tx.now,
            "drain": False,
        },
    )


def sweep(tx: Transaction, stale_after: float = STALE_S) -> builtins.list[str]:
    """Mark the workers last heard of `stale_after` seconds ago or earlier; gives those it marked.

    A worker that says it has stopped is not stale.
    """
    marked = tx.rows(_MARK_STALE, {"before": tx.now - stale_after})
    return sorted(row["worker"] for row in marked)


def set_flag(tx: Transaction, worker: str, *, drain: bool) -> bool:
    """Tell a worker to drain, or to go on; false for one that the ledger does not know."""
    told = tx.execute(_SET_DRAIN, {"the_worker": worker, "shall_drain": drain})
    return told.first() is not None


def flags(tx: Transaction, worker: str) -> WorkerFlags:
    """What a worker was told; nothing for one that the ledger does not know."""
    drain = tx.execute(_DRAIN, {"the_worker": worker}).scalar_one_or_none()
    return WorkerFlags(drain=bool(drain))


def list(tx: Transaction) -> builtins.list[WorkerRow]:  # noqa: A001 - workers.list
    """All workers the ledger has heard of, by name."""
    return [WorkerRow(**row) for row in tx.rows(_ALL)]
