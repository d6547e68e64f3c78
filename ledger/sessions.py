"""Sessions: one run of a worker, with one lease that owns all jobs it has claimed."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ledger import crashes, tables
from ledger.errors import WorkerIdTaken
from ledger.tables import sessions
from ledger.transaction import Transaction
from ledger.values import Job, Session, cleaned

LEASE_S = 15.0
"""How long a lease lasts when it is not renewed, in seconds."""

LEASE_LOST = "lease lost"
"""Why a session was closed whose lease was over; its process may live."""

PROCESS_DIED = "process died"
"""Why a session was closed whose process is gone."""

_THE_SESSION = sessions.c.id == sa.bindparam("the_session")
_UNTIL: sa.BindParameter[float] = sa.bindparam("until", type_=sa.Double)
_NOW: sa.BindParameter[float] = sa.bindparam("now", type_=sa.Double)
_LEASE_NOW: sa.BindParameter[float] = sa.bindparam("lease_now", type_=sa.Double)

_INSERT = sa.insert(sessions)
_GET = sa.select(sessions).where(_THE_SESSION)
_OPEN_ONES = (
    sa.select(sessions).where(sessions.c.closed_at.is_(None)).order_by(sessions.c.opened_at)
)
_OF_WORKER = _OPEN_ONES.where(sessions.c.worker == sa.bindparam("the_worker"))
# Held for the rest of the transaction: nobody closes a session between the look at its lease
# and the claim, and so that one session's claims come one after the other.
_HOLD = (
    sa.select(sessions.c.closed_at, sessions.c.lease_until, sessions.c.boot_id)
    .where(_THE_SESSION)
    .with_for_update(key_share=True)
)
_RENEW = (
    sa.update(sessions)
    .where(
        _THE_SESSION,
        sessions.c.closed_at.is_(None),
        sessions.c.lease_until > _LEASE_NOW,
    )
    .values(lease_until=_UNTIL, renewed_at=_NOW)
    .returning(sessions.c.boot_id)
)
_CLOSE = (
    sa.update(sessions)
    .where(_THE_SESSION, sessions.c.closed_at.is_(None))
    .values(
        closed_at=_NOW,
        crashed=sa.bindparam("did_crash", type_=sa.Boolean),
        reason=sa.bindparam("the_reason", type_=sa.Text),
    )
    .returning(sessions.c.id)
)
# A worker's row is written first: whoever opens a session for the same worker id waits for it.
_ENROL = tables.both(
    lambda insert: insert(tables.workers).on_conflict_do_update(
        index_elements=["worker"], set_={"state": tables.workers.c.state}
    )
)
_GO_ON = (
    sa.update(tables.workers)
    .where(tables.workers.c.worker == sa.bindparam("the_worker"))
    .values(
        session=sa.bindparam("the_session"),
        node=sa.bindparam("the_node"),
        state="starting",
        seen_at=_NOW,
    )
)
_START = _GO_ON.values(drain=sa.false(), stop=sa.false())
_LAST_END = sa.select(sa.func.max(sessions.c.closed_at))


def open(  # noqa: A001 - callers read sessions.open
    tx: Transaction,
    *,
    worker: str,
    node: str,
    pid: int,
    pid_started: float,
    pid_namespace: str,
    boot_id: str,
    lease_s: float = LEASE_S,
    again: bool = False,
) -> Session:
    """Begin a worker's run; what it was told before, as to drain or to stop, is forgotten.

    `again` is for a process that has lost its session and goes on: what it was told holds.

    `pid_started` is when the process began, in any unit that tells it from a later one of that
    number; `pid_namespace` is what the number counts in, in any words that tell it from others of
    its boot.

    Raises:
        WorkerIdTaken: a live session has the same worker id.
    """
    worker, node = cleaned(worker), cleaned(node)
    enrolled = {"worker": worker, "state": "starting", "facts": {}, "drain": False}
    tx.execute(_ENROL, enrolled)
    for row in tx.rows(_OF_WORKER, {"the_worker": worker}):
        if is_alive(tx, row):
            raise _taken(tx, Session(**row))
    session = Session(
        id=str(uuid.uuid4()),
        worker=worker,
        node=node,
        pid=pid,
        pid_started=pid_started,
        pid_namespace=pid_namespace,
        # On SQLite the lease's own clock says which boot it is; the caller's word counts elsewhere.
        boot_id=tx.boot_id or boot_id,
        lease_until=tx.lease_now + lease_s,
        opened_at=tx.now,
        renewed_at=tx.now,
        closed_at=None,
        crashed=None,
        reason=None,
    )
    columns = {column.name: getattr(session, column.name) for column in sessions.columns}
    tx.execute(_INSERT, columns)
    begun = {
        "the_worker": worker,
        "the_session": session.id,
        "the_node": node,
        "now": tx.now,
    }
    tx.execute(_GO_ON if again else _START, begun)
    return session


def renew(tx: Transaction, session_id: str, lease_s: float = LEASE_S) -> bool:
    """Prolong a lease; false when it is lost: closed, lapsed, or from an earlier boot."""
    until = tx.lease_now + lease_s
    times = {"until": until, "now": tx.now, "lease_now": tx.lease_now}
    boot_id = tx.execute(_RENEW, {"the_session": session_id, **times}).scalar_one_or_none()
    return boot_id is not None and tx.boot_id in (None, boot_id)


def close(tx: Transaction, session_id: str, *, crashed: bool, reason: str) -> list[Job]:
    """End a session and give its running jobs back; gives those jobs as they are now.

    `crashed` says that its process or engine died: then the crash rule (`ledger.crashes`) decides
    what counts against whom. Jobs that were called off are cancelled, one with its third crash is
    dead, all others are queued, for the caller to send. Closing a second time does nothing.
    """
    reason = cleaned(reason)
    ending = {
        "the_session": session_id,
        "now": tx.now,
        "did_crash": crashed,
        "the_reason": reason,
    }
    if tx.execute(_CLOSE, ending).first() is None:
        return []
    tx.held_sessions[session_id] = False
    return crashes.give_back(tx, session_id, crashed=crashed, reason=reason)


def is_over(tx: Transaction, session_id: str) -> bool:
    """Whether a session was closed, has lapsed, or is unknown; it never comes back."""
    row = tx.row(_GET, {"the_session": session_id})
    return row is None or not is_alive(tx, row)


def last_end(tx: Transaction) -> float | None:
    """When the last session to end was closed, on the store's clock; None if none has."""
    ended: float | None = tx.execute(_LAST_END).scalar_one()
    return ended


