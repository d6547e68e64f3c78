"""Standings: every worker's last words, and whether the session that they were said in goes on."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from ledger import sessions, tables, workers
from ledger.transaction import Transaction
from ledger.values import WorkerRow

_OF_WORKERS = sa.select(tables.sessions).where(
    tables.sessions.c.id.in_(sa.select(tables.workers.c.session))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A worker's row, and whether its session is open and its lease holds."""

    worker: WorkerRow
    leased: bool


def read(tx: Transaction) -> list[Standing]:
    """How all workers stand that the ledger has heard of, by name."""
    leased = {row["id"] for row in tx.rows(_OF_WORKERS) if sessions.is_alive(tx, row)}
    return [Standing(worker=row, leased=row.session in leased) for row in workers.list(tx)]
