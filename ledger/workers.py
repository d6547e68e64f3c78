"""Workers: what each last said of itself, and what it was told to do.

One that falls silent, is heard of again or is forgotten leaves an event in the same transaction.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ledger import events, sessions, tables
from ledger.errors import WorkerAlive
from ledger.tables import workers
from ledger.transaction import Transaction
from ledger.values import WorkerFlags, WorkerRow, cleaned

STALE_S = 60.0
"""After how many seconds without a heartbeat a worker is stale."""

STALE = "stale"
STOPPED = "stopped"
FAILED = "failed"

WORKER_STALE = "worker_stale"
"""The kind of the event of a worker that has fallen silent; it carries its last facts."""

WORKER_RETURNED = "worker_returned"
"""The kind of the event of a stale worker that is heard of again."""

WORKER_FORGOTTEN = "worker_forgotten"
"""The kind of the event of a worker that somebody took out of the ledger."""

_THE_WORKER = workers.c.worker == sa.bindparam("the_worker")
_TOLD = ("session", "state", "facts", "seen_at")


def _beating(insert: tables.Insert) -> Any:
    told = insert(workers)
    news = {name: told.excluded[name] for name in _TOLD}
    return told.on_conflict_do_update(index_elements=["worker"], set_=news)


_BEAT = tables.both(_beating)
_MARK_STALE = (
    sa.update(workers)
    .where(workers.c.seen_at <= sa.bindparam("before", type_=sa.Double))
    .where(workers.c.state.not_in([STALE, STOPPED, FAILED]))
    .values(state=STALE)
    .returning(workers.c.worker, workers.c.facts, workers.c.seen_at)
)
# Held, so that no sweep comes between the look and the heartbeat that depends on it.
_STATE = sa.select(workers.c.state).where(_THE_WORKER).with_for_update()
_END = (
    sa.update(workers)
    .where(_THE_WORKER, workers.c.session == sa.bindparam("the_session"))
    .values(
        state=sa.bindparam("the_state", type_=sa.Text),
        facts=sa.bindparam("the_facts", type_=workers.c.facts.type),
        seen_at=sa.bindparam("now", type_=sa.Double),
    )
    .returning(workers.c.worker)
)
_FORGET = sa.delete(workers).where(_THE_WORKER).returning(workers.c.worker)
_ALL = sa.select(workers).order_by(workers.c.worker)
_FLAGS = sa.select(workers.c.drain, workers.c.stop).where(_THE_WORKER)
_SET_FLAGS = (
    sa.update(workers)
    .where(_THE_WORKER)
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
    .where(_THE_WORKER)
    .values(seal=sa.bindparam("how", type_=sa.Text))
    .returning(workers.c.worker)
)


def beat(
    tx: Transaction, *, worker: str, session: str, state: str, facts: Mapping[str, Any]
) -> None:
    """Write down how a worker is; `facts` is plain JSON. A stale one returns with it."""
    note_return(tx, worker)
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


def note_return(tx: Transaction, worker: str) -> None:
    """Write the event of a return, if the worker was stale: whoever calls is heard of now."""
    row = tx.row(_STATE, {"the_worker": cleaned(worker)})
    if row is not None and row["state"] == STALE:
        events.add(tx, kind=WORKER_RETURNED, subject=worker, details={})


def end(
    tx: Transaction, *, worker: str, session: str, state: str, facts: Mapping[str, Any]
) -> bool:
    """Write a worker's last word; false if another session has its name by now."""
    last = {
        "the_worker": cleaned(worker),
        "the_session": session,
        "the_state": cleaned(state),
        "the_facts": facts,
        "now": tx.now,
    }
    return tx.execute(_END, last).first() is not None


def sweep(tx: Transaction, stale_after: float = STALE_S) -> builtins.list[str]:
    """Mark the workers last heard of `stale_after` seconds ago or earlier; gives those it marked.

    A worker that says it has stopped or failed is not stale.
    """
    marked = tx.rows(_MARK_STALE, {"before": tx.now - stale_after})
    marked.sort(key=lambda row: str(row["worker"]))
    for row in marked:
        told = {"seconds": round(tx.now - row["seen_at"], 1), "facts": row["facts"]}
        events.add(tx, kind=WORKER_STALE, subject=row["worker"], details=told)
    return [row["worker"] for row in marked]


def forget(tx: Transaction, worker: str) -> bool:
    """Take a worker out of the ledger; false for one that it does not know.

    Raises:
        WorkerAlive: its session is alive: it would be back with its next heartbeat.
    """
    alive = [session for session in sessions.live(tx) if session.worker == worker]
    if alive:
        raise WorkerAlive(
            f"Worker {worker!r} is alive: process {alive[0].pid} on {alive[0].node}.",
            suggested_action="Stop it first (`honeyflow worker stop`), or let it be.",
            details={"worker": worker, "session": alive[0].id},
        )
    known = tx.execute(_FORGET, {"the_worker": worker}).first() is not None
    if known:
        events.add(tx, kind=WORKER_FORGOTTEN, subject=worker, details={})
    return known


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