def get(tx: Transaction, session_id: str) -> Session | None:
    """One session's row."""
    row = tx.row(_GET, {"the_session": session_id})
    return None if row is None else Session(**row)


def live(tx: Transaction) -> list[Session]:
    """The sessions whose lease holds, in the order in which they were opened."""
    return [Session(**row) for row in tx.rows(_OPEN_ONES) if is_alive(tx, row)]


def lapsed(tx: Transaction) -> list[Session]:
    """The sessions that nobody has closed although their lease is over, or from another boot."""
    return [Session(**row) for row in tx.rows(_OPEN_ONES) if not is_alive(tx, row)]


def hold(tx: Transaction, session_id: str) -> bool:
    """Whether a session is alive; if so nobody else can close it before this transaction ends."""
    held = tx.held_sessions.get(session_id)
    if held is None:
        row = tx.row(_HOLD, {"the_session": session_id})
        held = tx.held_sessions[session_id] = row is not None and is_alive(tx, row)
    return held


def is_alive(tx: Transaction, row: Mapping[str, Any]) -> bool:
    """Whether a row of `sessions` stands for a session that is open and whose lease holds."""
    if row["closed_at"] is not None or row["lease_until"] <= tx.lease_now:
        return False
    return tx.boot_id in (None, row["boot_id"])


def _taken(tx: Transaction, session: Session) -> WorkerIdTaken:
    left = session.lease_until - tx.lease_now
    return WorkerIdTaken(
        f"Worker {session.worker} runs already: process {session.pid} on {session.node}, "
        f"lease good for {left:.1f} s.",
        suggested_action="Stop that worker, give this one another name, or wait for the lease.",
        details={
            "session": session.id,
            "worker": session.worker,
            "node": session.node,
            "pid": session.pid,
            "pid_started": session.pid_started,
            "pid_namespace": session.pid_namespace,
            "boot_id": session.boot_id,
            "lease_left_s": left,
        },
    )
