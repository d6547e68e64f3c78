"""Logs of receipts: which there are, whether they may grow, and what waits for a place in one.

They only ever grow: their leaves are in `ledger.trees`, what was signed of them in
`ledger.batches`, entries that are no receipts in `ledger.log_entries`.
"""

from __future__ import annotations

import builtins

import sqlalchemy as sa

from ledger import tables
from ledger.log_tables import log_entries, logs
from ledger.log_values import LogRow, LogState, Unlogged
from ledger.tables import receipts as receipt_rows
from ledger.transaction import Transaction

_THE_LOG: sa.BindParameter[int] = sa.bindparam("the_log", type_=sa.BigInteger)
_INSERT = tables.both(lambda insert: insert(logs).on_conflict_do_nothing())
_GET = sa.select(logs).where(logs.c.number == _THE_LOG)
_OF_ID = sa.select(logs).where(logs.c.log_id == sa.bindparam("the_id"))
_OF_WORKER = (
    sa.select(logs).where(logs.c.worker == sa.bindparam("the_worker")).order_by(logs.c.number)
)
_ALL = sa.select(logs).order_by(logs.c.number)
_STOP = (
    sa.update(logs)
    .where(logs.c.number == _THE_LOG, logs.c.state == LogState.OPEN.value)
    .values(state=sa.bindparam("to_state"), reason=sa.bindparam("why"))
    .returning(logs.c.number)
)
_waiting = (
    sa.select(receipt_rows.c.log, receipt_rows.c.created_at)
    .where(sa.text("receipts.leaf_index IS NULL"), receipt_rows.c.log.is_not(None))
    .union_all(
        sa.select(log_entries.c.log, log_entries.c.created_at).where(
            sa.text("log_entries.leaf_index IS NULL")
        )
    )
    .subquery()
)
_UNLOGGED = (
    sa.select(
        logs.c.number.label("log"),
        logs.c.worker,
        sa.func.count().label("count"),
        sa.func.min(_waiting.c.created_at).label("oldest"),
    )
    .select_from(_waiting.join(logs, logs.c.number == _waiting.c.log))
    .where(logs.c.state == LogState.OPEN.value)
    .group_by(logs.c.number, logs.c.worker)
    .order_by(logs.c.number)
)


def enter(
    tx: Transaction,
    *,
    log_id: str,
    worker: str,
    origin: str,
    key: str,
    empty_root: bytes,
    predecessor: str | None = None,
) -> LogRow:
    """The log with this id; it is entered with no leaves where the ledger does not know it."""
    row = {
        "log_id": log_id,
        "worker": worker,
        "origin": origin,
        "key": key,
        "size": 0,
        "sealed_size": 0,
        "sealed_root": empty_root,
        "batches": 0,
        "state": LogState.OPEN.value,
        "reason": None,
        "predecessor": predecessor,
        "created_at": tx.now,
    }
    tx.execute(_INSERT, row)
    found = tx.row(_OF_ID, {"the_id": log_id})
    assert found is not None
    return LogRow(**found)


def get(tx: Transaction, log: int) -> LogRow | None:
    """One log by its number."""
    row = tx.row(_GET, {"the_log": log})
    return None if row is None else LogRow(**row)


def of_id(tx: Transaction, log_id: str) -> LogRow | None:
    """One log by its id."""
    row = tx.row(_OF_ID, {"the_id": log_id})
    return None if row is None else LogRow(**row)


def of_worker(tx: Transaction, worker: str) -> builtins.list[LogRow]:
    """The logs of a worker, oldest first."""
    return [LogRow(**row) for row in tx.rows(_OF_WORKER, {"the_worker": worker})]


def list(tx: Transaction) -> builtins.list[LogRow]:  # noqa: A001 - logs.list
    """All logs, oldest first."""
    return [LogRow(**row) for row in tx.rows(_ALL)]


def unlogged(tx: Transaction) -> builtins.list[Unlogged]:
    """For every open log with something that waits for a place in it: how much, and since when."""
    tx.flush()
    return [Unlogged(**row) for row in tx.rows(_UNLOGGED)]


def stop(tx: Transaction, log: int, *, state: LogState, reason: str) -> bool:
    """Let a log grow no more; false for one that may not anyway."""
    told = {"the_log": log, "to_state": state.value, "why": reason}
    return tx.execute(_STOP, told).first() is not None
