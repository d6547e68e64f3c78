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
_FLAGS = sa.select(workers.c.drain, workers.c.stop).where(
    workers.c.worker == sa.bindparam("the_worker")
)
_SET_FLAGS = (
    sa.update(workers)
    .where(workers.c.worker == sa.bindparam("the_worker"))
    .values(
        {
            flag: sa.func.coalesce(sa.bindparam(f"shall_{flag}", type_=sa.Boolean), workers.c[flag])
            for flag in ("drain", "stop")
        }
    )
    .returning(workers.c.worker)
)
_SEAL = (
    sa.update(workers)
    .where(workers.c.worker == sa.bindparam("the_worker"))
    .values(seal=sa.bindparam("how", type_=sa.Text))
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


def set_flag(
    tx: Transaction, worker: str, *, drain: bool | None = None, stop: bool | None = None
) -> bool:
    """Tell a worker to drain or to stop, or to go on; false for one that the ledger does not know.

    A flag that is None stays as it is.
    """
    told = {"the_worker": worker, "shall_drain": drain, "shall_stop": stop}
    return tx.execute(_SET_FLAGS, told).first() is not None


def ask_to_seal(tx: Transaction, worker: str, how: str | None) -> bool:
    """Ask a worker to seal its log: `full` batches, or `all` it has; None takes it back.

    False for a worker that the ledger does not know.
    """
    return tx.execute(_SEAL, {"the_worker": worker, "how": how}).first() is not None


def flags(tx: Transaction, worker: str) -> WorkerFlags:
    """What a worker was told; nothing for one that the ledger does not know."""
    row = tx.row(_FLAGS, {"the_worker": worker})
    return WorkerFlags() if row is None else WorkerFlags(**row)


def list(tx: Transaction) -> builtins.list[WorkerRow]:  # noqa: A001 - workers.list
    """All workers the ledger has heard of, by name."""
    return [WorkerRow(**row) for row in tx.rows(_ALL)]
