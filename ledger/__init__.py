"""The ledger: every job a row, every move published, every answer with its receipt.

A SQL store (SQLite on one machine, PostgreSQL for a fleet) that is the truth of the cluster. It
records and guards; it decides nothing. Every function takes a transaction first and neither begins
nor ends one:

    with ledger.write() as tx:
        taken = jobs.claim(tx, session=session.id, job_id=job_id, number=1)

The states and moves are in `ledger.states`, the errors in `ledger.errors`.
"""

from __future__ import annotations

from ledger import (
    bodies,
    changes,
    chords,
    events,
    jobs,
    leases,
    quarantine,
    receipts,
    reviews,
    samples,
    sessions,
    workers,
)
from ledger.clocks import Clock, ManualClock
from ledger.errors import (
    BodyMismatch,
    BodyMissing,
    IdempotencyConflict,
    IllegalTransition,
    InvalidValue,
    JobConflict,
    LedgerBusy,
    LedgerDamaged,
    LedgerDriverMissing,
    LedgerError,
    LedgerForeign,
    LedgerFull,
    LedgerGone,
    LedgerNotMigrated,
    LedgerOnNetworkFilesystem,
    LedgerReadOnly,
    LedgerRefused,
    LedgerTooNew,
    LedgerUnavailable,
    LedgerUrlInvalid,
    TransactionTooLarge,
    WorkerIdTaken,
)
from ledger.states import EDGES, TERMINAL, State
from ledger.store import Ledger
from ledger.transaction import Transaction
from ledger.values import (
    Attention,
    Change,
    ChordPart,
    ChordState,
    Claim,
    EventRow,
    Job,
    NewJob,
    QuarantineRow,
    ReceiptRow,
    Refusal,
    RefusalReason,
    ReviewRow,
    SampleRow,
    Session,
    WorkerFlags,
    WorkerRow,
)

__all__ = [
    "EDGES",
    "TERMINAL",
    "Attention",
    "BodyMismatch",
    "BodyMissing",
    "Change",
    "ChordPart",
    "ChordState",
    "Claim",
    "Clock",
    "EventRow",
    "IdempotencyConflict",
    "IllegalTransition",
    "InvalidValue",
    "Job",
    "JobConflict",
    "Ledger",
    "LedgerBusy",
    "LedgerDamaged",
    "LedgerDriverMissing",
    "LedgerError",
    "LedgerForeign",
    "LedgerFull",
    "LedgerGone",
    "LedgerNotMigrated",
    "LedgerOnNetworkFilesystem",
    "LedgerReadOnly",
    "LedgerRefused",
    "LedgerTooNew",
    "LedgerUnavailable",
    "LedgerUrlInvalid",
    "ManualClock",
    "NewJob",
    "QuarantineRow",
    "ReceiptRow",
    "Refusal",
    "RefusalReason",
    "ReviewRow",
    "SampleRow",
    "Session",
    "State",
    "Transaction",
    "TransactionTooLarge",
    "WorkerFlags",
    "WorkerIdTaken",
    "WorkerRow",
    "bodies",
    "changes",
    "chords",
    "events",
    "jobs",
    "leases",
    "quarantine",
    "receipts",
    "reviews",
    "samples",
    "sessions",
    "workers",
]
